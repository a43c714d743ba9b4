"""Stored events as lines and documents, and the words in them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfygit_journal import quick
from comfygit_journal.durations import duration
from comfygit_journal.errors import error_lines
from comfygit_journal.escaping import cut, escaped
from comfygit_journal.lines import as_json, document, iso, rendered, short, value_of
from comfygit_journal.show_command import event_lines
from comfygit_journal.tables import plain_table
from journal import clock, schema
from journal.clock import MS, S

ACTOR = '{"role":"cli","identity":{"pid":5,"start_ticks":6,"boot_id":"b"},"host":"h"}'


def row(data: object = '{"spawn":1}', name: object = "process.exited", actor: object = ACTOR, switch: object = 7):
    return (3, "ab", name, 1, 1_772_366_400_123_000_000, 9, "b", actor, switch, 2, data, b"\x01\x02")


def test_a_line_has_seq_time_switch_name_and_what_the_event_says():
    assert short(document(row())) == "     3  2026-03-01T12:00:00.123Z      #7  process.exited          spawn=1"


def test_an_event_without_a_switch_or_a_field_is_a_line_too():
    line = short(document(row("{}", switch=None)))
    assert line == "     3  2026-03-01T12:00:00.123Z       -  process.exited"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"identity": {"pid": 12}, "signal": "SIGKILL", "code": None}, "orchestrator pid 12 ended by SIGKILL"),
        ({"identity": {"pid": 12}, "signal": "", "code": 3}, "orchestrator pid 12 ended with exit code 3"),
        ({"identity": {"pid": 12}}, "orchestrator pid 12 ended, nobody knows how"),  # as older releases stored it
        ({"identity": {"pid": 12}, "became_guard": True}, "pid 12 became the guard, in place of a dead one"),
        ({"identity": 5, "signal": "\x1b"}, "orchestrator pid None ended by \\x1b"),
    ],
)
def test_how_an_orchestrator_was_lost_is_said_in_words(data, words):
    line = short(document(row(json.dumps(data), "orchestrator.lost", switch=None)))
    assert line.endswith(f"{words})")


def test_a_document_holds_the_whole_envelope():
    assert document(row()) == {
        "seq": 3,
        "at": "2026-03-01T12:00:00.123Z",
        "type": "process.exited",
        "version": 1,
        "switch": 7,
        "cause": 2,
        "actor": json.loads(ACTOR),
        "data": {"spawn": 1},
        "id": "ab",
        "wall_ns": 1_772_366_400_123_000_000,
        "monotonic_ns": 9,
        "boot_id": "b",
        "hash": "0102",
    }


@pytest.mark.parametrize(
    ("damaged", "what"),
    [
        (row("{half"), "data"),
        (row(None), "data"),
        (row("[1]"), "data"),
        (row(actor="?"), "actor"),
        (row(name=5), "type"),
        (row("[" * 100_000), "data"),
    ],
)
def test_a_damaged_row_is_shown_and_says_so(damaged, what):
    found = document(damaged)
    assert found["damaged"] == f"its {what} cannot be read"
    assert "DAMAGED" in short(found)
    assert short(found).isprintable()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("word", "word"),
        ("two words", '"two words"'),
        ("", '""'),
        ("\x1b[31m", '"\\u001b[31m"'),
        (None, "null"),
        (True, "true"),
        (["a", 1], '["a",1]'),
        ({"pid": 5}, '{"pid":5}'),
        ("ü\u202e", '"ü\\u202e"'),
    ],
)
def test_values_are_words_where_that_is_clear_and_json_elsewhere(value, shown):
    assert value_of(value) == shown


def test_a_long_value_is_cut():
    assert value_of("x" * 500, 10) == "xxxxxxxxx…"
    assert cut("12345", 5) == "12345"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode", "plain ünïcode"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udcff", "\\udcff"),
        ("\u2028", "\\u2028"),
    ],
)
def test_what_could_command_a_terminal_is_escaped(text, shown):
    assert escaped(text) == shown


@given(st.text(st.characters() | st.characters(categories=["Cs", "Cc", "Cf"])))
def test_escaped_text_is_one_printable_line(text):
    assert escaped(text).isprintable()
    assert all(line.isprintable() for line in error_lines(text, text))


@settings(max_examples=40)
@given(st.dictionaries(st.text(), st.lists(st.text() | st.integers() | st.none(), max_size=3), max_size=3))
def test_json_is_printable_ascii_and_reads_back_the_same(value):
    line = as_json(value)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == value


@pytest.mark.parametrize("count", [0, 1, 2])
def test_json_output_is_one_array_and_jsonl_a_document_a_line(count):
    documents = [document(row())] * count
    assert json.loads("\n".join(rendered(documents, "json"))) == documents
    assert [json.loads(line) for line in rendered(documents, "jsonl")] == documents


@pytest.mark.parametrize("wall_ns", [0, 1_772_366_400_123_456_789, -1, 253_402_300_799_999_999_999])
def test_times_are_written_as_everywhere_else(wall_ns):
    assert iso(wall_ns) == clock.iso(wall_ns)


@pytest.mark.parametrize("wall_ns", [1 << 62 << 10, None, "x"])
def test_a_number_that_is_no_time_is_shown_as_that(wall_ns):
    assert iso(wall_ns) == f"{wall_ns} ns"


@pytest.mark.parametrize(
    ("ns", "words"),
    [
        (None, "?"),
        (0, "0 ms"),
        (85 * MS, "85 ms"),
        (999 * MS, "999 ms"),
        (S, "1.0 s"),
        (14_290 * MS, "14.2 s"),
        (59_999 * MS, "59.9 s"),
        (200 * S, "3 min 20 s"),
        (7_500 * S, "2 h 5 min"),
    ],
)
def test_durations_in_words(ns, words):
    assert duration(ns) == words


def test_everything_of_one_event_is_shown_with_the_chain_of_its_causes():
    found = document(row('{"spawn":1,"log_tail":["a","\\u001b[2J"],"error":""}'))
    shown = list(event_lines(found, [document(row("{}"))]))
    assert shown[0] == "event 3: process.exited, version 1"
    assert "  by         cli, pid 5 (started at tick 6) on h" in shown
    assert shown[-6:-1] == ["    log_tail:", "      a", "      \\x1b[2J", '    error: ""', "  because of"]
    assert shown[-1].lstrip().startswith("3  2026")


def test_a_cause_that_cannot_be_read_is_named():
    assert list(event_lines(document(row(actor="?")), []))[-1] == "  because of event 2, which cannot be read"


def test_plain_tables_line_up_and_end_without_blanks():
    assert plain_table(("a", "long"), [("xyz", "1"), ("", "")]) == ["a    long", "xyz  1", ""]


@pytest.mark.parametrize(
    ("arguments", "wish"),
    [
        (["log", "-n", "20"], ("20", "short", "")),
        (["log", "--number=3", "-o", "json"], ("3", "json", "")),
        (["log", "--json", "-n", "3", "--workspace", "/ws"], ("3", "json", "/ws")),
        (["log", "--workspace=/ws", "-n", "3", "--output=jsonl"], ("3", "jsonl", "/ws")),
    ],
)
def test_the_quick_answer_understands_the_plain_question(arguments, wish):
    assert tuple((quick.understood(arguments) or {}).values()) == wish


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["log"],
        ["replay"],
        ["log", "--help"],
        ["log", "-n", "0"],
        ["log", "-n", "-1"],
        ["log", "-n", "x"],
        ["log", "-n", "٣"],
        ["log", "-n"],
        ["log", "-n=3"],
        ["log", "-n", "9" * 30],
        ["log", "-n", "3", "-f"],
        ["log", "-n", "3", "--since", "1h"],
        ["log", "-n", "3", "-o", "csv"],
        ["log", "-n", "3", "extra"],
        ["--workspace", "/ws", "log", "-n", "3"],
    ],
)
def test_the_quick_answer_leaves_all_else_to_the_whole_program(arguments):
    assert quick.understood(arguments) is None


def test_the_quick_answer_knows_the_present_schema():
    assert quick.SCHEMA_VERSION == schema.VERSION

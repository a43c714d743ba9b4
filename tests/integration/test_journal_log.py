"""`comfygit-journal log` on real journals, and wrong usage."""

import csv
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from comfygit_journal import commands, quick
from journal import Draft, Journal, own_actor
from journal.events import (
    ControlListening,
    Origin,
    RefusalReason,
    SwitchRefused,
)
from tests.helpers.journal_command import Run, database, runner
from tests.helpers.story_events import completed, journal_of, rolled_back, serving
from tests.helpers.waiting import until


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journal_of(rolled_back(), tmp_path_factory.mktemp("template"))


@pytest.fixture
def ws(template: Path, tmp_path: Path) -> Path:
    """A workspace with a switch that was rolled back; no view was ever written."""
    shutil.copytree(template, tmp_path / "ws")
    return tmp_path / "ws"


def test_log_prints_every_event_oldest_first(run, ws):
    lines = run(ws, "log").out.splitlines()
    assert len(lines) == 45
    assert [int(line.split()[0]) for line in lines] == list(range(1, 46))
    assert lines[0].split()[3] == "journal.created"


def test_log_n_prints_the_last_ones_as_the_whole_program_would(run, ws, capsys):
    for output in ("short", "json", "jsonl"):
        arguments = ["log", "-n", "3", "-o", output, "--workspace", str(ws)]
        assert quick.run(arguments) == 0
        quickly = capsys.readouterr().out
        assert commands.run(arguments) == 0
        assert capsys.readouterr().out == quickly
        assert quickly.count("switch.rolled_back") == 1


def test_log_json_is_an_array_and_jsonl_an_object_a_line(run, ws):
    found = run(ws, "log --json --switch 16").json
    assert found[0]["type"] == "switch.requested"
    assert {event["switch"] for event in found} == {16}
    lines = run(ws, "log -o jsonl --switch 16").out.splitlines()
    assert [json.loads(line) for line in lines] == found


def test_log_chooses_by_type_glob(run, ws):
    names = {event["type"] for event in run(ws, "log --json --type switch.* --type lock.released").json}
    assert names == {
        "switch.requested",
        "switch.preflighted",
        "switch.failed",
        "switch.rolling_back",
        "switch.rolled_back",
        "lock.released",
    }
    assert [event["seq"] for event in run(ws, "log --json -n 2 --type sync.*").json] == [33, 34]


def test_log_chooses_by_time(run, ws):
    found = run(ws, "log --json", "--since", "2026-03-01T12:01:00Z", "--until", "2026-03-01T12:01:45.900Z").json
    assert [event["type"] for event in found[:2]] == ["switch.requested", "lock.acquired"]
    assert found[-1]["at"] <= "2026-03-01T12:01:45.900Z"
    created = run(ws, "log --json --since 1h").json
    assert [event["type"] for event in created] == ["journal.created"]


def test_log_that_finds_nothing_says_so_and_succeeds(run, ws):
    outcome = run(ws, "log --type nothing.*")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "warning: no event fits\n")
    assert run(ws, "log --json --type nothing.*").json == []


def test_log_csv_has_a_heading_and_a_row_per_event(run, ws):
    heading, *rows = csv.reader(io.StringIO(run(ws, "log -o csv").out))
    assert heading[:3] == ["seq", "at", "type"]
    assert len(rows) == 45
    assert json.loads(rows[15][-1])["target"] == "new"


def test_log_table_is_in_plain_columns_when_nobody_looks(run, ws):
    lines = run(ws, "log -o table -n 2").out.splitlines()
    assert lines[0].split()[:4] == ["seq", "time", "switch", "event"]
    assert "\x1b" not in "".join(lines)
    assert len(lines) == 3


def test_log_table_on_a_terminal_is_drawn_without_others_escapes(tmp_path):
    history = completed()
    history.add(
        SwitchRefused(target="\x1b[31m[b]x", source="", origin=Origin.CLI, why=RefusalReason.LOCKED, message="")
    )
    root = journal_of(history, tmp_path)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    command = [sys.executable, "-m", "comfygit_journal", "log", "-o", "table", "-n", "1", "--workspace", str(root)]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "switch.refused" in shown
    assert "\\x1b[31m[b]x" in shown.replace("\\u001b", "\\x1b")
    assert "\x1b[3" not in shown


def test_log_f_shows_what_comes_until_interrupted(tmp_path):
    root = journal_of(serving(), tmp_path)
    output = tmp_path / "output"
    with output.open("w") as file, Journal.open(database(root), own_actor("test")) as journal:
        command = [sys.executable, "-m", "comfygit_journal", "log", "-f", "-n", "1", "--workspace", str(root)]
        with subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE) as child:
            until(lambda: output.read_text().count("\n") == 1)
            journal.append([Draft(ControlListening(host="", port=None, why="first"))])
            until(lambda: "first" in output.read_text())
            journal.append([Draft(ControlListening(host="", port=None, why="second"))])
            until(lambda: "second" in output.read_text())
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (130, b"")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("log --since soon", "--since 'soon' is no point in time"),
        ("log --until 25h61 --json", "--until '25h61' is no point in time"),
        ("log -f --json", "--follow has no end, so it cannot be combined with -o json"),
        ("log -f -o table", "cannot be combined with -o table"),
        ("log -f --until 1h", "cannot be combined with --until"),
        ("log --bogus", "No such option '--bogus'"),
        ("log -n 0", "0 is not in the range"),
        ("log -o xml", "'xml' is not one of"),
        ("show x", "'x' is not a valid integer"),
        ("show", "Missing argument 'SEQ'"),
        ("nonsense", "No such command 'nonsense'"),
        ("replay --until soon", "--until 'soon' is no point in time, and no event's number"),
        ("replay --until 3 --write", "it cannot be combined with --until"),
        ("replay --last-healthy --write", "it cannot be combined with --last-healthy"),
    ],
)
def test_wrong_usage_is_an_error_with_a_hint_and_status_2(run, ws, options, said):
    outcome = run(ws, options)
    assert (outcome.code, outcome.out) == (2, "")
    error, hint = outcome.err.splitlines()
    assert error.startswith("error: ")
    assert said in error
    assert hint.startswith("hint: ")


def test_no_command_at_all_shows_the_help_as_wrong_usage(run):
    outcome = run(None, "")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Example: comfygit-journal")

"""ComfyUI's output mirrored into the switch log, in virtual time."""

from pathlib import Path

import pytest

from journal.clock import MS, S
from orchestrator.logs.capping import CAP_BYTES, NOTE, cut_when_large
from orchestrator.logs.switch_log import (
    MIRRORED_BYTES,
    MIRRORED_LINES_PER_S,
    STEP_BYTES,
    OutputMirror,
    SwitchLog,
)
from tests.helpers.switch_logs import at, messages, put


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "supervisor-switch.log"


@pytest.fixture
def log(path: Path) -> SwitchLog:
    return SwitchLog(path)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "12.log"


@pytest.fixture
def mirror(output: Path, log: SwitchLog) -> OutputMirror:
    output.parent.mkdir()
    return OutputMirror(output, log)


def test_what_is_new_is_mirrored_once(mirror: OutputMirror, output: Path, log: SwitchLog) -> None:
    assert mirror.step(at()) is False, "there is no file yet"
    put(output, b"one\ntwo\n")
    assert mirror.step(at(S)) is False
    mirror.step(at(2 * S))
    put(output, b"three\n")
    mirror.step(at(3 * S))
    assert log.last() == ["12:00:01 INFO one", "12:00:01 INFO two", "12:00:03 INFO three"]


def test_half_a_line_waits_for_its_end(mirror: OutputMirror, output: Path, log: SwitchLog) -> None:
    encoded = "grün\n".encode()
    for byte in encoded[:-1]:
        put(output, bytes([byte]))
        mirror.step(at())
    assert messages(log) == []
    put(output, encoded[-1:] + b"next")
    mirror.step(at())
    assert messages(log) == ["grün"]
    mirror.finish()
    assert messages(log) == ["grün", "next"]


def test_what_came_after_the_last_step_is_mirrored_at_the_end(
    mirror: OutputMirror, output: Path, log: SwitchLog
) -> None:
    mirror.step(at())
    put(output, b"Traceback\nImportError: no torch")
    mirror.finish()
    mirror.finish()
    assert messages(log) == ["Traceback", "ImportError: no torch"]


def test_a_mirror_that_never_looked_needs_the_time(mirror: OutputMirror, output: Path, log: SwitchLog) -> None:
    put(output, b"one\n")
    mirror.finish()
    assert messages(log) == []
    mirror.finish(at(S))
    assert log.last() == ["12:00:01 INFO one"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"\x1b[1;31mred\x1b[0m \x07bell", "red bell"),
        (b"\xff\xfe latin \xe9", "\ufffd\ufffd latin \ufffd"),
        (b" 10%\r 50%\r100%\r\n", "100%"),
        (b" 10%\r 50%\r100%", "100%"),
        (b"  indented", "  indented"),
        (b"a\tb\x00c", "a\tbc"),
        (b"HF_TOKEN=hf_12345678", "HF_TOKEN=***"),
        (b"x" * 2_001, "x" * 2_000),
        (b"y" * 10_000_000, "y" * 2_000),
        (b"\r".join(b"%07d" % number for number in range(500_000)), "0499999"),
        ("\U0001f600".encode() * 3_000, "\U0001f600" * 2_000),
    ],
)
def test_any_bytes_become_a_line_that_can_be_shown(
    mirror: OutputMirror, output: Path, log: SwitchLog, line: bytes, shown: str
) -> None:
    put(output, line + b"\nnext\n")
    while mirror.step(at()):
        pass
    assert messages(log) == [shown, "next"]


def test_blank_lines_are_not_shown(mirror: OutputMirror, output: Path, log: SwitchLog) -> None:
    put(output, b"\n  \r\n\x1b[0m\none\n\n")
    mirror.step(at())
    mirror.finish()
    assert messages(log) == ["one"]


def test_no_more_than_200_lines_in_any_second(mirror: OutputMirror, output: Path, log: SwitchLog) -> None:
    for tenth in range(30):
        put(output, b"".join(b"%d\n" % number for number in range(tenth * 50, tenth * 50 + 50)))
        mirror.step(at(tenth * 100 * MS))
    mirror.finish()
    *mirrored, last = log.entries(10_000)
    times = [entry["timestamp"] or "" for entry in mirrored]
    for second in (f"2026-03-01T12:00:0{number}" for number in range(3)):
        assert sum(time.startswith(second) for time in times) == MIRRORED_LINES_PER_S
    assert last["level"] == "warning"
    assert last["message"] == f"900 lines of the output left out; all of it is in {output}"


def test_what_was_left_out_is_said_once(mirror: OutputMirror, output: Path, log: SwitchLog) -> None:
    put(output, b"line\n" * (MIRRORED_LINES_PER_S + 1))
    mirror.step(at())
    put(output, b"later\n")
    mirror.step(at(S))
    mirror.finish()
    mirror.finish()
    assert messages(log)[MIRRORED_LINES_PER_S:] == ["later", f"1 line of the output left out; all of it is in {output}"]


def test_a_flood_is_read_in_steps_and_counted(mirror: OutputMirror, output: Path, log: SwitchLog) -> None:
    line = b"z" * 1_023 + b"\n"
    lines = 3 * STEP_BYTES // len(line) + 7
    put(output, line * lines)
    assert [mirror.step(at()) for _ in range(4)] == [True, True, True, False]
    mirror.finish()
    assert messages(log, 1) == [
        f"{lines - MIRRORED_LINES_PER_S:,} lines of the output left out; all of it is in {output}"
    ]


def test_no_more_than_1_mib_altogether(mirror: OutputMirror, output: Path, log: SwitchLog, path: Path) -> None:
    """Over two starts of one switch, with lines that take six times their length."""
    again = output.with_name("13.log")
    for second in range(20):
        if second == 10:
            mirror.follow(again)
        put(output if second < 10 else again, b"\xff" * 1_500 + b"\n" + b"and\n" * 10)
        for part in range(10):
            put(output if second < 10 else again, b"\xff" * 1_500 + b"\n")
            mirror.step(at(second * S + part * 100 * MS))
    mirror.finish()
    assert MIRRORED_BYTES * 0.9 < path.stat().st_size <= MIRRORED_BYTES
    assert "lines of the output left out" in messages(log, 1)[0]


def test_the_next_start_is_followed_from_its_beginning(mirror: OutputMirror, output: Path, log: SwitchLog) -> None:
    put(output, b"first start, a long line\nits last words")
    mirror.step(at())
    again = output.with_name("13.log")
    put(again, b"second\n")
    mirror.follow(again)
    mirror.step(at(S))
    assert messages(log) == ["first start, a long line", "its last words", "second"]


def test_a_log_that_was_truncated_is_read_from_its_start(mirror: OutputMirror, output: Path, log: SwitchLog) -> None:
    put(output, b"before\nhalf a")
    mirror.step(at())
    output.write_bytes(b"after\n")
    mirror.step(at())
    assert messages(log) == ["before", "after"]


def test_lines_that_could_not_be_kept_count_as_left_out(output: Path, tmp_path: Path) -> None:
    log = SwitchLog(tmp_path / "later" / "a.log")
    output.parent.mkdir()
    mirror = OutputMirror(output, log)
    put(output, b"one\ntwo\n")
    mirror.step(at())
    (tmp_path / "later").mkdir()
    put(output, b"three\n")
    mirror.step(at())
    mirror.finish()
    assert messages(log) == ["three", f"2 lines of the output left out; all of it is in {output}"]


def test_half_a_line_above_the_rate_counts_too(mirror: OutputMirror, output: Path, log: SwitchLog) -> None:
    put(output, b"line\n" * MIRRORED_LINES_PER_S + b"half")
    mirror.step(at())
    mirror.finish()
    assert messages(log)[-1].startswith("1 line ")


def test_what_was_cut_out_before_it_was_read_is_passed_over_and_said(
    mirror: OutputMirror, output: Path, log: SwitchLog
) -> None:
    put(output, b"first\n")
    mirror.step(at())
    put(output, b"y" * 2 * CAP_BYTES + b"\n")
    assert cut_when_large(output)
    put(output, b"newest\n")
    for _ in range(40):
        if not mirror.step(at()):
            break
    mirror.finish()
    shown = messages(log)
    assert shown[0] == "first"
    assert shown[-2] == "newest"
    assert shown[-1] == f"1 line of the output left out; its beginning and its newest part are in {output}"
    assert any(NOTE.decode().strip() in line for line in shown)
    assert "\0" not in "".join(shown)


def test_more_than_can_be_read_at_the_end_is_said_to_be_more(
    mirror: OutputMirror, output: Path, log: SwitchLog
) -> None:
    line = b"z" * 1_023 + b"\n"
    put(output, line * (20 * STEP_BYTES // len(line)))
    mirror.step(at())
    mirror.finish()
    (last,) = messages(log, 1)
    assert last.startswith("more than ")
    assert last.endswith(f" lines of the output left out; all of it is in {output}")

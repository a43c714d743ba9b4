"""The switch log as other programs read it, and the output that is mirrored into it, in virtual time."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from journal.clock import MS, S, Stamp
from orchestrator import switch_log as module
from orchestrator.log_tail import MAX_LINE_CHARS
from orchestrator.switch_log import (
    MIRRORED_BYTES,
    MIRRORED_LINES_PER_S,
    ROTATE_BYTES,
    STEP_BYTES,
    LogEntry,
    OutputMirror,
    SwitchLog,
)

NOON_NS = 1_772_366_400 * S  # 2026-03-01T12:00:00Z


def at(ns: int = 0) -> Stamp:
    return Stamp(NOON_NS + ns, ns, "boot")


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


def put(output: Path, content: bytes) -> None:
    with output.open("ab") as file:
        file.write(content)


def messages(log: SwitchLog, lines: int = 10_000) -> list[str]:
    return [entry["message"] for entry in log.entries(lines)]


# ---------------------------------------------------------------------------- writing


def test_a_line_is_a_json_object(log: SwitchLog, path: Path) -> None:
    written = log.write("WARNING", "Going back to älpha", at(123 * MS))
    raw = path.read_bytes()
    assert json.loads(raw) == {
        "timestamp": "2026-03-01T12:00:00.123Z",
        "level": "warning",
        "message": "Going back to älpha",
    }
    assert written == len(raw)
    assert raw.endswith(b"\n")


@pytest.mark.parametrize(
    "message", ["a\nb\r\nc", "a\u2028b\u0085c\x0cd\x1ee", "\x00\x1b[31m\x7f", "\udcff", "\ud83d\ude00", "😀", ""]
)
def test_any_text_is_one_line_of_utf_8(log: SwitchLog, path: Path, message: str) -> None:
    log.write("info", message, at())
    log.write("info", "next", at())
    text = path.read_bytes().decode("utf-8", "strict")
    assert [json.loads(line)["level"] for line in text.splitlines()] == ["info", "info"]
    json.loads(text.splitlines()[0])["message"].encode("utf-8", "strict")


def test_secrets_do_not_reach_the_file(log: SwitchLog, path: Path) -> None:
    log.write("info", "starting with --api-key abcdef and HF_TOKEN=hf_12345678", at())
    assert "abcdef" not in path.read_text()
    assert "hf_12345678" not in path.read_text()


def test_the_file_is_for_its_owner_only(log: SwitchLog, path: Path) -> None:
    log.write("info", "one", at())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_begins_on_a_line_of_its_own(log: SwitchLog, path: Path) -> None:
    """Another program may have died within its line."""
    path.write_bytes(b'{"timestamp": "2026')
    log.write("info", "whole", at())
    assert messages(log) == ['{"timestamp": "2026', "whole"]


def test_a_line_that_cannot_be_kept_is_lost_without_a_word(tmp_path: Path) -> None:
    assert SwitchLog(tmp_path / "missing" / "a.log").write("info", "lost", at()) == 0
    assert SwitchLog(tmp_path).write("info", "lost", at()) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")  # noqa: PTH110
def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    full = tmp_path / "full.log"
    full.symlink_to("/dev/full")
    assert SwitchLog(full).write("info", "lost", at()) == 0


def test_lines_of_several_writers_do_not_mix(path: Path) -> None:
    def fill(name: str) -> None:
        log = SwitchLog(path)
        for number in range(100):
            log.write("info", f"{name} {number} " + name * 3_000, at())

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, "abcd"))
    lines = path.read_bytes().splitlines()
    assert len(lines) == 400
    assert all(len(set(json.loads(line)["message"].split()[2])) == 1 for line in lines)


# --------------------------------------------------------------------------- rotation


def test_a_log_above_4_mib_is_copied_and_truncated(log: SwitchLog, path: Path) -> None:
    line = b'{"message": "old"}\n'
    old = line * (ROTATE_BYTES // len(line) + 1)
    path.write_bytes(old)
    inode = path.stat().st_ino
    log.write("info", "new", at())
    rotated = path.with_name("supervisor-switch.log.1")
    assert rotated.read_bytes() == old
    assert stat.S_IMODE(rotated.stat().st_mode) == 0o600
    assert path.stat().st_ino == inode, "followers look for truncation"
    assert [json.loads(line)["message"] for line in path.read_bytes().splitlines()] == ["new"]


def test_readers_see_past_a_rotation(log: SwitchLog, path: Path) -> None:
    path.write_bytes(b'{"message": "old"}\n' * 300_000)
    log.write("info", "new", at())
    assert messages(log, 80) == ["old"] * 79 + ["new"]


def test_a_log_of_4_mib_is_left_alone(log: SwitchLog, path: Path) -> None:
    path.write_bytes(b"x" * (ROTATE_BYTES - 1) + b"\n")
    log.write("info", "new", at())
    assert path.stat().st_size > ROTATE_BYTES
    assert not path.with_name("supervisor-switch.log.1").exists()


def test_of_a_huge_log_the_end_is_kept(log: SwitchLog, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_KEPT_BYTES", 1_000)
    path.write_bytes(b"x" * ROTATE_BYTES + b"the end\n")
    log.write("info", "new", at())
    rotated = path.with_name("supervisor-switch.log.1").read_bytes()
    assert len(rotated) == 1_000
    assert rotated.endswith(b"the end\n")


def test_without_room_for_a_copy_nothing_is_lost(log: SwitchLog, path: Path) -> None:
    rotated = path.with_name("supervisor-switch.log.1")
    rotated.mkdir()
    old = b"x" * ROTATE_BYTES + b"\n"
    path.write_bytes(old)
    log.write("info", "one", at())
    rotated.rmdir()
    log.write("info", "two", at())
    assert path.read_bytes().startswith(old)
    assert messages(log, 2) == ["one", "two"]
    assert not rotated.exists(), "the next try is 4 MiB later"


# ---------------------------------------------------------------------------- reading


def test_the_last_lines_are_given_oldest_first(log: SwitchLog) -> None:
    for number in range(100):
        log.write("info", str(number), at())
    assert messages(log, 80) == [str(number) for number in range(20, 100)]
    assert len(log.entries()) == 80
    assert log.entries(1)[0] == LogEntry(timestamp="2026-03-01T12:00:00.000Z", level="info", message="99")
    assert log.entries(0) == []


def test_on_a_terminal_a_line_has_its_time_of_day(log: SwitchLog, path: Path) -> None:
    log.write("error", "first\nsecond", at(61 * S))
    put(path, b'{"timestamp": "2026-03-01T13:14:15.161718+00:00", "level": "info", "message": "theirs"}\nplain\n')
    assert log.last() == ["12:01:01 ERROR first second", "13:14:15 INFO theirs", "INFO plain"]


def test_a_missing_log_has_no_lines(log: SwitchLog) -> None:
    assert log.entries() == []
    assert log.last() == []


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (b"no \x1b[31mJSON\x1b[0m \xff", (None, "info", "no JSON \ufffd")),
        (b'["a"]', (None, "info", '["a"]')),
        (b'{"text": 1}', (None, "info", '{"text": 1}')),
        (b'{"message": 1}', (None, "info", '{"message": 1}')),
        (b'{"message": "a"}', (None, "info", "a")),
        (b'{"message": "\\u001b[2Ja\\nb\\ud800", "level": "\\u001b[2J"}', (None, "info", "a b?")),
        (b'{"message": "a", "level": 1, "timestamp": 2}', (None, "info", "a")),
        (b'{"message": "a", "timestamp": "2026-03-01T12:00:00\\u001b[2J"}', (None, "info", "a")),
        (b'{"message": "a", "level": "Debug"}', (None, "Debug", "a")),
        (b"[" * 5_000, (None, "info", "[" * MAX_LINE_CHARS)),
        (b'{"message": "' + b"x" * 5_000 + b'"}', (None, "info", "x" * MAX_LINE_CHARS)),
        (b"", (None, "info", "")),
    ],
)
def test_what_others_write_is_shown_too(log: SwitchLog, path: Path, line: bytes, entry: tuple[None, str, str]) -> None:
    path.write_bytes(line + b"\n")
    (found,) = log.entries()
    assert (found["timestamp"], found["level"], found["message"]) == entry


def test_only_the_end_of_a_large_log_is_read(log: SwitchLog, path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)
    put(path, b"\n" + b'{"message": "end"}\n' * 3)
    assert messages(log, 3) == ["end"] * 3
    assert messages(log, 80)[-3:] == ["end"] * 3


def test_of_endless_lines_some_are_given_up(log: SwitchLog, path: Path) -> None:
    path.write_bytes((b"y" * 400_000 + b"\n") * 10)
    assert messages(log, 80) == ["y" * MAX_LINE_CHARS] * 2


# -------------------------------------------------------------------------- mirroring


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

"""The switch log as other programs read and write it."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from journal.clock import MS, S
from orchestrator.logs import rotation as log_rotation
from orchestrator.logs.switch_log import ROTATE_BYTES, LogEntry, SwitchLog
from orchestrator.logs.tail import MAX_LINE_CHARS
from tests.helpers.switch_logs import at, messages, put


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "supervisor-switch.log"


@pytest.fixture
def log(path: Path) -> SwitchLog:
    return SwitchLog(path)


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no disk that is always full")
def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    full = tmp_path / "full.log"
    full.symlink_to("/dev/full")
    assert SwitchLog(full).write("info", "lost", at()) == 0


def test_lines_of_several_writers_do_not_mix(path: Path) -> None:
    def fill(name: str) -> None:
        log = SwitchLog(path)
        for number in range(100):
            log.write("info", f"{name} {number} " + name * 1_000, at())

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, "abcd"))
    lines = [line for line in path.read_bytes().splitlines() if line]
    assert len(lines) == len(SwitchLog(path).entries(1_000)) == 400
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
    monkeypatch.setattr(log_rotation, "MOST_KEPT_BYTES", 1_000)
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
    ],
)
def test_what_others_write_is_shown_too(log: SwitchLog, path: Path, line: bytes, entry: tuple[None, str, str]) -> None:
    path.write_bytes(line + b"\n")
    (found,) = log.entries()
    assert (found["timestamp"], found["level"], found["message"]) == entry


def test_blank_lines_are_passed_over(log: SwitchLog, path: Path) -> None:
    path.write_bytes(b'\n\n{"message": "a"}\n\n{"message": "b"}\n\n')
    assert messages(log) == ["a", "b"]


def test_only_the_end_of_a_large_log_is_read(log: SwitchLog, path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)
    put(path, b"\n" + b'{"message": "end"}\n' * 3)
    assert messages(log, 3) == ["end"] * 3
    assert messages(log, 80)[-3:] == ["end"] * 3


def test_of_endless_lines_some_are_given_up(log: SwitchLog, path: Path) -> None:
    path.write_bytes((b"y" * 400_000 + b"\n") * 10)
    assert messages(log, 80) == ["y" * MAX_LINE_CHARS] * 2

"""The cap on what a start prints, on real files; with holes, and as it is where none can be made."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.logs.capping import CAP_BYTES, FIRST_BYTES, NEWEST_BYTES, NOTE, OutputCap, cut_when_large, was_cut
from orchestrator.logs.holes import allocated_bytes, next_data, read_data
from orchestrator.logs.tail import MAX_LINE_CHARS, tail
from tests.helpers.waiting import until

MIB = 1024 * 1024
LINE = b"%015d\n"
LINES_PER_MIB = MIB // 16


def block(number: int) -> bytes:
    """The MiB of that number: lines that say where they stand."""
    return b"".join(LINE % line for line in range(number * LINES_PER_MIB, (number + 1) * LINES_PER_MIB))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "184.log"


def flood(log: Path, mib: int, byte: bytes = b"y") -> None:
    """That many MiB of lines, quickly."""
    lines = (byte * 1023 + b"\n") * 1024
    with log.open("ab") as file:
        for _ in range(mib):
            file.write(lines)


def allocated(log: Path) -> int:
    return allocated_bytes(log.stat())


both_ways = pytest.mark.parametrize("may_punch", [True, False], ids=["holes", "no holes"])


@both_ways
def test_what_is_cut_keeps_its_first_mib_and_its_newest_part(log, may_punch):
    first, newest = block(0), block(1)
    log.write_bytes(first)
    flood(log, CAP_BYTES // MIB + 36)
    with log.open("ab") as file:
        file.write(newest)
    assert cut_when_large(log, may_punch=may_punch)
    with log.open("rb") as file:
        assert file.read(FIRST_BYTES) == first
        assert file.read(len(NOTE)) == NOTE
        file.seek(-len(newest), os.SEEK_END)
        assert file.read() == newest
    assert NEWEST_BYTES <= allocated(log) <= NEWEST_BYTES + 3 * MIB
    assert was_cut(log)
    assert tail(log, 2) == tuple(newest.decode().splitlines()[-2:])


@both_ways
def test_at_or_below_the_cap_nothing_is_touched(log, may_punch):
    flood(log, CAP_BYTES // MIB - 1)
    before = log.stat()
    assert not cut_when_large(log, may_punch=may_punch)
    assert log.stat().st_mtime_ns == before.st_mtime_ns
    assert not was_cut(log)


@both_ways
def test_it_is_cut_again_and_again_and_the_beginning_stays(log, may_punch):
    first = block(0)
    log.write_bytes(first)
    for byte in (b"a", b"b", b"c"):
        flood(log, CAP_BYTES // MIB, byte)
        assert cut_when_large(log, may_punch=may_punch)
        assert not cut_when_large(log, may_punch=may_punch)
        assert tail(log, 1) == (byte.decode() * 1023,)
        with log.open("rb") as file:
            assert file.read(FIRST_BYTES) == first
    assert allocated(log) <= CAP_BYTES


def test_a_file_with_a_hole_counts_by_what_it_takes_up(log):
    with log.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"last\n")
    assert not cut_when_large(log)


@both_ways
def test_whoever_appends_goes_on_and_loses_no_newest_line(log, may_punch):
    """Its descriptor appends, as that of a ComfyUI does."""
    script = """if True:
        import sys
        for number in range(40):
            sys.stdout.write(("y" * 1023 + chr(10)) * 1024 * 4)
        print("all before", flush=True)
        sys.stdin.readline()
        print("after the cut", flush=True)
    """
    with log.open("ab") as output:
        writer = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=output, text=True)
    until(lambda: tail(log, 1) == ("all before",))
    assert cut_when_large(log, may_punch=may_punch)
    writer.communicate("\n")
    assert tail(log, 2) == ("all before", "after the cut")
    assert allocated(log) <= CAP_BYTES


def test_a_flood_that_goes_on_is_cut_without_a_stop(log):
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            flood(log, 8)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: sum(cut_when_large(log) for _ in range(3)) and log.stat().st_size > 4 * CAP_BYTES)
    finally:
        over.set()
        writer.join()
    cut_when_large(log)
    assert allocated(log) <= CAP_BYTES


def test_what_cannot_be_cut_is_left_alone(log, tmp_path):
    assert not cut_when_large(tmp_path / "missing")
    assert not cut_when_large(tmp_path)
    assert not was_cut(tmp_path / "missing")
    assert not was_cut(tmp_path)


def test_room_that_a_file_system_put_by_for_more_is_not_cut(log):
    log.write_bytes(b"short\n")
    with log.open("rb+") as file:
        os.posix_fallocate(file.fileno(), 0, 2 * CAP_BYTES)
        file.truncate(FIRST_BYTES + NEWEST_BYTES)
    assert not cut_when_large(log)


def test_logs_are_looked_at_once_more_after_their_process_has_gone(log):
    cap = OutputCap()
    log.write_bytes(b"")
    cap.look([log])
    flood(log, CAP_BYTES // MIB + 1)
    cap.look([])
    assert was_cut(log)
    log.unlink()
    flood(log, CAP_BYTES // MIB + 1)
    cap.look([])
    assert not was_cut(log)


def test_looks_come_faster_only_while_a_log_is_flooded(log):
    cap = OutputCap()
    flood(log, 1)
    assert not cap.look([log])
    flood(log, 5)
    assert cap.look([log])
    flood(log, 1)
    assert not cap.look([log])
    log.unlink()
    assert not cap.look([log])


def test_one_that_came_and_went_between_two_looks_is_looked_at_too(log):
    cap = OutputCap()
    cap.look([])
    cap.expect([log])
    flood(log, CAP_BYTES // MIB + 1)
    cap.look([])
    assert was_cut(log)


def test_reading_on_skips_holes_and_ends_at_the_end(log):
    with log.open("wb") as file:
        file.write(b"begin")
        file.seek(10 * MIB)
        file.write(b"middle")
        file.truncate(20 * MIB)
    with log.open("rb", buffering=0) as file:
        first, offset = read_data(file.fileno(), 0, MIB)
        assert first.rstrip(b"\0") == b"begin"
        assert len(first) <= 64 * 1024
        second, offset = read_data(file.fileno(), offset, MIB)
        assert second.rstrip(b"\0") == b"middle"
        assert read_data(file.fileno(), offset, MIB) == (b"", 20 * MIB)
        assert read_data(file.fileno(), 20 * MIB, MIB) == (b"", 20 * MIB)
        assert next_data(file.fileno(), 10 * MIB + 1) == 10 * MIB + 1


def read_by_us() -> int:
    """Bytes that this process has read so far, in whatever way."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what a process reads")
@pytest.mark.scenario("B-20")
def test_the_last_80_lines_of_a_cut_gib_are_read_from_its_end_alone(log):
    log.write_bytes(block(0))
    with log.open("rb+") as file:
        file.truncate(1 << 30)
    flood(log, CAP_BYTES // MIB)
    with log.open("ab") as file:
        file.write(b"x" * 10_000_000 + b"\n" + b"caf\xe9 \xff\n" * 100)
    assert cut_when_large(log)
    before = read_by_us()
    assert tail(log, 80) == ("caf\ufffd \ufffd",) * 80
    with log.open("ab") as file:
        file.write(b"x" * 10_000_000)
    assert tail(log, 80) == ("x" * MAX_LINE_CHARS,)
    assert read_by_us() - before < MIB

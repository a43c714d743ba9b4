"""Several writers at once, writers that are killed, and writers that hang."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from journal import Journal, JournalBusy, verify
from journal.holder import holder_pid
from journal.writelock import WriteLock, polled_lock
from tests.helpers.journals import new_journal, numbers, probes, run_python
from tests.helpers.waiting import until

pytestmark = pytest.mark.slow

WRITER = """
import sys
from tests.helpers.journals import *
number, count = map(int, sys.argv[2:])
with new_journal(Path(sys.argv[1])) as journal:
    print("ready", flush=True)
    sys.stdin.readline()
    for first in range(number * 1000, number * 1000 + count, 4):
        journal.append(probes(1, first))
        journal.append(probes(3, first + 1))
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process that is talked to by lines."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def line(process: subprocess.Popen[str]) -> str:
    """The next line that it says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def say(process: subprocess.Popen[str]) -> None:
    """Let it go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@contextmanager
def ended(process: subprocess.Popen[str]):
    """Kill it at the end, whatever happens."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_four_processes_append_without_gap_loss_or_refusal(tmp_path):
    writers = [start(WRITER, tmp_path, number, 200) for number in range(4)]
    assert [line(writer) for writer in writers] == ["ready"] * 4
    for writer in writers:
        say(writer)
    assert [writer.wait(timeout=50) for writer in writers] == [0] * 4
    for writer in writers:
        writer.communicate()

    with new_journal(tmp_path) as journal:
        found = numbers(journal)
        verdict = verify(journal)

    assert verdict.ok
    assert verdict.events == 801
    for number in range(4):
        own = [each for each in found if each // 1000 == number]
        assert own == list(range(number * 1000, number * 1000 + 200))


KILLED_WRITERS = """
import json, os, random, signal, sys
from journal import verify
from journal.head import Head, head_path, read
from tests.helpers.journals import *
from tests.helpers.waiting import until
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
path = folder / ".metadata" / "journal.db"
chance = random.Random(7)
for round in range(rounds):
    known = read(head_path(path))
    enough = chance.randrange(12) + (known.seq if known else 0)
    child = os.fork()
    if child == 0:
        journal = new_journal(folder)
        first = journal.head()[0]
        while True:
            journal.append(probes(chance.randrange(1, 4), first))
    until(lambda: (read(head_path(path)) or Head(0, b"")).seq >= enough)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    seen = read(head_path(path))
    with new_journal(folder) as journal:
        verdict, told = verify(journal), seen.seq if seen else 0
        outcome = [verdict.ok, verdict.problems, verdict.events, verdict.events >= told, journal.anchor_problem]
        print(json.dumps(outcome))
"""


def test_a_writer_killed_at_any_moment_leaves_a_valid_journal_and_nothing_acknowledged_is_lost(tmp_path):
    outcomes = [json.loads(text) for text in run_python(KILLED_WRITERS, tmp_path, 15).splitlines()]

    assert len(outcomes) == 15
    for ok, problems, _, all_acknowledged, anchor_problem in outcomes:
        assert (ok, problems, all_acknowledged, anchor_problem) == (True, [], True, "")
    counts = [events for _, _, events, _, _ in outcomes]
    assert counts == sorted(counts)


HOLDER = """
import sys
from tests.helpers.journals import *
with new_journal(Path(sys.argv[1])) as journal, journal.writing():
    journal.append(probes(1))
    print("holding", flush=True)
    sys.stdin.readline()
    journal.append(probes(1, first=1))
"""


def test_a_writer_waits_until_another_is_done_with_its_whole_block(tmp_path):
    with new_journal(tmp_path) as journal, ended(start(HOLDER, tmp_path)) as holder:
        assert line(holder) == "holding"
        go_on = threading.Timer(0.05, say, [holder])
        go_on.start()

        journal.append(probes(1, first=2))

        go_on.join()
        assert numbers(journal) == [0, 1, 2]
        assert holder.wait(timeout=20) == 0


def test_a_writer_that_is_stopped_for_ever_is_named_after_a_while(tmp_path):
    with new_journal(tmp_path, wait_s=0.2) as journal, ended(start(HOLDER, tmp_path)) as holder:
        assert line(holder) == "holding"
        holder.send_signal(signal.SIGSTOP)

        with pytest.raises(JournalBusy) as caught:
            journal.append(probes(1, first=2))
        with pytest.raises(JournalBusy):
            new_journal(tmp_path, wait_s=0.1)
        with Journal.open_readonly(journal.path) as reader:
            assert numbers(reader) == [0]

        assert caught.value.holder_pid == holder.pid
        assert f"kill -CONT {holder.pid}" in caught.value.hint
        assert f"process {holder.pid} ({sys.executable} -c " in caught.value.message
        assert "; it is stopped)" in caught.value.message
        holder.kill()
        holder.wait(timeout=20)
        journal.append(probes(1, first=2))
        assert numbers(journal) == [0, 2]


def test_who_gave_up_waiting_does_not_keep_the_lock_when_its_turn_comes(tmp_path):
    path = tmp_path / "journal.lock"
    first, second = WriteLock(path), WriteLock(path, wait_s=0.05)
    with first.held(), pytest.raises(JournalBusy) as caught, second.held():
        pass
    assert caught.value.holder_pid == os.getpid()

    until(lambda: not waiting_threads())
    assert holder_pid(path) is None
    with second.held():
        assert holder_pid(path) == os.getpid()


def test_who_tries_again_and_again_waits_on_one_thread_and_one_descriptor(tmp_path):
    """A holder can be stopped for hours."""
    path = tmp_path / "journal.lock"
    first, second = WriteLock(path), WriteLock(path, wait_s=0.01)
    with first.held():
        open_before = open_files()
        for _ in range(20):
            with pytest.raises(JournalBusy), second.held():
                pass
        assert waiting_threads() == 1
        assert open_files() == open_before + 1

    until(lambda: not waiting_threads())
    assert holder_pid(path) is None
    with second.held():
        assert holder_pid(path) == os.getpid()


def test_a_lock_that_becomes_free_during_the_next_try_is_had(tmp_path):
    path = tmp_path / "journal.lock"
    tried = threading.Event()
    got: list[int | None] = []

    def try_twice() -> None:
        lock = WriteLock(path)
        with pytest.raises(JournalBusy), lock.held(0.01):
            pass
        tried.set()
        with lock.held():
            got.append(holder_pid(path))

    trying = threading.Thread(target=try_twice)
    with WriteLock(path).held():
        trying.start()
        assert tried.wait(10)
        until(lambda: waiting_threads() == 1)
    trying.join()

    assert got == [os.getpid()]
    assert holder_pid(path) is None


def test_a_waiter_left_behind_on_a_lock_file_that_is_gone_holds_nobody_up(tmp_path):
    path = tmp_path / "journal.lock"
    lock = WriteLock(path)
    with WriteLock(path).held():
        with pytest.raises(JournalBusy), lock.held(0.01):
            pass
        path.unlink()
        with lock.held(0.01):
            assert holder_pid(path) == os.getpid()
    until(lambda: not waiting_threads())


def test_the_lock_is_taken_once_however_often_it_is_asked_for(tmp_path):
    with new_journal(tmp_path) as journal:
        lock = journal.path.with_suffix(".lock")
        with journal.writing():
            with journal.writing():
                journal.append(probes(1))
            assert holder_pid(lock) == os.getpid()
        assert holder_pid(lock) is None


def test_the_lock_is_free_after_an_error(tmp_path):
    with new_journal(tmp_path) as journal:
        with pytest.raises(LookupError), journal.writing(), journal.writing():
            raise LookupError
        assert holder_pid(journal.path.with_suffix(".lock")) is None


def open_files() -> int:
    """How many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def waiting_threads() -> int:
    """How many wait for a write lock in this process."""
    return sum(thread.name == "journal write lock" for thread in threading.enumerate())


def test_who_waited_for_a_lock_file_that_is_gone_locks_its_successor(tmp_path):
    path = tmp_path / "journal.lock"
    holders: list[int | None] = []

    def wait_and_look() -> None:
        with WriteLock(path).held():
            holders.append(holder_pid(path))

    waiting = threading.Thread(target=wait_and_look)
    with WriteLock(path).held():
        waiting.start()
        until(waiting_threads)
        path.unlink()
    waiting.join()

    assert holders == [os.getpid()]


class Interrupted(Exception):  # noqa: N818 - what has happened
    """As KeyboardInterrupt, but pytest goes on."""


def test_who_is_interrupted_while_waiting_does_not_keep_the_lock(tmp_path):
    path = tmp_path / "journal.lock"

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with WriteLock(path).held():
            threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1]).start()
            with pytest.raises(Interrupted), WriteLock(path).held():
                pass
    finally:
        signal.signal(signal.SIGUSR1, before)

    until(lambda: not waiting_threads())
    assert holder_pid(path) is None


def test_nobody_holds_a_lock_that_does_not_exist(tmp_path):
    assert holder_pid(tmp_path / "journal.lock") is None


def test_the_lock_for_systems_without_flock_excludes_too(tmp_path):
    path = tmp_path / "journal.lock"
    with polled_lock(path, 1), pytest.raises(JournalBusy), polled_lock(path, 0.05):
        pass
    with polled_lock(path, 1):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_journal_can_be_closed_while_another_writer_hangs(tmp_path):
    journal = new_journal(tmp_path, wait_s=0.05)
    journal.append(probes(2))
    with WriteLock(journal.path.with_suffix(".lock")).held():
        journal.close()

    with new_journal(tmp_path) as again:
        assert numbers(again) == [0, 1]

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.identity import identify
from orchestrator.errors import OrchestratorError
from orchestrator.occupancy import has_open, holder_in_words, is_held
from orchestrator.singleton import AlreadyRunning, Singleton
from tests.helpers.child_scripts import LIVE_ON, PYTHON, end

HOLD = """
import signal, subprocess, sys
from pathlib import Path
from orchestrator.singleton import Singleton
held = Singleton.acquire(Path(sys.argv[1]))
child = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, close_fds=False)
print(child.pid, flush=True)
signal.pause()
"""


@contextlib.contextmanager
def holder(path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Another process that holds the lock and has a child."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), *PYTHON, LIVE_ON], stdout=subprocess.PIPE)
    assert process.stdout is not None
    child_pid = int(process.stdout.readline())
    child = identify(child_pid)
    assert child is not None
    try:
        yield process, child_pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        end(child)


def can_acquire(path: Path) -> bool:
    try:
        Singleton.acquire(path).release()
    except AlreadyRunning:
        return False
    return True


def test_the_second_is_refused_and_the_next_after_a_release_is_not(tmp_path):
    path = tmp_path / ".orchestrator.lock"
    first = Singleton.acquire(path)
    with pytest.raises(AlreadyRunning, match=r"\.orchestrator\.lock") as caught:
        Singleton.acquire(path)
    assert "comfygit-orchestrator status" in caught.value.hint
    first.release()
    first.release()
    assert can_acquire(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_ends_with_its_holder_by_kill_9_although_the_holders_child_lives(tmp_path):
    path = tmp_path / ".orchestrator.lock"
    with holder(path) as (process, child_pid):
        assert not can_acquire(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert can_acquire(path)
        assert identify(child_pid) is not None


def test_the_refused_one_changes_no_file(tmp_path):
    path = tmp_path / ".orchestrator.lock"
    with holder(path):
        os.utime(path, (1, 1))
        before = [
            (one.name, one.stat().st_mtime_ns, one.stat().st_ctime_ns, one.read_bytes()) for one in tmp_path.iterdir()
        ]
        folder_before = tmp_path.stat().st_mtime_ns
        assert not can_acquire(path)
        after = [
            (one.name, one.stat().st_mtime_ns, one.stat().st_ctime_ns, one.read_bytes()) for one in tmp_path.iterdir()
        ]
        assert after == before
        assert tmp_path.stat().st_mtime_ns == folder_before


def test_what_was_in_the_file_does_not_matter(tmp_path):
    path = tmp_path / ".orchestrator.lock"
    path.write_text(f"{os.getpid()}\n")
    assert can_acquire(path)


def test_a_lock_that_cannot_be_opened_is_an_error_with_a_hint(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OrchestratorError, match="locking") as caught:
        Singleton.acquire(tmp_path / "file" / ".orchestrator.lock")
    assert caught.value.hint


@pytest.mark.scenario("B-21")
@pytest.mark.parametrize(
    "change", ["none", "deleted", "made anew by somebody", "its folder is renamed", "found by a link"]
)
def test_whose_lock_it_is_can_be_told_whatever_became_of_its_file(tmp_path, change):
    folder = tmp_path / "one"
    folder.mkdir()
    path = folder / ".orchestrator.lock"
    with holder(path) as (process, child_pid):
        if change in {"deleted", "made anew by somebody"}:
            path.unlink()
        if change == "made anew by somebody":
            path.touch()
        if change == "its folder is renamed":
            path = folder.rename(tmp_path / "two") / path.name
        if change == "found by a link":
            (tmp_path / "two").symlink_to("one")
            path = tmp_path / "two" / path.name
        assert has_open(process.pid, path)
        assert not has_open(child_pid, path)
        assert not has_open(process.pid, tmp_path / path.name)  # a copy of the workspace has another one
    assert not has_open(process.pid, path)


@pytest.mark.scenario("B-21")
def test_a_deleted_lock_is_held_by_whom_the_pid_file_names_if_he_has_it_open(tmp_path):
    path = tmp_path / ".orchestrator.lock"
    with holder(path) as (process, child_pid):
        assert is_held(tmp_path)
        path.unlink()
        assert not is_held(tmp_path)
        (tmp_path / ".orchestrator.pid").write_text(str(child_pid))
        assert not is_held(tmp_path)
        (tmp_path / ".orchestrator.pid").write_text(str(process.pid))
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


@pytest.mark.scenario("B-21")
def test_its_holder_makes_a_deleted_file_anew_and_nobody_else_gets_the_lock(tmp_path):
    path = tmp_path / ".orchestrator.lock"
    held = Singleton.acquire(path)
    assert not held.renew()
    path.unlink()
    assert held.renew()
    assert not held.renew()
    assert not can_acquire(path)
    assert path.stat().st_mode & 0o777 == 0o600
    held.release()
    assert can_acquire(path)


@pytest.mark.scenario("B-21")
def test_while_somebody_else_has_the_new_file_it_is_left_to_the_next_time(tmp_path):
    path = tmp_path / ".orchestrator.lock"
    held = Singleton.acquire(path)
    path.unlink()
    with holder(path):
        assert not held.renew()
    assert held.renew()
    assert not can_acquire(path)
    held.release()


UNKNOWN = "an orchestrator that has only just started, or is about to end"


@pytest.mark.scenario("B-21")
@pytest.mark.parametrize(
    ("port", "where"),
    [
        ("5050", "http://127.0.0.1:5050"),
        ("5050\n", "http://127.0.0.1:5050"),
        (None, "no control server"),
        ("0", "no control server"),
        ("65536", "no control server"),
        ("-1", "no control server"),
        ("\x1b[31m5050", "no control server"),
        ("50 50", "no control server"),
        ("\N{SUPERSCRIPT TWO}", "no control server"),
        ("9" * 10_000, "no control server"),
    ],
)
def test_the_holder_is_named_by_its_pid_file_and_where_its_control_server_answers(tmp_path, port, where):
    (tmp_path / ".orchestrator.pid").write_text(str(os.getpid()))
    if port is not None:
        (tmp_path / ".control_port").write_text(port)
    assert holder_in_words(tmp_path) == f"orchestrator pid {os.getpid()}, {where}"


@pytest.mark.scenario("B-21", "B-34")
@pytest.mark.parametrize(
    "pid", [None, "", "0", "-1", str(2**31), str(2**63), "text", "1 2", "9" * 10_000, str(2**31 - 1)]
)
def test_what_is_no_pid_of_anything_names_nobody(tmp_path, pid):
    (tmp_path / ".control_port").write_text("5050")
    if pid is not None:
        (tmp_path / ".orchestrator.pid").write_text(pid)
    assert holder_in_words(tmp_path) == UNKNOWN


@pytest.mark.scenario("B-21")
@pytest.mark.parametrize("what", ["a pipe without a writer", "a folder", "a link"])
def test_whatever_else_lies_there_is_passed_over_and_not_waited_for(tmp_path, what):
    path = tmp_path / ".orchestrator.pid"
    if what == "a folder":
        path.mkdir()
    elif what == "a link":
        (tmp_path / "elsewhere").write_text(str(os.getpid()))
        path.symlink_to("elsewhere")
    else:
        os.mkfifo(path)
    assert holder_in_words(tmp_path) == UNKNOWN

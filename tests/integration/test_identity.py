"""Who a process is."""

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from journal import identity, own_actor
from journal.identity import identify, is_alive, own_identity, start_ticks
from tests.helpers.waiting import until

QUIET = (sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()")


@pytest.fixture
def child():
    with subprocess.Popen(QUIET, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_the_calling_process_is_alive():
    me = own_identity()

    assert me.pid == os.getpid()
    assert me.start_ticks > 0
    assert identify(os.getpid()) == me
    assert is_alive(me)


def test_an_identity_does_not_change_while_the_process_runs(child):
    first = identify(child.pid)

    assert first is not None
    assert identify(child.pid) == first
    assert is_alive(first)


def test_a_zombie_and_a_reaped_process_are_not_alive(child):
    found = identify(child.pid)
    assert found is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}").exists() or sys.platform != "linux"
    assert not is_alive(found)
    assert identify(child.pid) is None

    child.wait()
    assert not is_alive(found)


def test_another_process_with_the_same_pid_is_not_the_one(child):
    found = identify(child.pid)
    assert found is not None

    assert not is_alive(attrs.evolve(found, start_ticks=found.start_ticks - 1))
    assert not is_alive(attrs.evolve(found, boot_id="an earlier boot"))


@pytest.mark.parametrize("pid", [0, -1, -(2**70), 2**22 + 1, 2**31, 2**63, 2**70])
def test_a_pid_that_cannot_be_belongs_to_nobody(pid):
    assert start_ticks(pid) is None
    assert identify(pid) is None


@pytest.mark.skipif(sys.platform != "linux", reason="procfs")
def test_a_process_with_an_awkward_name_is_identified(tmp_path):
    program = tmp_path / ") S 1 (x) "
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, *QUIET[1:]], stdin=subprocess.PIPE) as process:
        comm = Path(f"/proc/{process.pid}/comm")
        until(lambda: ") S 1" in comm.read_text("ascii"))
        found, me = identify(process.pid), own_identity()
        process.kill()

    assert found is not None
    assert found.start_ticks >= me.start_ticks


def test_where_there_is_no_procfs_the_start_is_counted_in_hundredths(child):
    first = identity._psutil_start_ticks(child.pid)
    assert first is not None
    assert first == identity._psutil_start_ticks(child.pid)
    assert first >= (identity._psutil_start_ticks(os.getpid()) or 0)

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity._psutil_start_ticks(child.pid) is None
    child.wait()
    assert identity._psutil_start_ticks(child.pid) is None
    assert identity._psutil_start_ticks(2**70) is None


def test_an_actor_is_this_process_on_this_host():
    actor = own_actor("cli")

    assert (actor.role, actor.identity) == ("cli", own_identity())
    assert actor.host != ""

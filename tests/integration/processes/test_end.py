import asyncio
import os
from pathlib import Path

import psutil
import pytest

from journal.identity import is_alive
from orchestrator.processes.children import Exit
from orchestrator.processes.signals import open_child_pidfd, send
from tests.helpers.child_scripts import KEY, LIVE_ON, exit_of, start, wait_for_line


@pytest.mark.parametrize("code", [0, 1, 42, 43, 255])
def test_exit_codes(children, log, code):
    start(children, log, f"raise SystemExit({code})")
    assert exit_of(children) == Exit(code, "", known=True)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL", "SIGSEGV"])
def test_an_end_by_signal_has_its_name_and_no_code(children, log, name):
    default = "" if name == "SIGKILL" else f"signal.signal(signal.{name}, signal.SIG_DFL); "
    start(children, log, f"import os, signal; {default}os.kill(os.getpid(), signal.{name})")
    assert exit_of(children) == Exit(None, name, known=True)


def test_an_end_by_a_signal_without_a_name(children, log):
    start(children, log, "import os, signal; os.kill(os.getpid(), 40)")
    ended = exit_of(children)
    assert (ended.code, ended.signal, ended.known) == (None, "SIG40", True)


def test_a_running_and_an_unknown_process_have_not_ended(children, log):
    start(children, log, LIVE_ON)
    assert children.poll(KEY) is None
    assert children.poll(99) is None
    assert KEY in children
    assert 99 not in children
    assert children.exit_fd(99) is None
    assert children.survivors(99) == ()


def test_it_is_asked_as_often_as_one_likes_and_reaped_once_by_forget(children, log):
    identity = start(children, log, "raise SystemExit(42)")
    assert exit_of(children) == children.poll(KEY) == Exit(42, "", known=True)
    assert psutil.Process(identity.pid).status() == psutil.STATUS_ZOMBIE
    children.forget(KEY)
    assert not psutil.pid_exists(identity.pid)
    assert children.poll(KEY) is None
    children.forget(KEY)


def test_a_child_that_another_reaper_took_has_an_unknown_end(children, log):
    identity = start(children, log, "raise SystemExit(42)")
    os.waitpid(identity.pid, 0)
    assert exit_of(children) == Exit(None, "", known=False)


def test_the_loop_is_woken_by_the_descriptor(children, log):
    start(children, log, LIVE_ON)
    wait_for_line(log, "ready")

    async def wait():
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        descriptor = children.exit_fd(KEY)
        assert descriptor is not None
        loop.add_reader(descriptor, ended.set)
        children.signal(children._children[KEY].identity, KEY, "SIGKILL", whole_tree=False)
        await asyncio.wait_for(ended.wait(), 10)
        loop.remove_reader(descriptor)
        return children.poll(KEY)

    assert asyncio.run(wait()) == Exit(None, "SIGKILL", known=True)


def test_a_child_that_ended_before_its_descriptor_was_opened_wakes_too(children, log):
    children.spawn(KEY, ["/bin/true"], cwd=Path("/"), environ={}, log=log)
    exit_of(children)
    descriptor = open_child_pidfd(children._children[KEY].identity.pid)
    assert descriptor is not None
    os.close(descriptor)


def test_what_still_runs_outlives_being_forgotten(children, log):
    identity = start(children, log, LIVE_ON)
    children.close()
    assert is_alive(identity)
    assert send(identity, "SIGKILL")
    os.waitpid(identity.pid, 0)

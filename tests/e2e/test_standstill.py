"""A writer that was stopped while it held the lock, and no descriptor left: said, waited for, and gone on from."""

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from journal.clock import S, elapsed_ns, read
from journal.events import FileDrifted, ProcessAdopted, ProcessExited, ProcessIntended, SwitchCompleted
from journal.identity import Identity, is_alive
from tests.helpers.bystanders import SteadyCaller
from tests.helpers.live_workspace import LiveWorkspace
from tests.helpers.waiting import until

pytestmark = pytest.mark.slow

HOLDER = """
import os, signal, sys
from journal import Journal, own_actor
from pathlib import Path
with Journal.open(Path(sys.argv[1]), own_actor("cli")) as journal, journal.writing(), journal._transaction():
    os.kill(os.getpid(), signal.SIGSTOP)
"""
IDLE_CONNECTIONS = 1_000


@pytest.fixture
def stopped_writer() -> Iterator[Callable[[LiveWorkspace], subprocess.Popen[bytes]]]:
    """`stopped_writer(live)`: a process that is stopped in the middle of a transaction."""
    started: list[subprocess.Popen[bytes]] = []

    def start(live: LiveWorkspace) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, str(live.metadata / "journal.db")])
        started.append(process)
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def let_go_on(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()


def orchestrator_of(live: LiveWorkspace) -> Identity:
    identity = live.state().orchestrator
    assert identity is not None
    return identity


@pytest.mark.parametrize("relieve", [let_go_on, kill])
def test_a_stopped_writer_is_named_holds_no_reader_up_and_is_gone_on_from(workspace, stopped_writer, relieve):
    live = workspace(one=None)
    live.serve_kept("one")
    port, before = live.control_port(), orchestrator_of(live)
    holder = stopped_writer(live)
    live.leave(42)

    until(lambda: "has held the write lock" in live.log())
    assert f"process {holder.pid} ({sys.executable} -c " in live.log()
    assert f"it is stopped) has held the write lock for more than 1 s; let process {holder.pid} go on" in live.log()
    began = read()
    assert live.cli("status").returncode == 0
    assert live.cli("log", tool="journal").returncode == 0
    assert live.cli("verify", tool="journal").returncode == 0
    assert live.ask("/health", port=port)["status"] == "alive"
    assert elapsed_ns(began, read()) < 15 * S, "three commands and an answer"
    relieve(holder)

    live.until(lambda state: state.serving == "one" and len(live.starts("one")) == 2, 15)
    assert orchestrator_of(live) == before
    assert live.cli("verify", tool="journal").returncode == 0


def test_an_orchestrator_that_is_asked_to_end_does_not_wait_for_a_stopped_writer_for_ever(workspace, stopped_writer):
    live = workspace(one=None)
    live.serve_kept("one")
    orchestrator, comfyui = orchestrator_of(live), live.state().main_process.identity
    holder = stopped_writer(live)
    os.kill(orchestrator.pid, signal.SIGTERM)
    until(lambda: not is_alive(orchestrator), 20)
    assert f"asked to end, which cannot be journaled: leaving as it is; left running: pid {comfyui.pid}" in live.log()
    kill(holder)
    live.serve("one")
    assert live.state().main_process.identity == comfyui


def test_a_command_names_who_is_in_its_way_and_ends(workspace, stopped_writer):
    live = workspace(one=None, two=None)
    live.serve_kept("one")
    holder = stopped_writer(live)

    said = live.cli("switch", "two")

    assert said.returncode == 1
    error, hint = said.stderr.splitlines()
    assert f"process {holder.pid} ({sys.executable} -c " in error
    assert f"kill -CONT {holder.pid}" in hint
    let_go_on(holder)
    assert live.cli("switch", "two", "--wait").returncode == 0


@contextmanager
def starved(process: Identity, left: int = 0) -> Iterator[None]:
    """It can open so many files, sockets or pipes more; what it has open it keeps."""
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    taken = {int(entry.name) for entry in Path(f"/proc/{process.pid}/fd").iterdir()}
    free = [number for number in range(max(taken) + 1 + left) if number not in taken]
    limit = free[left - 1] + 1 if left else 3
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        if is_alive(process):
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))


def has_answered(caller: SteadyCaller, answers: int) -> bool:
    return caller.answers > answers


@pytest.mark.parametrize("left", [0, 3])
def test_an_orchestrator_without_a_descriptor_left_does_nothing_says_so_and_goes_on_with_the_switch(workspace, left):
    """With a few left it could look and journal, and then not start what it has stopped something for."""
    live = workspace(one=None, two=None)
    live.serve_kept("one")
    orchestrator = orchestrator_of(live)
    with SteadyCaller(live.port) as caller, starved(orchestrator, left):
        assert live.cli("switch", "two").returncode == 0
        asked = len(live.events())
        until(lambda: "Too many open files; raise the limit of open files" in live.log())
        for _ in range(3):  # it has had time to do something wrong
            until(partial(has_answered, caller, caller.answers + 50))
        assert len(live.events()) == asked
        assert caller.failures == []
    live.until_over()

    assert [event.environment for event in live.of(SwitchCompleted)] == ["two"]
    assert orchestrator_of(live) == orchestrator
    assert live.of(FileDrifted) == []
    assert "Traceback" not in live.log()


def test_a_comfyui_that_was_taken_over_is_not_thought_dead_when_nothing_can_be_looked_at(workspace):
    live = workspace(one=None)
    live.serve_kept("one")
    killed = orchestrator_of(live)
    os.kill(killed.pid, signal.SIGKILL)
    live.start("one")
    live.until(lambda _: live.of(ProcessAdopted))
    orchestrator = orchestrator_of(live)
    assert orchestrator != killed
    with SteadyCaller(live.port) as caller, starved(orchestrator):
        assert live.cli("abort").returncode == 0  # nothing to abort
        (live.metadata / ".switch_status.json").write_text("{}")  # it is woken
        until(lambda: "Too many open files" in live.log())
        until(lambda: caller.answers > 100)
    live.leave(42)
    live.until(lambda state: state.serving == "one" and len(live.starts("one")) == 2)

    assert len(live.of(ProcessExited)) == 1
    assert len(live.of(ProcessIntended)) == 2
    assert caller.failures == []


@pytest.mark.scenario("B-16")
def test_an_orchestrator_that_may_write_no_more_to_any_file_goes_on_when_it_may(workspace):
    """A quota that is used up, where nobody may mount a small disk."""
    live = workspace(one=None, two=None)
    live.serve_kept("one")
    orchestrator, port = orchestrator_of(live), live.control_port()
    soft, hard = resource.prlimit(orchestrator.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(orchestrator.pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        with SteadyCaller(live.port) as caller:
            assert live.cli("switch", "two").returncode == 0
            asked = len(live.events())
            until(partial(has_answered, caller, 100))
            assert live.ask("/health", port=port)["status"] == "alive"
        assert caller.failures == []
        assert len(live.events()) == asked
        assert list(live.metadata.glob(".*.tmp.*")) == []
    finally:
        resource.prlimit(orchestrator.pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert live.until_over().serving == "two"
    assert orchestrator_of(live) == orchestrator
    assert live.cli("verify", tool="journal").returncode == 0


@contextmanager
def many_files() -> Iterator[None]:
    """This process may open what the test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * IDLE_CONNECTIONS)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_idle_connections_take_neither_descriptors_nor_answers(workspace):
    live = workspace(one=None, two=None)
    live.serve_kept("one")
    port, orchestrator = live.control_port(), orchestrator_of(live)
    with many_files(), ExitStack() as stack:
        for _ in range(IDLE_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        assert live.ask("/health", port=port)["status"] == "alive"
        assert psutil.Process(orchestrator.pid).num_fds() < 150
        assert live.cli("switch", "two", "--wait").returncode == 0
    assert "Too many open files" not in live.log()

"""Signals that ask for the end: heeded whoever they come to, and whenever."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from journal.events import OrchestratorStarted, ShutdownRequested
from journal.identity import is_alive
from tests.helpers.waiting import until

ENDING = {signal.SIGTERM, signal.SIGINT}

ENDED_EARLY = """
import os, signal, sys
from journal.store import Journal
from orchestrator.cli import main
append = Journal.append
def appending(journal, drafts, *rest):
    recorded = append(journal, drafts, *rest)
    if any(draft.event.stored_name == "orchestrator.started" for draft in drafts):
        os.kill(os.getpid(), signal.SIGTERM)
    return recorded
Journal.append = appending
sys.exit(main())
"""
"""The orchestrator, and somebody who sends it SIGTERM as soon as its pid is known."""


def signals_of(pid: int, thread: int, field: str) -> set[int]:
    """The set of that name in `/proc/PID/task/THREAD/status`."""
    lines = Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith(field))
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_a_signal_to_the_guard_is_heeded_also_where_everybody_else_is_dead(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    state = live.state()
    os.kill(state.orchestrator.pid, signal.SIGSTOP)  # it shall not see the other one die
    for dead in (state.main_process.identity, state.orchestrator):
        os.kill(dead.pid, signal.SIGKILL)
    until(lambda: not is_alive(state.orchestrator))
    assert live.stop(guard) == 0
    assert len(live.starts("good")) == 1


def test_a_signal_to_the_pid_that_has_only_just_been_written_is_heeded(workspace):
    live = workspace(good=None)
    command = [sys.executable, "-c", ENDED_EARLY, "run", "--workspace", str(live.root), "--environment", "good"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert len(live.of(OrchestratorStarted)) == 1
    assert live.starts("good") == []


def test_a_signal_is_not_lost_while_the_orchestrator_takes_its_dead_guards_place(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    orchestrator = live.state().orchestrator
    os.kill(orchestrator.pid, signal.SIGSTOP)  # so that it sees both at once
    guard.kill()
    guard.wait()
    os.kill(orchestrator.pid, signal.SIGTERM)
    os.kill(orchestrator.pid, signal.SIGCONT)
    until(lambda: not is_alive(orchestrator))
    state = live.state()
    assert (state.orchestrator, state.processes) == (None, {})
    assert len(live.starts("good")) == 1


def test_no_thread_but_the_main_one_takes_signals_in(workspace):
    live = workspace(good=None)
    command = [sys.executable, "-m", "orchestrator", "run", "--workspace", str(live.root), "--environment", "good"]
    with (live.metadata / "output").open("wb") as output:
        live.orchestrators.append(subprocess.Popen([*command, "--args", "--port", str(live.port)], stdout=output))
    pid = live.until(lambda state: state.serving == "good" and state.control is not None).orchestrator.pid

    def are_deaf() -> bool:  # what shows the output, and one that has imported something
        others = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir() if task.name != str(pid)]
        try:
            return len(others) >= 2 and all(signals_of(pid, thread, "SigBlk") >= ENDING for thread in others)
        except FileNotFoundError:
            return False  # one has ended meanwhile

    until(are_deaf)
    until(lambda: not ENDING & signals_of(pid, pid, "SigBlk"))  # it blocks everything while it starts a program


def test_an_orchestrator_under_nohup_lives_on_when_its_terminal_is_closed(workspace):
    live = workspace(good=None)
    command = ["nohup", sys.executable, "-m", "orchestrator", "--workspace", str(live.root), "--environment", "good"]
    with (live.metadata / "orchestrator.log").open("ab") as log:
        command += ["--args", "--port", str(live.port)]
        live.orchestrators.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
    state = live.until(lambda state: state.serving == "good")
    for one in (state.guard, state.orchestrator):
        os.kill(one.pid, signal.SIGHUP)
    os.kill(state.orchestrator.pid, signal.SIGTERM)
    assert live.orchestrators[-1].wait(30) == 0
    assert [event.reason for event in live.of(ShutdownRequested)] == ["SIGTERM"]


def test_a_terminals_quit_ends_everything(workspace):
    live = workspace(good=None)
    guard = live.serve("good")
    state = live.state()
    for one in (state.guard, state.orchestrator):
        os.kill(one.pid, signal.SIGQUIT)
    assert guard.wait(30) == 0
    assert live.state().processes == {}

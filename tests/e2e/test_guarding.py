"""The guard around a real orchestrator: it is there again at once, adopts what runs, and knows how that ended."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from journal.codec import own_actor
from journal.events import (
    ExitCause,
    GuardLost,
    GuardReaped,
    GuardStarted,
    OrchestratorLost,
    OrchestratorStarted,
    Origin,
    ProcessAdopted,
    ProcessExited,
    ProcessSwept,
    ShutdownRequested,
    SpawnRequested,
)
from journal.identity import identify, is_alive
from orchestrator import force_cleanup_orchestrator_state
from orchestrator.launching import spawn_orchestrator
from orchestrator.ledger import Ledger
from orchestrator.workspace import open_workspace
from projections.state import Goal
from tests.helpers.waiting import until


def kill_the_orchestrator(live):
    """And wait until its successor has adopted what runs."""
    dead = live.state().orchestrator
    os.kill(dead.pid, signal.SIGKILL)
    return live.until(
        lambda state: (
            state.orchestrator not in {None, dead}
            and all(process.owner == state.orchestrator for process in state.processes.values())
        )
    )


def kill_the_guard(live):
    """The state before: its orchestrator served, and its content was kept."""
    guard = live.serve_kept("good")
    before = live.state()
    guard.kill()
    guard.wait()
    return before


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_command_becomes_the_guard_and_the_orchestrator_is_its_child(workspace):
    live = workspace(good=None)
    process = live.serve("good")
    state = live.state()
    assert state.guard == identify(process.pid)
    assert [event.identity for event in live.of(GuardStarted)] == [state.guard]
    assert parent_of(state.orchestrator.pid) == process.pid


def test_it_is_told_to_nobody_that_we_start(workspace):
    live = workspace(good=None)
    live.serve("good")
    assert "COMFYGIT_JOURNAL_GUARD" not in live.ask("/stand_in/environ")["environ"]


@pytest.mark.scenario("B-02")
def test_a_killed_orchestrator_is_there_again_and_has_adopted_the_same_comfyui(workspace):
    live = workspace(good=None)
    live.serve_kept("good")
    main = live.state().main_process.identity
    for number in (1, 2):
        state = kill_the_orchestrator(live)
        assert state.main_process.identity == main
        assert len(live.of(OrchestratorLost)) == number
    assert [event.manual for event in live.of(OrchestratorStarted)] == [True, False, False]
    assert len(live.of(GuardStarted)) == 1
    assert len(live.starts("good")) == 1
    live.leave(42)
    live.until(lambda state: state.serving == "good" and state.main_process.identity != main)
    (exited,) = live.of(ProcessExited)
    assert (exited.code, exited.cause) == (42, ExitCause.RESTART)


def test_how_an_orchestrator_ended_is_told_wherever_somebody_looks(workspace):
    live = workspace(good=None)
    live.serve_kept("good")
    killed = live.state().orchestrator
    segfaulted = kill_the_orchestrator(live).orchestrator
    os.kill(segfaulted.pid, signal.SIGSEGV)
    live.until(lambda state: state.orchestrator not in {None, segfaulted})
    lost = [(event.identity, event.code, event.signal) for event in live.of(OrchestratorLost)]
    assert lost == [(killed, None, "SIGKILL"), (segfaulted, None, "SIGSEGV")]
    words = f"orchestrator pid {killed.pid} ended by SIGKILL"
    assert words in live.cli("log", tool="journal").stdout
    assert f"orchestrator pid {segfaulted.pid} ended by SIGSEGV" in live.cli("status").stdout
    assert "signal='SIGKILL'" in live.log()


def test_an_orchestrator_that_has_become_the_guard_is_not_called_dead(workspace):
    live = workspace(good=None)
    before = kill_the_guard(live)
    live.until(lambda state: state.orchestrator not in {None, before.orchestrator})
    assert live.of(OrchestratorLost) == [OrchestratorLost(identity=before.orchestrator, became_guard=True)]
    assert f"orchestrator pid {before.orchestrator.pid} became the guard" in live.cli("status").stdout


@pytest.mark.scenario("B-44")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGSEGV"])
def test_a_signal_that_ended_an_orphan_is_in_the_journal(workspace, number):
    live = workspace(good=None)
    live.serve_kept("good")
    main = kill_the_orchestrator(live).main_process
    os.kill(main.identity.pid, signal.Signals[number])
    live.until(lambda state: len(live.starts("good")) == 2 and state.serving == "good")
    exited = live.of(ProcessExited)[0]
    assert (exited.code, exited.signal, exited.cause) == (None, number, ExitCause.CRASH)
    assert live.of(GuardReaped)[0].identity == main.identity


def test_a_killed_guard_is_replaced_by_its_orchestrator_which_starts_another(workspace):
    live = workspace(good=None)
    before = kill_the_guard(live)
    state = live.until(lambda state: state.guard == before.orchestrator and state.orchestrator != before.orchestrator)
    assert [event.identity for event in live.of(GuardLost)] == [before.guard]
    live.until(lambda _: len(live.of(ProcessAdopted)) == 1)
    assert kill_the_orchestrator(live).main_process.identity == before.main_process.identity
    os.kill(before.main_process.identity.pid, signal.SIGKILL)
    live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    assert live.of(ProcessExited)[0].signal == "SIGKILL"
    os.kill(state.guard.pid, signal.SIGTERM)
    until(lambda: not is_alive(state.guard))
    assert live.state().orchestrator is None


def test_a_killed_guard_is_replaced_also_while_nothing_can_be_journaled(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    before = live.state().orchestrator
    with (live.metadata / "journal.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        guard.kill()
        guard.wait()
        until(lambda: b"--again" in Path(f"/proc/{before.pid}/cmdline").read_bytes())
    state = live.until(lambda state: state.guard == before and state.orchestrator not in {None, before})
    live.until(lambda state: state.main_process.owner == state.orchestrator)
    assert [event.identity.pid for event in live.of(GuardLost)] == [guard.pid]
    assert len(live.starts("good")) == 1
    os.kill(state.guard.pid, signal.SIGTERM)
    until(lambda: not is_alive(state.guard))


def test_a_guard_that_is_killed_before_its_orchestrator_listens_is_replaced_too(workspace):
    live = workspace(good=None)
    guard = live.start("good")
    until(lambda: Path(f"/proc/{guard.pid}/task/{guard.pid}/children").read_text())
    guard.kill()
    guard.wait()
    state = live.until(lambda state: state.serving == "good" and state.guard is not None and is_alive(state.guard))
    assert live.of(OrchestratorStarted)[0].manual
    assert len(live.starts("good")) == 1
    os.kill(state.guard.pid, signal.SIGTERM)
    until(lambda: not is_alive(state.guard))


def test_what_an_entry_script_left_running_is_no_part_of_a_comfyui(workspace):
    live = workspace(good=None)
    flag = live.metadata / "flag"
    helper = f"(while [ ! -e {flag} ]; do sleep 0.05; done; setsid sleep 300 & echo $! > {flag}.pid) &"
    command = [sys.executable, "-m", "orchestrator", "--workspace", str(live.root), "--environment", "good"]
    shell = ["sh", "-c", f'{helper} exec "$@"', "sh", *command, "--args", "--port", str(live.port)]
    with (live.metadata / "orchestrator.log").open("ab") as log:
        live.orchestrators.append(subprocess.Popen(shell, stdout=log, stderr=log))
    state = live.until(lambda state: state.serving == "good")
    flag.touch()
    told = flag.with_suffix(".pid")
    stranger = identify(int(until(lambda: told.exists() and told.read_text())))
    assert stranger is not None
    try:
        until(lambda: parent_of(stranger.pid) == state.guard.pid)
        live.leave(42)
        live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
        assert is_alive(stranger)
        assert not live.of(ProcessSwept)
    finally:
        os.kill(stranger.pid, signal.SIGKILL)


def test_it_runs_with_its_standard_files_closed(workspace):
    live = workspace(good=None)
    command = [sys.executable, "-m", "orchestrator", "run", "--workspace", str(live.root), "--environment", "good"]
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command, "--args", "--port", str(live.port)]
    live.orchestrators.append(subprocess.Popen(shell))
    state = live.until(lambda state: state.serving == "good")
    shown = {
        str(Path(f"/proc/{one.pid}/fd/{n}").readlink()) for one in (state.guard, state.orchestrator) for n in range(3)
    }
    assert shown == {"/dev/null"}
    assert live.stop() == 0


def test_whoever_needs_an_orchestrator_waits_for_the_one_that_the_guard_is_about_to_start(workspace):
    live = workspace(good=None)
    live.serve_kept("good")
    dead = live.state().orchestrator
    with Ledger.open(open_workspace(live.root), own_actor("test")) as ledger:
        os.kill(dead.pid, signal.SIGKILL)
        until(lambda: not is_alive(dead))
        found = spawn_orchestrator(ledger)
    assert found == live.state().orchestrator != dead
    assert not live.of(SpawnRequested)


@contextlib.contextmanager
def nobody_in_between(live):
    """The orchestrator is dead, and its guard has not started the next one before the end of this block."""
    state = live.state()
    os.kill(state.guard.pid, signal.SIGSTOP)
    os.kill(state.orchestrator.pid, signal.SIGKILL)
    until(lambda: not is_alive(state.orchestrator))
    try:
        yield state
    finally:
        os.kill(state.guard.pid, signal.SIGCONT)


@pytest.mark.scenario("OL-11")
def test_a_stop_while_the_guard_has_yet_to_start_the_next_orchestrator_is_carried_out_by_that_one(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    with ThreadPoolExecutor(1) as beside:
        with nobody_in_between(live) as before:
            stopping = beside.submit(live.cli, "stop")
            live.until(lambda state: state.goal is Goal.STOP)
            refused = live.cli("switch", "good")
            assert "the orchestrator is stopping" in refused.stderr
        done = stopping.result(30)
    assert (done.returncode, guard.wait(10)) == (0, 0)
    assert f"the next one, which its guard, pid {guard.pid}, starts within 10 s, will stop" in done.stderr
    (started,) = [event.identity for event in live.of(OrchestratorStarted)][1:]
    assert done.stdout == f"stopped: orchestrator pid {started.pid}\n"
    assert not is_alive(before.main_process.identity)
    assert len(live.starts("good")) == 1


@pytest.mark.scenario("OL-11")
def test_a_stop_by_file_in_that_time_is_carried_out_too(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    with nobody_in_between(live) as before:
        live.command(command="shutdown")
    assert guard.wait(20) == 0
    assert not is_alive(before.main_process.identity)
    assert [event.origin for event in live.of(ShutdownRequested)] == [Origin.FILE]


@pytest.mark.scenario("RF-04")
def test_a_restart_in_that_time_waits_for_the_next_orchestrator_and_says_whose_it_is(workspace):
    live = workspace(good=None)
    live.serve_kept("good")
    with ThreadPoolExecutor(1) as beside:
        with nobody_in_between(live) as before:
            restarting = beside.submit(live.cli, "restart")
            live.until(lambda state: state.restart_asked is not None)
        done = restarting.result(30)
    assert done.returncode == 0
    assert "its guard has started the next one" in done.stderr
    state = live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    assert state.guard == before.guard
    assert not live.of(SpawnRequested)


def test_status_says_that_the_guard_is_starting_it_again(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    dead = live.state().orchestrator
    guard.send_signal(signal.SIGSTOP)  # it cannot start the next one yet
    os.kill(dead.pid, signal.SIGKILL)
    until(lambda: not is_alive(dead))
    assert f"its guard (pid {guard.pid}) is starting it again" in live.cli("status").stdout
    facts = json.loads(live.cli("status", "--json").stdout)
    assert facts["orchestrator"] == {"alive": False, "pid": dead.pid}
    assert facts["guard"] == {"alive": True, "pid": guard.pid}
    guard.send_signal(signal.SIGCONT)
    live.until(lambda state: state.orchestrator not in {None, dead})


def test_an_orchestrator_that_finds_another_one_in_its_place_leaves_with_its_guard(workspace):
    live = workspace(good=None)
    first = live.serve_kept("good")
    dead = live.state().orchestrator
    first.send_signal(signal.SIGSTOP)  # it cannot start the next one yet
    os.kill(dead.pid, signal.SIGKILL)
    live.start()
    state = live.until(lambda state: state.orchestrator not in {None, dead})
    first.send_signal(signal.SIGCONT)
    assert first.wait(20) == 1
    assert "supervised already" in live.log()
    assert live.state().orchestrator == state.orchestrator


def test_a_forced_clean_up_ends_one_that_hangs_for_good_and_comfyui_serves_on(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    before = live.state()
    os.kill(before.orchestrator.pid, signal.SIGSTOP)
    force_cleanup_orchestrator_state(live.metadata)
    assert guard.wait(20) == -signal.SIGKILL
    assert not is_alive(before.orchestrator)
    assert live.state().orchestrator is None
    assert not (live.metadata / ".orchestrator.pid").exists()
    assert len(live.of(OrchestratorStarted)) == 1
    assert is_alive(before.main_process.identity)


def test_a_forced_clean_up_also_ends_a_guard_that_is_about_to_start_the_next_one(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    dead = live.state().orchestrator
    guard.send_signal(signal.SIGSTOP)
    os.kill(dead.pid, signal.SIGKILL)
    until(lambda: not is_alive(dead))
    force_cleanup_orchestrator_state(live.metadata)
    assert guard.wait(20) == -signal.SIGKILL
    assert live.state().orchestrator is None
    assert len(live.of(OrchestratorStarted)) == 1


def test_in_somebody_elses_process_nobody_becomes_a_guard(workspace):
    live = workspace(good=None)
    script = "import sys; from orchestrator.cli import main; sys.exit(main(sys.argv[1:]) + 40)"
    command = [sys.executable, "-c", script, "run", "--workspace", str(live.root), "--environment", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 41

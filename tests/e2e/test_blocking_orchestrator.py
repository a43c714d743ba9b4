"""The public manager's `Orchestrator`: its steps one by one, on a real workspace, each through the journal."""

import os
import signal
import subprocess
import sys

import pytest

from journal.events import HealthConfirmed, OrchestratorStarted, OrchestratorStopped, ProcessSpawned, SyncFinished
from journal.identity import identify
from orchestrator import Orchestrator
from orchestrator.singleton import AlreadyRunning
from orchestrator.workspace import WorkspaceError


@pytest.fixture
def made():
    """`made(live, "good")`: an Orchestrator, cleaned up in the end."""
    all_made: list[Orchestrator] = []

    def make(live, environment):
        all_made.append(Orchestrator(live.root, environment, ["--port", str(live.port)]))
        return all_made[-1]

    yield make
    for orchestrator in all_made:
        orchestrator._cleanup()


@pytest.mark.scenario("OL-01", "OL-02", "OL-11")
def test_it_is_the_orchestrator_from_its_making_to_its_clean_up(workspace, made):
    live = workspace(good=None)
    orchestrator = made(live, "good")
    assert (live.metadata / ".orchestrator.pid").read_text() == str(os.getpid())
    assert (orchestrator.workspace_root, orchestrator.metadata_dir) == (live.root, live.metadata)
    assert (orchestrator.current_env_name, orchestrator.comfyui_args) == ("good", ["--port", str(live.port)])
    assert (orchestrator.EXIT_CLEAN, orchestrator.EXIT_RESTART, orchestrator.EXIT_SWITCH_ENV) == (0, 42, 43)
    with pytest.raises(AlreadyRunning):
        Orchestrator(live.root, "good", [])
    orchestrator._cleanup()
    orchestrator._cleanup()
    assert not (live.metadata / ".orchestrator.pid").exists()
    assert len(live.of(OrchestratorStarted)) == len(live.of(OrchestratorStopped)) == 1


def test_an_environment_that_is_none_is_refused_and_nothing_is_held(workspace, made):
    live = workspace(good=None)
    for name in ("nowhere", "../good"):
        with pytest.raises(WorkspaceError):
            Orchestrator(live.root, name, [])
    assert made(live, "good").current_env_name == "good"


@pytest.mark.scenario("OL-07", "HC-01", "HC-06", "HC-07")
def test_sync_start_and_health_are_steps_that_block_and_are_journaled(workspace, made):
    live = workspace(good=None)
    orchestrator = made(live, "good")
    assert not orchestrator._check_port_connection(live.port)
    orchestrator._sync_environment()
    assert live.of(SyncFinished)
    process = orchestrator._start_comfyui()
    assert live.of(ProcessSpawned)[0].identity == identify(process.pid)
    assert process.poll() is None
    assert orchestrator._wait_for_health(process, 20)
    assert live.of(HealthConfirmed)[0].spawn == process.spawn
    assert orchestrator._check_port_connection(live.port)
    assert orchestrator._start_comfyui().pid == process.pid
    with pytest.raises(TimeoutError):
        process.wait(0.05)


@pytest.mark.scenario("HC-02", "HC-03")
def test_what_dies_or_hangs_does_not_become_healthy(workspace, made):
    live = workspace(dying={"die_at_start": 7}, hanging={"hang": True})
    live.configure(crash_retry_max=0)
    dying = made(live, "dying")
    process = dying._start_comfyui()
    assert not dying._wait_for_health(process, 20)
    assert process.wait(5) == 7
    dying._cleanup()
    hanging = made(live, "hanging")
    process = hanging._start_comfyui()
    assert not hanging._wait_for_health(process, 1)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL


@pytest.mark.scenario("OL-04")
def test_a_request_on_disk_is_carried_out_and_its_outcome_told(workspace, made):
    live = workspace(good=None, other=None, bad={"die_at_start": 7})
    live.configure(source_grace_s=0)
    orchestrator = made(live, "good")
    assert orchestrator._wait_for_health(orchestrator._start_comfyui(), 20)
    assert not orchestrator._handle_switch_request()
    live.request("other", "good")
    assert orchestrator._handle_switch_request()
    assert orchestrator.current_env_name == "other"
    live.request("bad", "other")
    assert not orchestrator._handle_switch_request()
    assert orchestrator.current_env_name == "other"


MADE = """
import pathlib, signal, sys
from orchestrator import Orchestrator
o = Orchestrator(pathlib.Path(sys.argv[1]), "good", ["--port", sys.argv[2]])
"""
FOR_EVER = MADE + "sys.exit(o.run_forever())"
STEP_BY_STEP = MADE + "o._wait_for_health(o._start_comfyui(), 20); o._handle_sigterm(signal.SIGTERM, None)"


def run(live, code):
    """A process that does this, and counts as an orchestrator of the workspace."""
    with (live.metadata / "orchestrator.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", code, str(live.root), str(live.port)], stdout=log, stderr=log)
    live.orchestrators.append(process)
    return process


@pytest.mark.scenario("OL-05", "OL-12", "OL-13")
@pytest.mark.parametrize("end", ["clean", "SIGTERM", "SIGINT"])
def test_it_runs_until_comfyui_ends_or_a_signal_comes(workspace, end):
    live = workspace(good=None)
    process = run(live, FOR_EVER)
    live.until(lambda state: state.serving == "good")
    if end == "clean":
        live.leave(0)
    else:
        process.send_signal(signal.Signals[end])
    assert process.wait(20) == 0
    assert not (live.metadata / ".orchestrator.pid").exists()
    assert not live.state().processes


def test_its_signal_handler_cleans_up_and_leaves_with_0(workspace):
    live = workspace(good=None)
    assert run(live, STEP_BY_STEP).wait(30) == 0
    assert live.of(HealthConfirmed)
    assert not live.state().processes
    assert not (live.metadata / ".orchestrator.pid").exists()

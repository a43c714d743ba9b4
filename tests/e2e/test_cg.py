"""The real `cg orch` of the comfygit package, on a live workspace of ours."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from journal.events import FileDrifted, OrchestratorStopped, ProcessExited, ShutdownRequested, SwitchAborted
from orchestrator.logs.rotation import LOG_BYTES, rotated_path
from tests.helpers import WorkspaceBuilder
from tests.helpers.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.scenario("B-24")]

COMFYGIT = "comfygit==0.7.1"
UV = str(Path(sys.executable).with_name("uv"))


@pytest.fixture(scope="session")
def cg(tmp_path_factory):
    """The command, from PyPI, in a venv of its own: one for all workers."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "cg"
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not (folder / "ready").exists():
            subprocess.run([UV, "venv", "--quiet", "--clear", str(folder)], check=True)
            install = [UV, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), COMFYGIT]
            if subprocess.run(install, check=False).returncode:  # the network has its moods
                subprocess.run(install, check=True)
            (folder / "ready").touch()
    return folder / "bin" / "cg"


@pytest.fixture
def orch(cg):
    """`orch(live, "status", "--json")`: what `cg orch` says, with `y` for whatever it asks."""

    def run(live, *arguments):
        environ = {**os.environ, "COMFYGIT_HOME": str(live.root), "NO_COLOR": "1"}
        done = subprocess.run(
            [str(cg), "orch", *arguments],
            input="y\n",
            capture_output=True,
            text=True,
            env=environ,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def comfygit_workspace(workspace):
    def make(**environments):
        live = workspace(**environments)
        WorkspaceBuilder(live.root).create()
        return live

    return make


def test_status_names_us_and_the_switch_under_way(comfygit_workspace, orch):
    live = comfygit_workspace(good=None, slow={"start_delay_s": 60})
    assert json.loads(orch(live, "status", "--json"))["running"] is False
    live.serve("good")
    status = json.loads(orch(live, "status", "--json"))
    pid = live.state().orchestrator.pid
    assert (status["running"], status["pid"]) == (True, pid)
    assert "switch" not in status
    live.cli("switch", "slow")
    live.until(lambda state: state.job is not None and state.job.stage == "validating")
    status = json.loads(orch(live, "status", "--json"))
    assert (status["switch"]["state"], status["switch"]["target_env"]) == ("validating", "slow")
    said = orch(live, "status")
    assert f"PID {pid}" in said
    assert f"Control Port:   {live.control_port()}" in said


def test_kill_ends_us_and_comfyui(comfygit_workspace, orch):
    live = comfygit_workspace(good=None)
    process = live.serve("good")
    orch(live, "kill")
    assert process.wait(20) == 0
    assert live.of(ShutdownRequested)[0].origin == "file"
    assert (len(live.of(ProcessExited)), len(live.of(OrchestratorStopped))) == (1, 1)
    assert not (live.metadata / ".orchestrator.pid").exists()


def test_kill_by_force_finds_us_gone_before_it_loses_patience(comfygit_workspace, orch):
    live = comfygit_workspace(good={"ignore_sigint": True, "ignore_sigterm": True})
    process = live.serve("good")
    main = live.state().main_process.identity
    orch(live, "kill", "--force")
    assert process.wait(1) == 0  # by SIGTERM: SIGKILL would come 3 s later
    assert not Path(f"/proc/{main.pid}").exists()
    assert live.of(OrchestratorStopped)


def test_kill_by_force_replaces_one_that_hangs_by_another_which_kill_ends(comfygit_workspace, orch):
    live = comfygit_workspace(good=None)
    process = live.serve_kept("good")
    before = live.state()
    os.kill(before.orchestrator.pid, signal.SIGSTOP)
    orch(live, "kill", "--force")
    state = live.until(
        lambda state: state.orchestrator not in {None, before.orchestrator} and state.control is not None
    )
    assert (state.guard, state.main) == (before.guard, before.main)
    orch(live, "kill")
    assert process.wait(20) == 0


def test_clean_on_a_live_workspace_is_undone_and_journaled_and_we_go_on(comfygit_workspace, orch):
    live = comfygit_workspace(good=None, slow={"start_delay_s": 8})
    live.serve("good")
    live.control_port()
    live.cli("switch", "slow")
    live.until(lambda state: state.job is not None and state.job.stage == "validating")
    cleaned = {".orchestrator.pid", ".control_port", ".switch_request.json", ".switch.lock", ".startup_state.json"}
    said = orch(live, "clean", "--force")
    assert all(name in said for name in cleaned)
    live.until(lambda state: {event.name for event in live.of(FileDrifted)} >= cleaned)
    until(lambda: (live.metadata / ".orchestrator.pid").read_text() == str(live.state().orchestrator.pid))
    assert live.until_over().serving == "slow"


def test_clean_with_nobody_alive_takes_an_open_switch_back(comfygit_workspace, orch):
    live = comfygit_workspace(good=None, slow={"start_delay_s": 60})
    live.serve("good")
    live.cli("switch", "slow")
    live.until(lambda state: state.job is not None and state.job.stage == "validating")
    live.die()
    orch(live, "clean", "--force")
    live.start("good")
    live.until(lambda state: state.serving == "good")
    assert "deleted while no orchestrator lived" in live.of(SwitchAborted)[0].error
    assert not (live.metadata / ".switch.lock").exists()
    assert live.status() is None


def test_logs_shows_the_end_of_ours_and_follows_it_through_a_rotation(comfygit_workspace, orch, cg):
    live = comfygit_workspace(good=None)
    live.serve("good")
    until(lambda: "health.confirmed" in live.log())
    assert "health.confirmed" in orch(live, "logs")
    following = subprocess.Popen(
        [str(cg), "orch", "logs", "-f"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COMFYGIT_HOME": str(live.root), "PYTHONUNBUFFERED": "1"},
    )
    log = live.metadata / "orchestrator.log"
    try:
        assert "Following" in following.stdout.readline()
        live.cli("restart")
        assert any("restart.requested" in line for line in following.stdout)
        with log.open("a") as file:
            file.writelines([f"{'x' * 1023}\n"] * (LOG_BYTES // 1024 + 1))
        until(rotated_path(log).exists)
        until(lambda: log.stat().st_size < LOG_BYTES)
        live.cli("stop")
        assert any("orchestrator.stopped" in line for line in following.stdout)
    finally:
        following.kill()
        following.communicate()

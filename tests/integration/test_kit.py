"""The test kit: what is behind the names that people who test against us use is real."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from journal import clock
from journal.identity import Identity, identify, is_alive, own_identity
from orchestrator.inbox import Inbox
from orchestrator.panel.finding import find_workspace_root
from orchestrator.processes.detach import spawn_detached
from orchestrator.workspace import open_workspace
from orchestrator.world import AskKind
from projections import views
from tests.helpers import (
    EnvironmentBuilder,
    MockComfyUIServer,
    ProcessMonitor,
    StateFileBuilder,
    WorkspaceBuilder,
    get_free_port,
    is_port_open,
    kill_process_tree,
    wait_for_port,
)
from tests.helpers.child_scripts import DEAF, LIVE_ON, PYTHON, end
from tests.helpers.waiting import until

PARENT = f"""
import subprocess
child = subprocess.Popen({[*PYTHON, LIVE_ON]!r}, stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def start(script: str) -> tuple[ProcessMonitor, str]:
    """A child, and the line that it says when it is there."""
    process = subprocess.Popen([*PYTHON, script], stdout=subprocess.PIPE)
    with process.stdout:
        return ProcessMonitor(process), process.stdout.readline().decode().strip()


def found(pid: int) -> Identity:
    identity = identify(pid)
    assert identity is not None
    return identity


def in_background(folder: Path, environ: Mapping[str, str]) -> Identity:
    """A process that is nobody's child."""
    return found(spawn_detached([*PYTHON, LIVE_ON], log=folder / "log", environ=environ, cwd=folder))


@pytest.fixture
def server() -> Iterator[MockComfyUIServer]:
    server = MockComfyUIServer(get_free_port(), exit_code=42, delay=60)
    yield server
    server.stop()


def test_a_monitor_tells_the_exit_code_and_how_long_it_watched():
    monitor, _ = start("import sys; print(); sys.exit(7)")
    assert monitor.wait_for_exit() == 7
    assert not monitor.is_alive()
    assert 0 < monitor.runtime() < 60


def test_what_is_waited_for_too_long_is_killed():
    monitor, _ = start(LIVE_ON)
    assert monitor.is_alive()
    with pytest.raises(subprocess.TimeoutExpired):
        monitor.wait_for_exit(timeout=0.01)
    assert monitor.proc.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("script", "code"), [(LIVE_ON, -signal.SIGTERM), (DEAF + LIVE_ON, -signal.SIGKILL)])
def test_terminating_asks_first_and_then_kills(monkeypatch, script, code):
    monkeypatch.setattr("tests.helpers.process_helpers.SIGTERM_GRACE_S", 0.2)
    monitor, _ = start(script)
    monitor.terminate()
    assert monitor.proc.returncode == code
    monitor.terminate()
    monitor.kill()


def test_killing_a_tree_reaches_what_left_its_session():
    parent, line = start(PARENT)
    child = found(int(line))
    kill_process_tree(parent.proc.pid)
    assert not is_alive(child)
    assert parent.wait_for_exit() == -signal.SIGKILL
    kill_process_tree(parent.proc.pid)


def test_killing_a_tree_reaches_what_a_test_started_in_the_background(temp_dir):
    detached = in_background(temp_dir, os.environ)
    kill_process_tree(detached.pid)
    assert not is_alive(detached)


def test_killing_a_tree_spares_a_process_that_no_test_started(temp_dir):
    """As one that was given the pid of a child that is over: no descendant, and without the mark of this run."""
    stranger = in_background(temp_dir, {})
    try:
        kill_process_tree(stranger.pid)
        assert is_alive(stranger)
    finally:
        end(stranger)


@pytest.mark.parametrize("pid", [1, 0, -1, 2**22 + 1, None], ids=str)
def test_killing_the_tree_of_no_child_of_ours_does_nothing(pid):
    others = [identify(1), own_identity()]
    kill_process_tree(os.getpid() if pid is None else pid)
    assert [identify(1), own_identity()] == others


def test_a_port_is_open_while_somebody_listens_on_it():
    port = get_free_port()
    assert not is_port_open(port)
    assert not wait_for_port(port, timeout=0.02)


@pytest.mark.slow
def test_a_server_listens_when_it_has_started_and_leaves_as_it_was_told(temp_dir):
    server = MockComfyUIServer(get_free_port(), exit_code=42, delay=0.3)
    monitor = server.start(temp_dir / "main.py", Path(sys.executable))
    assert is_port_open(server.port)
    assert wait_for_port(server.port, timeout=1)
    assert monitor.wait_for_exit() == 42
    assert not is_port_open(server.port)


@pytest.mark.slow
def test_a_server_runs_from_any_script_name_on_an_environment_s_python_until_it_is_stopped(server, mock_environment):
    monitor = server.start(mock_environment / "ComfyUI" / "other.py", mock_environment / ".venv" / "bin" / "python")
    assert is_port_open(server.port)
    server.stop()
    assert monitor.wait_for_exit() == -signal.SIGTERM


def test_a_server_that_cannot_listen_has_ended_when_its_start_returns(temp_dir):
    monitor = MockComfyUIServer(get_free_port(), delay=-1).start(temp_dir / "main.py", Path("/bin/false"))
    assert monitor.wait_for_exit() != 0


def test_a_built_workspace_opens_and_knows_its_environments(temp_dir):
    builder = WorkspaceBuilder(temp_dir / "built")
    root = builder.create()
    for name in ("one", "two"):
        assert builder.add_environment(name, port=9000).create() == root / "environments" / name
    assert open_workspace(root).environment_names() == ["one", "two"] == list(builder.environments)
    assert json.loads((root / ".metadata" / "workspace.json").read_text())["version"] == 1
    cached = root / "comfygit_cache" / "custom_nodes"
    assert json.loads((cached / "node_mappings.json").read_text()) == {"mappings": {}, "packages": {}, "stats": {}}
    assert json.loads((cached / "comfyui_builtins_by_version.json").read_text()) == {}


def test_an_environment_is_built_without_what_is_not_wanted(temp_dir):
    path = EnvironmentBuilder(temp_dir / "bare", "bare").create(with_comfyui=False, with_venv=False)
    assert [entry.name for entry in path.iterdir()] == [".cec"]


def test_the_fixtures_are_one_workspace_with_two_environments(mock_workspace, mock_environment, metadata_dir):
    workspace = open_workspace(find_workspace_root())
    assert workspace.root == mock_workspace.resolve()
    assert workspace.metadata == metadata_dir.resolve()
    assert workspace.environment_names() == ["env1", "env2"]
    assert mock_environment == mock_workspace / "environments" / "env1"
    assert not workspace.environment("env1").is_comfygit


def test_the_switch_request_is_one_that_is_acted_on(mock_switch_request, metadata_dir):
    now = clock.read()
    [item] = Inbox(metadata_dir, now).look(now)
    assert (item.kind, item.target, item.source) == (AskKind.SWITCH, "env2", "env1")
    assert mock_switch_request == metadata_dir / views.REQUEST


def test_the_startup_state_is_of_an_environment_that_is_there(mock_startup_state):
    state = json.loads(mock_startup_state.read_text())
    assert state["environment_name"] == "env1"
    assert Path(state["working_directory"], state["argv"][0]).is_file()
    assert Path(state["python_executable"]).is_file()
    assert state["argv"][1:] == ["--port", str(state["port"])]


def test_state_files_are_where_they_are_looked_for(metadata_dir):
    files = StateFileBuilder(metadata_dir)
    made = [
        files.create_switch_request("env2"),
        files.create_switch_status("syncing", 30, target_env="env2"),
        files.create_startup_state("env2", port=9000, argv=["main.py"]),
        files.create_orchestrator_pid(),
        files.create_lock_file(),
    ]
    assert [path.name for path in made] == [views.REQUEST, views.STATUS, views.STARTUP, views.PID, views.LOCK]
    request, status, startup, pid, _ = made
    assert abs(json.loads(request.read_text())["timestamp"] - clock.read().wall_ns / clock.S) < 60
    assert json.loads(status.read_text())["target_env"] == "env2"
    assert json.loads(startup.read_text())["argv"] == ["main.py"]
    assert pid.read_text() == str(os.getpid())


@pytest.mark.slow
def test_an_orchestrator_of_the_kit_s_venv_switches_as_the_kit_s_request_asks(
    mock_orchestrator_venv, mock_switch_request, mock_workspace, mock_comfyui_args, temp_dir
):
    python = mock_orchestrator_venv / "bin" / "python"
    command = [str(python), "-m", "orchestrator", "--workspace", str(mock_workspace), "--environment", "env2"]
    with (temp_dir / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--args", *mock_comfyui_args], cwd=temp_dir, stdout=log, stderr=log)
    orchestrator = ProcessMonitor(process)
    try:
        assert wait_for_port(int(mock_comfyui_args[1]))
        status = mock_workspace / ".metadata" / views.STATUS
        until(lambda: status.exists() and json.loads(status.read_text())["state"] == "complete")
        assert json.loads(status.read_text())["target_env"] == "env2"
    finally:
        orchestrator.terminate()
    assert orchestrator.proc.returncode == 0, (temp_dir / "log").read_text()

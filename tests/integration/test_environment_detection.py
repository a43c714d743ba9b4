"""Where a process is, and whether a switch needs an orchestrator to be started: the calls of the public manager."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from comfyui_stand_in.install import install
from journal.events import OrchestratorLost
from journal.store import Journal
from orchestrator import (
    acquire_switch_lock,
    cleanup_orchestrator_pid,
    detect_environment_type,
    detect_manual_start_during_orchestrator,
    extract_comfyui_args,
    find_workspace_root,
    load_workspace_config,
    should_spawn_orchestrator_for_switch,
    write_orchestrator_pid,
)

PID = ".orchestrator.pid"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace with one environment, in which the process is; nothing at home."""
    root = tmp_path / "somewhere" / "workspace"
    install(root / "environments" / "env1" / "ComfyUI")
    (root / ".metadata").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(root / "environments" / "env1" / "ComfyUI")
    return root


@pytest.fixture
def orchestrator_process(workspace):
    """A process that has said that it is the orchestrator, and waits."""
    code = (
        "import sys, pathlib, orchestrator as o; o.write_orchestrator_pid(pathlib.Path(sys.argv[1])); print(); input()"
    )
    command = [sys.executable, "-c", code, str(workspace / ".metadata")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@pytest.mark.scenario("ED-01", "ED-06")
@pytest.mark.parametrize("below", [".", "custom_nodes"])
def test_in_an_environments_comfyui_it_is_managed_and_the_environment_has_its_name(workspace, monkeypatch, below):
    Path(below).mkdir(exist_ok=True)
    monkeypatch.chdir(below)
    managed, found, environment = detect_environment_type()
    assert (managed, found.path, environment.name) == (True, workspace, "env1")
    assert environment.workspace.path == workspace
    assert environment.comfyui_path == workspace / "environments" / "env1" / "ComfyUI"
    assert environment.path == found.get_environment("env1", auto_sync=False).path


@pytest.mark.scenario("ED-02", "ED-07")
def test_in_a_comfyui_outside_of_any_workspace_there_is_neither(workspace, tmp_path, monkeypatch):
    (tmp_path / "ComfyUI").mkdir()
    monkeypatch.chdir(tmp_path / "ComfyUI")
    assert detect_environment_type() == (False, None, None)
    assert find_workspace_root() is None


@pytest.mark.scenario("ED-03")
@pytest.mark.parametrize("folder", [".", "environments", "environments/env1", ".metadata", "environments/env1/.venv"])
def test_elsewhere_in_the_workspace_it_is_unmanaged(workspace, monkeypatch, folder):
    (workspace / folder).mkdir(exist_ok=True)
    monkeypatch.chdir(workspace / folder)
    managed, found, environment = detect_environment_type()
    assert (managed, found.path, environment) == (False, workspace, None)


@pytest.mark.scenario("ED-04")
def test_comfygit_home_names_the_workspace_whatever_the_folder(workspace, tmp_path, monkeypatch):
    other = tmp_path / "other"
    (other / ".metadata").mkdir(parents=True)
    monkeypatch.setenv("COMFYGIT_HOME", str(other))
    assert find_workspace_root() == other
    managed, found, environment = detect_environment_type()
    assert (managed, found.path, environment) == (False, other, None)


@pytest.mark.scenario("ED-05")
def test_without_it_the_one_at_home_is_found_when_it_is_a_workspace(workspace, tmp_path):
    home = tmp_path / "home" / "comfygit"
    home.mkdir()
    assert find_workspace_root() == workspace
    (home / ".metadata").mkdir()
    assert find_workspace_root() == home


@pytest.mark.scenario("ED-06")
def test_else_it_is_searched_for_upward(workspace):
    assert find_workspace_root() == workspace


@pytest.mark.scenario("ED-07")
def test_in_a_folder_that_is_gone_nothing_is_found_and_nothing_raised(workspace, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_workspace_root() is None
    assert detect_environment_type() == (False, None, None)


@pytest.mark.scenario("ED-08")
def test_a_switch_needs_an_orchestrator_when_nobody_supervises(workspace, tmp_path, monkeypatch):
    assert should_spawn_orchestrator_for_switch()
    monkeypatch.chdir(tmp_path)
    assert should_spawn_orchestrator_for_switch()
    assert not (workspace / ".metadata" / "journal.db").exists()


@pytest.mark.scenario("ED-09", "ED-10")
def test_it_needs_none_while_the_recorded_one_lives_and_a_new_one_once_it_is_dead(
    workspace, orchestrator_process, monkeypatch
):
    for supervised in ("0", "1"):
        monkeypatch.setenv("COMFYGIT_SUPERVISED", supervised)
        assert not should_spawn_orchestrator_for_switch()
    orchestrator_process.kill()
    orchestrator_process.wait()
    assert should_spawn_orchestrator_for_switch()


@pytest.mark.scenario("ED-09")
def test_it_needs_none_where_cg_run_supervises(workspace, monkeypatch):
    monkeypatch.setenv("COMFYGIT_CG_RUN_SUPERVISOR", "1")
    assert not should_spawn_orchestrator_for_switch()


@pytest.mark.scenario("ED-11")
def test_the_pid_file_of_a_dead_orchestrator_is_cleaned_up(workspace, orchestrator_process):
    orchestrator_process.kill()
    orchestrator_process.wait()
    assert (workspace / ".metadata" / PID).exists()
    assert should_spawn_orchestrator_for_switch()
    assert not (workspace / ".metadata" / PID).exists()
    with Journal.open_readonly(workspace / ".metadata" / "journal.db") as journal:
        assert isinstance(journal.newest(1)[0].event, OrchestratorLost)


@pytest.mark.scenario("ED-11", "B-34")
@pytest.mark.parametrize("content", ["our own", "0", "-1", str(2**63), "text", ""])
def test_a_pid_file_that_speaks_of_another_program_or_of_nobody_is_cleaned_up(workspace, content):
    (workspace / ".metadata" / PID).write_text(str(os.getpid()) if content == "our own" else content)
    assert should_spawn_orchestrator_for_switch()
    assert not (workspace / ".metadata" / PID).exists()


@pytest.mark.scenario("ED-10")
def test_the_public_managers_own_orchestrator_counts_as_alive(workspace, tmp_path):
    script = tmp_path / "orchestrator.py"
    script.write_text("print(flush=True); input()")
    with subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs: just after exec, its command line can be read as empty
        (workspace / ".metadata" / PID).write_text(str(process.pid))
        assert not should_spawn_orchestrator_for_switch()
        process.communicate(b"\n")
    assert should_spawn_orchestrator_for_switch()


def test_a_manual_start_is_one_beside_a_living_orchestrator_with_the_lock_held(
    workspace, orchestrator_process, monkeypatch
):
    metadata = workspace / ".metadata"
    assert not detect_manual_start_during_orchestrator()
    assert acquire_switch_lock(metadata)
    assert detect_manual_start_during_orchestrator()
    monkeypatch.setenv("COMFYGIT_SUPERVISED", "1")
    assert not detect_manual_start_during_orchestrator()
    monkeypatch.delenv("COMFYGIT_SUPERVISED")
    orchestrator_process.kill()
    orchestrator_process.wait()
    assert not detect_manual_start_during_orchestrator()


@pytest.mark.scenario("OL-14")
def test_comfyuis_arguments_are_those_of_the_process(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main.py", "--port", "8188"])
    assert extract_comfyui_args() == ["--port", "8188"]
    monkeypatch.setattr(sys, "argv", ["main.py"])
    assert extract_comfyui_args() == []


def test_the_settings_are_one_document_with_defaults_and_what_we_do_not_know(workspace):
    metadata = workspace / ".metadata"
    assert load_workspace_config(metadata)["orchestrator"]["crash_retry_max"] == 3
    text = '{"version": "1.0", "orchestrator": {"crash_retry_max": 0, "mine": 1}, "frontend": {"a": 2}, "comfyui": 7}'
    (metadata / "orchestrator_config.json").write_text(text)
    settings = load_workspace_config(metadata)
    assert (settings["orchestrator"]["crash_retry_max"], settings["orchestrator"]["mine"]) == (0, 1)
    assert (settings["frontend"], settings["version"]) == ({"a": 2}, "1.0")
    assert settings["comfyui"]["default_port"] == 8188
    (metadata / "orchestrator_config.json").write_text('{"orch')
    assert load_workspace_config(metadata)["orchestrator"]["control_port_range"] == [5050, 5100]


def test_this_process_may_say_that_it_is_the_orchestrator_and_needs_no_other(workspace):
    write_orchestrator_pid(workspace / ".metadata")
    assert not should_spawn_orchestrator_for_switch()
    cleanup_orchestrator_pid(workspace / ".metadata")
    assert should_spawn_orchestrator_for_switch()

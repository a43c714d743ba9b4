"""`comfygit-orchestrator install-panel`: what it puts where, and what it leaves alone."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comfyui_stand_in.install import install
from orchestrator import __version__
from orchestrator.bootstrap import build_wheel
from orchestrator.cli import main
from orchestrator.panel import venv
from orchestrator.panel_installation import install_panel
from orchestrator.workspace import Workspace

PANEL = Path(venv.__file__).parent

DIE_AT_EVERY_STEP = """
import json, os, signal, sys
from pathlib import Path
from orchestrator.panel_installation import install_panel
from orchestrator.workspace import open_workspace

workspace, folder = open_workspace(Path(sys.argv[1])), Path(sys.argv[2])
steps = None
EVENTS = {"open", "os.mkdir", "os.rename", "os.rmdir", "shutil.rmtree"}

def die(event, arguments):
    global steps
    at_work = event == "os.remove" or (event in EVENTS and "custom_nodes" in str(arguments[0]))
    if steps is not None and at_work:
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
status = -1
step = 0
while status != 0:
    install_panel(workspace, "stable")
    stamp = json.loads((folder / "installed.json").read_text())
    (folder / "installed.json").write_text(json.dumps({**stamp, "version": "0.0.9"}))
    (folder / "venv.py").write_text("of the release before")
    child = os.fork()
    if child == 0:
        steps = step
        install_panel(workspace, "stable")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found = {path.name: path.read_text() for path in folder.glob("*.*") if path.suffix in {".py", ".json"}}
    loaded = [path.name for path in folder.parent.iterdir() if not path.name.endswith(".disabled")]
    print(json.dumps({"version": json.loads(found["installed.json"])["version"], "venv": len(found["venv.py"]),
                      "whole": found.keys() >= {"__init__.py", "venv.py"}, "loaded": loaded}))
    step += 1
"""


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    root = tmp_path / "workspace"
    (root / ".metadata").mkdir(parents=True)
    install(root / "environments" / "stable" / "ComfyUI")
    return Workspace(root)


@pytest.fixture
def custom_nodes(workspace: Workspace) -> Path:
    return workspace.root / "environments" / "stable" / "ComfyUI" / "custom_nodes"


@pytest.fixture
def folder(custom_nodes: Path) -> Path:
    return custom_nodes / "comfygit-orchestrator"


@pytest.fixture
def run(workspace, capfd):
    """Call it with the command's arguments: exit status, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(["install-panel", *arguments, "--workspace", str(workspace.root)])
        said = capfd.readouterr()
        return status, said.out, said.err

    return call


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stamped_as(folder: Path, version: str) -> None:
    """Make it look as if that release had been installed."""
    stamp: dict[str, Any] = json.loads((folder / "installed.json").read_text())
    (folder / "installed.json").write_text(json.dumps({**stamp, "version": version}))


def test_every_file_of_the_panel_is_there_with_the_wheel_and_a_stamp(run, folder, custom_nodes, tmp_path):
    status, out, _ = run("stable")
    assert status == 0
    assert out.startswith(f"panel {__version__} installed in stable: {folder}\n")
    wheel = build_wheel(tmp_path)
    stamp = {"version": __version__, "wheel": wheel.name, "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()}
    found = content_of(folder)
    assert json.loads(found.pop("installed.json")) == stamp
    assert found.pop(wheel.name) == wheel.read_bytes()
    wanted = {name: content for name, content in content_of(PANEL).items() if "__pycache__" not in name}
    wanted["__init__.py"] = wanted.pop("custom_node.py")
    assert found == wanted
    assert [path.name for path in custom_nodes.iterdir()] == [folder.name]


def test_what_makes_the_venv_runs_there_on_a_python_without_this_package(run, folder, tmp_path):
    run("stable")
    python = getattr(sys, "_base_executable", sys.executable)
    command = [python, "-I", str(folder / "venv.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--wheel FILE" in done.stdout


def written(folder: Path) -> dict[Path, tuple[int, int, int, int]]:
    """Which file is where, and when it was written to. When it was read is the system's business."""
    found = {path: path.stat() for path in (folder, *folder.iterdir())}
    return {path: (at.st_ino, at.st_mode, at.st_size, at.st_mtime_ns) for path, at in found.items()}


def test_a_second_time_it_is_already_there_and_nothing_changes(run, folder):
    run("stable")
    before = written(folder)
    status, out, _ = run("stable")
    assert status == 0
    assert out == f"already there: panel {__version__} in stable: {folder}\n"
    assert written(folder) == before


def test_an_upgrade_replaces_it_and_says_from_which_version_to_which(run, folder, custom_nodes):
    run("stable")
    new = content_of(folder)
    stamped_as(folder, "0.0.9")
    (folder / "gone_since.py").touch()
    status, out, _ = run("stable")
    assert status == 0
    assert out.startswith(f"panel 0.0.9 replaced by {__version__} in stable: ")
    assert content_of(folder) == new
    assert [path.name for path in custom_nodes.iterdir()] == [folder.name]


def test_a_damaged_one_is_put_there_anew(run, folder):
    run("stable")
    whole = content_of(folder)
    (folder / "venv.py").write_text("")
    status, out, _ = run("stable")
    assert status == 0
    assert "put there anew" in out
    assert content_of(folder) == whole


def test_as_json(run, folder):
    run("stable")
    stamped_as(folder, "0.0.9")
    assert json.loads(run("stable", "--json")[1]) == {
        "change": "replaced",
        "environment": "stable",
        "folder": str(folder),
        "before": "0.0.9",
        "after": __version__,
    }


def test_it_can_be_removed_and_what_is_beside_it_stays(run, folder, custom_nodes):
    run("stable")
    (custom_nodes / "theirs").mkdir()
    status, out, _ = run("stable", "--remove")
    assert status == 0
    assert out == f"panel {__version__} removed from stable: {folder}\n"
    assert [path.name for path in custom_nodes.iterdir()] == ["theirs"]


def test_removing_what_is_not_there_says_so_and_is_fine(run):
    status, out, _ = run("stable", "--remove")
    assert status == 0
    assert out == "there is no panel in stable; nothing to remove\n"


@pytest.mark.parametrize("option", [(), ("--remove",)])
@pytest.mark.parametrize("stamp", [None, "", "[]", '{"version": 1}'])
def test_a_folder_of_that_name_that_is_not_ours_is_refused_and_stays(run, folder, option, stamp):
    folder.mkdir()
    (folder / "__init__.py").write_text("theirs")
    if stamp is not None:
        (folder / "installed.json").write_text(stamp)
    before = content_of(folder)
    status, out, err = run("stable", *option)
    assert (status, out) == (1, "")
    assert "was not put there by install-panel" in err
    assert "hint: " in err
    assert content_of(folder) == before


def test_a_link_of_that_name_is_refused_and_stays(run, folder, tmp_path, workspace):
    run("stable")
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert run("stable", "--remove")[0] == 1
    assert run("stable")[0] == 1
    assert folder.is_symlink()
    assert (tmp_path / "elsewhere" / "venv.py").exists()


@pytest.mark.scenario("B-27")
@pytest.mark.parametrize("name", ["../stable", "a/b", ".", "", "x" * 300, "a\nb", "gone"])
def test_what_is_no_environment_is_refused_by_name(run, name):
    status, out, err = run(name)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")


@pytest.mark.scenario("B-27")
def test_an_environment_that_leads_outside_of_the_workspace_is_refused(run, workspace, tmp_path):
    install(tmp_path / "outside" / "ComfyUI")
    (workspace.environments_dir / "linked").symlink_to(tmp_path / "outside")
    status, _, err = run("linked")
    assert status == 1
    assert "leads outside" in err
    assert list((tmp_path / "outside" / "ComfyUI" / "custom_nodes").iterdir()) == []


@pytest.mark.scenario("B-27")
def test_custom_nodes_that_lead_outside_of_the_workspace_are_refused(run, custom_nodes, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    custom_nodes.rmdir()
    custom_nodes.symlink_to(outside)
    status, _, err = run("stable")
    assert status == 1
    assert f"leads outside of the workspace, to {outside}" in err
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("missing", ["main.py", "custom_nodes"])
def test_an_environment_without_comfyui_is_refused(run, workspace, missing):
    path = workspace.environment("stable").comfyui / missing
    path.rename(path.with_name("elsewhere"))
    status, _, err = run("stable")
    assert status == 1
    assert str(path) in err


def test_a_folder_that_cannot_be_written_to_is_an_error_with_a_hint(run, custom_nodes):
    (custom_nodes / ".comfygit-orchestrator.new.disabled").touch()  # a file where the new folder would be made
    status, _, err = run("stable")
    assert status == 1
    assert "error: changing the panel of 'stable' in " in err
    assert "hint: " in err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two folders change places in three steps")
def test_one_killed_at_any_step_leaves_the_old_panel_or_the_new_one_whole(workspace, folder):
    command = [sys.executable, "-c", DIE_AT_EVERY_STEP, str(workspace.root), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    old, new = ("0.0.9", len("of the release before")), (__version__, len((PANEL / "venv.py").read_text()))
    states = [(state["version"], state["venv"]) for state in found]
    assert len(states) > 10
    assert states == sorted(states)  # first always the old one, then always the new one
    assert set(states) == {old, new}
    assert all(state["whole"] and state["loaded"] == [folder.name] for state in found)


def test_where_two_folders_cannot_change_places_at_once_they_do_so_in_steps(
    workspace, folder, custom_nodes, monkeypatch
):
    install_panel(workspace, "stable")
    new = content_of(folder)
    stamped_as(folder, "0.0.9")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert install_panel(workspace, "stable").before == "0.0.9"
    assert content_of(folder) == new
    assert [path.name for path in custom_nodes.iterdir()] == [folder.name]

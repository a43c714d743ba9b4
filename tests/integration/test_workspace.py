"""Finding a workspace and its environments on a real disk."""

import os
import sys
from pathlib import Path

import pytest

from orchestrator.config import Config
from orchestrator.panel.finding import find_workspace_root
from orchestrator.workspace import Workspace, WorkspaceError, open_workspace, read_config


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One environment, called `good`."""
    (tmp_path / "ws" / ".metadata").mkdir(parents=True)
    (tmp_path / "ws" / "environments" / "good" / "ComfyUI").mkdir(parents=True)
    return Workspace(tmp_path / "ws")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home and working directory: two folders without a workspace around them."""
    home, here = tmp_path / "home", tmp_path / "here" / "below"
    home.mkdir()
    here.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)
    return home


def make_workspace(root: Path) -> Path:
    (root / ".metadata").mkdir(parents=True)
    return root


def test_nothing_is_found_where_nothing_is(nowhere):
    assert find_workspace_root() is None


def test_the_variable_comes_before_home_and_working_directory(nowhere, tmp_path, monkeypatch):
    make_workspace(nowhere / "comfygit")
    make_workspace(tmp_path / "here")
    named = make_workspace(tmp_path / "named")
    monkeypatch.setenv("COMFYGIT_HOME", str(named))
    assert find_workspace_root() == named


@pytest.mark.parametrize("value", ["", "/no/such/folder", "."])
def test_a_variable_that_names_no_workspace_is_passed_over(nowhere, monkeypatch, value):
    home = make_workspace(nowhere / "comfygit")
    monkeypatch.setenv("COMFYGIT_HOME", value)
    assert find_workspace_root() == home


def test_home_comes_before_the_working_directory(nowhere, tmp_path):
    make_workspace(tmp_path / "here")
    home = make_workspace(nowhere / "comfygit")
    assert find_workspace_root() == home


def test_the_search_goes_upward_from_the_working_directory(nowhere, tmp_path):
    assert find_workspace_root() is None
    root = make_workspace(tmp_path / "here")
    assert find_workspace_root() == root


@pytest.mark.skipif(sys.platform == "win32", reason="a working directory cannot be deleted there")
def test_a_deleted_working_directory_is_no_workspace(nowhere):
    Path.cwd().rmdir()
    assert find_workspace_root() is None


def test_a_file_called_metadata_makes_no_workspace(nowhere, tmp_path):
    (tmp_path / "here" / ".metadata").touch()
    assert find_workspace_root() is None


def test_a_workspace_is_opened_by_its_real_absolute_path(workspace, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(workspace.root, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert open_workspace(Path("link")) == Workspace(workspace.root.resolve())


def test_a_workspace_is_found_when_none_is_named(nowhere, tmp_path):
    root = make_workspace(tmp_path / "here")
    assert open_workspace(None) == Workspace(root.resolve())


@pytest.mark.parametrize("name", ["gone", "here"])
def test_a_folder_that_is_no_workspace_is_refused_with_a_hint(nowhere, tmp_path, name):
    with pytest.raises(WorkspaceError, match=name) as caught:
        open_workspace(tmp_path / name)
    assert caught.value.hint
    assert not (tmp_path / name / ".metadata").exists()


def test_no_workspace_at_all_is_refused_with_a_hint(nowhere):
    with pytest.raises(WorkspaceError) as caught:
        open_workspace(None)
    assert "--workspace" in caught.value.hint


def test_paths_of_a_workspace(workspace):
    assert workspace.journal_path == workspace.root / ".metadata" / "journal.db"
    assert workspace.config_path == workspace.root / ".metadata" / "orchestrator_config.json"
    assert workspace.log_path("good", 17) == workspace.root / ".metadata" / "logs" / "good" / "17.log"


def test_paths_of_an_environment(workspace):
    paths = workspace.environment("good")
    assert paths.root == workspace.root / "environments" / "good"
    assert paths.main_py == paths.root / "ComfyUI" / "main.py"
    assert paths.python == paths.root / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    assert paths.metadata == workspace.metadata
    assert not paths.is_comfygit
    paths.cec.mkdir()
    assert paths.is_comfygit


@pytest.mark.scenario("B-27")
@pytest.mark.parametrize("name", ["../good", "a/b", ".", "", "x" * 300, "a\nb"])
def test_a_bad_name_never_becomes_a_path(workspace, name):
    assert workspace.environment_problem(name)
    with pytest.raises(WorkspaceError):
        workspace.environment(name)
    with pytest.raises(WorkspaceError):
        workspace.log_path(name, 1)


@pytest.mark.scenario("B-27")
def test_a_link_that_leads_outside_is_refused(workspace, tmp_path):
    (tmp_path / "outside").mkdir()
    (workspace.environments_dir / "escape").symlink_to(tmp_path / "outside", target_is_directory=True)
    assert "leads outside" in workspace.environment_problem("escape")


@pytest.mark.scenario("B-27")
def test_links_that_lead_nowhere_in_a_circle_or_to_all_environments_are_refused(workspace):
    folder = workspace.environments_dir
    (folder / "nowhere").symlink_to(folder / "gone")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "all").symlink_to(folder, target_is_directory=True)
    for name in ("nowhere", "circle", "all"):
        assert workspace.environment_problem(name)


def test_a_link_to_another_environment_is_fine(workspace):
    (workspace.environments_dir / "alias").symlink_to(workspace.environments_dir / "good", target_is_directory=True)
    assert workspace.environment_problem("alias") == ""


def test_environments_may_be_kept_elsewhere_as_a_whole(workspace, tmp_path):
    workspace.environments_dir.rename(tmp_path / "elsewhere")
    workspace.environments_dir.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert workspace.environment_problem("good") == ""


@pytest.mark.scenario("B-35")
def test_an_environment_that_vanished_is_said_to_be_gone(workspace):
    (workspace.environments_dir / "good" / "ComfyUI").rmdir()
    (workspace.environments_dir / "good").rmdir()
    assert "there is no environment 'good'" in workspace.environment_problem("good")


def test_a_file_is_no_environment(workspace):
    (workspace.environments_dir / "notes.txt").touch()
    assert "not a folder" in workspace.environment_problem("notes.txt")


def test_only_environments_are_listed_in_order(workspace, tmp_path):
    for name in ("zeta", "alpha", ".hidden", "models"):
        (workspace.environments_dir / name).mkdir()
    (workspace.environments_dir / "file").touch()
    (workspace.environments_dir / "escape").symlink_to(tmp_path, target_is_directory=True)
    assert workspace.environment_names() == ["alpha", "good", "zeta"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_is_not_listed(workspace):
    (workspace.environments_dir / os.fsdecode(b"\xff\xfe")).mkdir()
    assert workspace.environment_names() == ["good"]


def test_a_workspace_without_environments_has_none(tmp_path):
    assert Workspace(make_workspace(tmp_path / "new")).environment_names() == []


LAST_GOOD = Config(default_port=9000)


def test_without_a_file_the_settings_are_the_defaults(workspace):
    assert read_config(workspace.config_path, LAST_GOOD) == (Config(), ())


def test_the_file_is_read_also_with_a_byte_order_mark(workspace):
    workspace.config_path.write_text('{"comfyui": {"default_port": 9001}}', "utf-8-sig")
    config, problems = read_config(workspace.config_path, LAST_GOOD)
    assert (config.default_port, problems) == (9001, ())


@pytest.mark.parametrize("content", [b"", b'{"comfyui": ', b"\xff\xfe{}"], ids=["empty", "half", "not utf-8"])
def test_an_unreadable_file_keeps_the_last_good_settings(workspace, content):
    workspace.config_path.write_bytes(content)
    config, [problem] = read_config(workspace.config_path, LAST_GOOD)
    assert config == LAST_GOOD
    assert str(workspace.config_path) in problem
    assert "stay as they were" in problem


def test_a_folder_in_place_of_the_file_keeps_the_last_good_settings(workspace):
    workspace.config_path.mkdir()
    config, [problem] = read_config(workspace.config_path, LAST_GOOD)
    assert config == LAST_GOOD
    assert "stay as they were" in problem

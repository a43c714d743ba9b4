"""The ComfyGit environments that tests and the demo build: comfygit-core takes them for its own."""

import subprocess
from pathlib import Path

import pytest
from comfygit_core.core.workspace import Workspace

from comfyui_stand_in.comfygit import git, make_environment, make_workspace, release_node

NODE = "NODE_CLASS_MAPPINGS = {}\n"


@pytest.fixture(params=["new", "with .metadata"])
def root(request: pytest.FixtureRequest, tmp_path: Path, uv_cache: Path) -> Path:
    root = tmp_path / "workspace"
    if request.param == "with .metadata":
        (root / ".metadata").mkdir(parents=True)
        (root / ".metadata" / "orchestrator_config.json").write_text("{}")
    return make_workspace(root, uv_cache)


def test_a_workspace_knows_its_own_folders(root):
    workspace = Workspace.open(root)
    assert workspace.get_models_directory() == root / "models"
    assert list(root.parent.iterdir()) == [root]


def test_an_environment_is_complete_committed_and_in_line_with_its_manifest(root):
    folder = make_environment(root, "alpha", nodes={"tracked": NODE})
    workspace = Workspace.open(root)
    assert [environment.name for environment in workspace.list_environments()] == ["alpha"]
    status = workspace.get_environment("alpha", auto_sync=False).status()
    assert status.comparison.is_synced, status
    assert git(folder / ".cec", "status", "--porcelain") == ""


def test_a_node_is_updated_in_place_by_a_git_pull(root):
    node = make_environment(root, "alpha", nodes={"tracked": NODE}) / "ComfyUI" / "custom_nodes" / "tracked"
    released = release_node(root, "tracked", "raise ImportError\n")
    git(node, "pull", "--quiet")
    assert git(node, "rev-parse", "HEAD") == released
    assert (node / "__init__.py").read_text() == "raise ImportError\n"


def test_a_sync_installs_the_dependencies_and_leaves_a_python_that_runs_the_stand_in(root):
    folder = make_environment(root, "alpha", ["iniconfig"])
    environment = Workspace.open(root).get_environment("alpha", auto_sync=False)
    for _ in range(2):
        assert environment.sync(preserve_workflows=True, remove_extra_nodes=False).success
        python = folder / ".venv" / "bin" / "python"
        subprocess.run([python, "-c", "import aiohttp, iniconfig"], check=True)
    assert git(folder / ".cec", "status", "--porcelain") == ""

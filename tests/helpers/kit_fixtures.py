"""A pytest plugin: the fixtures that people who test against us know. `mock_` is only in the names: all of it is real."""

from pathlib import Path

import pytest

from comfyui_stand_in.install import make_python
from tests.helpers.process_helpers import get_free_port
from tests.helpers.workspace_helpers import StateFileBuilder, WorkspaceBuilder

REPO = Path(__file__).resolve().parent.parent.parent
REQUESTED_AT_S = 1_705_776_100.0
"""Tests compare it, and nothing goes by it: whether a request is stale is told by the age of the file."""


@pytest.fixture
def temp_dir(tmp_path: Path) -> Path:
    """A folder of the test's own."""
    return tmp_path


@pytest.fixture
def mock_workspace(temp_dir: Path) -> Path:
    """A workspace without environments, which we and comfygit-core open."""
    return WorkspaceBuilder(temp_dir / "comfygit").create()


@pytest.fixture
def mock_environment(mock_workspace: Path) -> Path:
    """The folder of its environment `env1`: the stand-in ComfyUI and a venv that runs it."""
    return WorkspaceBuilder(mock_workspace).add_environment("env1").create()


@pytest.fixture
def metadata_dir(mock_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its `.metadata`, with `COMFYGIT_HOME` set, and an environment `env2` that can be switched to."""
    WorkspaceBuilder(mock_workspace).add_environment("env2").create()
    monkeypatch.setenv("COMFYGIT_HOME", str(mock_workspace))
    return mock_workspace / ".metadata"


@pytest.fixture
def mock_orchestrator_venv(temp_dir: Path) -> Path:
    """A venv `.orchestrator_venv` whose Python imports this repo's packages and what they need."""
    venv = temp_dir / ".orchestrator_venv"
    make_python(venv)
    [others] = venv.rglob("stand_in.pth")
    others.with_name("orchestrator.pth").write_text(f"{REPO}\n{REPO / 'tools'}\n")
    return venv


@pytest.fixture
def mock_switch_request(metadata_dir: Path, mock_environment: Path) -> Path:
    """`.switch_request.json`, as the public panel of `env1` asks for `env2`."""
    return StateFileBuilder(metadata_dir).create_switch_request("env2", REQUESTED_AT_S, source_env="env1")


@pytest.fixture
def mock_startup_state(metadata_dir: Path, mock_environment: Path) -> Path:
    """`.startup_state.json` of a start of `env1` on port 8188."""
    return StateFileBuilder(metadata_dir).create_startup_state("env1")


@pytest.fixture
def mock_comfyui_args() -> list[str]:
    """Arguments that a ComfyUI can be started with: a free port of 127.0.0.1."""
    return ["--port", str(get_free_port()), "--listen", "127.0.0.1"]

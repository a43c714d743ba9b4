"""The lines that take the place of the public manager's `server/orchestrator.py`: as its program, and as its module."""

import subprocess
import sys

import pytest

import orchestrator
from tests.helpers.public_panel import the_lines

AS_THE_MANAGER_IMPORTS_IT = """
import importlib.util, sys
sys.path.append(sys.argv[1])
import orchestrator
assert orchestrator._is_process_running(1)
spec = importlib.util.spec_from_file_location("comfygit_orchestrator", sys.argv[1] + "/orchestrator.py")
again = importlib.util.module_from_spec(spec)
spec.loader.exec_module(again)
from pathlib import Path
print(orchestrator.__file__, [name for name in orchestrator.__all__ if not hasattr(again, name)])
print(again.acquire_switch_lock(Path(sys.argv[2])), orchestrator.acquire_switch_lock(Path(sys.argv[2])))
"""


@pytest.fixture
def server(tmp_path):
    """A folder with that file in it."""
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "orchestrator.py").write_text(the_lines())
    return folder


def test_they_are_the_module_whose_functions_the_panel_calls(server, tmp_path):
    metadata = tmp_path / "workspace" / ".metadata"
    metadata.mkdir(parents=True)
    command = [sys.executable, "-P", "-c", AS_THE_MANAGER_IMPORTS_IT, str(server), str(metadata)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{orchestrator.__file__} []", "True False"]


def test_they_are_the_program_that_the_panel_starts(server, tmp_path):
    command = [sys.executable, str(server / "orchestrator.py")]
    arguments = ["--workspace", str(tmp_path), "--environment", "none", "--args", "--port", "1"]
    done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no folder .metadata in it" in done.stderr
    assert subprocess.run([*command, "--help"], capture_output=True, check=True).stdout

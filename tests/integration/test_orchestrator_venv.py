"""The orchestrator's venv as it really is: this package and comfygit-core, from PyPI with all that they need."""

import json
import subprocess
from pathlib import Path

import pytest

from comfyui_stand_in.install import make_python
from orchestrator.bootstrap import build_wheel
from orchestrator.panel.venv import python_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a cold cache and a slow network


def output_of(python: Path, *arguments: str) -> str:
    return subprocess.run([python, *arguments], capture_output=True, text=True, check=True, cwd="/").stdout


def site_packages(python: Path) -> set[str]:
    paths = json.loads(output_of(python, "-c", "import json, sys; print(json.dumps(sys.path))"))
    return {path for path in paths if "site-packages" in path}


@pytest.mark.scenario("OV-01", "OV-03")
def test_its_python_imports_this_package_and_comfygit_core_from_the_venv_itself(orchestrator_venv):
    names = ("orchestrator", "journal", "projections", "comfygit_journal", "comfygit_core")
    code = f"import {', '.join(names)}; print(*({', '.join(f'{name}.__file__' for name in names)}), sep='\\n')"
    files = output_of(python_in(orchestrator_venv), "-c", code).splitlines()
    assert len(files) == len(names)
    assert all(Path(file).is_relative_to(orchestrator_venv) for file in files)


@pytest.mark.scenario("OV-01")
def test_the_orchestrator_runs_on_it(orchestrator_venv):
    assert "comfygit-orchestrator" in output_of(python_in(orchestrator_venv), "-m", "orchestrator", "--help")


@pytest.mark.scenario("OV-04")
def test_it_shares_no_site_packages_with_a_comfyui_environment(orchestrator_venv, tmp_path):
    ours = site_packages(python_in(orchestrator_venv))
    theirs = site_packages(make_python(tmp_path / ".venv"))
    assert ours
    assert theirs
    assert ours.isdisjoint(theirs)


def test_an_orchestrator_in_it_packs_itself_into_the_wheel_that_it_was_installed_from(orchestrator_venv, tmp_path):
    code = "import sys, pathlib; from orchestrator.bootstrap import build_wheel; build_wheel(pathlib.Path(sys.argv[1]))"
    (tmp_path / "again").mkdir()
    output_of(python_in(orchestrator_venv), "-c", code, str(tmp_path / "again"))
    wheel = build_wheel(tmp_path)
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()

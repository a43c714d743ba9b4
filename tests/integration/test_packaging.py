"""What a wheel of this repo ships."""

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import orchestrator
from orchestrator.bootstrap import build_wheel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PACKAGES = {"journal", "projections", "orchestrator", "comfygit_journal"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built as an installer would, but without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_a_wheel_ships_the_four_packages_and_nothing_called_tools_or_tests(unpacked):
    top_level = {path.name for path in unpacked.iterdir() if path.suffix != ".dist-info"}
    assert top_level == PACKAGES


def test_every_module_of_the_repo_is_in_the_wheel(unpacked):
    for folder in (ROOT / "journal", ROOT / "projections", ROOT / "orchestrator", ROOT / "tools" / "comfygit_journal"):
        modules = {path.relative_to(folder.parent) for path in folder.rglob("*.py")}
        assert {path for path in modules if not (unpacked / path).is_file()} == set()


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_imports_outside_of_the_repo(unpacked, tmp_path, package):
    code = f"import {package}; print({package}.__file__)"
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    environment = {**unmeasured, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == unpacked / package / "__init__.py"


def test_the_metadata_names_the_version_of_the_code_and_the_licence(unpacked):
    [info] = unpacked.glob("*.dist-info")
    metadata = email.message_from_string((info / "METADATA").read_text("utf-8"))
    assert metadata["Version"] == orchestrator.__version__
    assert metadata["License-Expression"] == "MIT"
    assert (info / "licenses" / "LICENSE").is_file()


def test_the_two_commands_are_entry_points(unpacked):
    [entry_points] = unpacked.glob("*.dist-info/entry_points.txt")
    assert entry_points.read_text("utf-8").splitlines()[1:3] == [
        "comfygit-journal = comfygit_journal.cli:main",
        "comfygit-orchestrator = orchestrator.cli:main",
    ]


def test_the_wheel_that_this_package_makes_of_itself_ships_the_same_files_under_the_same_name(wheel, tmp_path):
    own = build_wheel(tmp_path)
    assert own.name == wheel.name
    with zipfile.ZipFile(own) as ours, zipfile.ZipFile(wheel) as theirs:
        assert set(ours.namelist()) == set(theirs.namelist())

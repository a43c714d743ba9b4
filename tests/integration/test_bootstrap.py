"""This package packed into a wheel as it runs, and where a custom node finds the venv made of it."""

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from orchestrator.bootstrap import PACKAGES, build_wheel, get_orchestrator_python
from orchestrator.panel.venv import python_in

PACK = "import sys, pathlib; from orchestrator.bootstrap import build_wheel; build_wheel(pathlib.Path(sys.argv[1]))"


@pytest.fixture
def wheel(tmp_path) -> Path:
    return build_wheel(tmp_path)


def test_the_same_package_packed_twice_is_the_same_bytes(wheel, tmp_path):
    (tmp_path / "again").mkdir()
    assert build_wheel(tmp_path / "again").read_bytes() == wheel.read_bytes()


def test_its_record_names_every_file_with_its_hash_and_size(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    [record] = [name for name in files if name.endswith(".dist-info/RECORD")]
    rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(files[record].decode()))}
    assert rows.pop(record) == ("", "")
    assert rows.keys() == files.keys() - {record}
    for name, (digest, size) in rows.items():
        wanted = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={wanted}", str(len(files[name])))


def test_it_ships_the_packages_and_the_metadata_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        top_level = {name.partition("/")[0] for name in names}
        [info] = top_level - set(PACKAGES)
        assert {name for name in names if name.startswith(info)} == {
            f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
        }
        assert b"comfygit-orchestrator = orchestrator.cli:main" in archive.read(f"{info}/entry_points.txt")
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.slow
def test_a_package_installed_from_it_packs_itself_into_the_same_bytes(wheel, tmp_path):
    installed, again = tmp_path / "installed", tmp_path / "again"
    again.mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--no-deps", "--offline", "--compile-bytecode"]
    subprocess.run([*uv, "--python", sys.executable, "--target", installed, wheel], check=True, capture_output=True)
    assert list(installed.rglob("__pycache__"))
    environ["PYTHONPATH"] = str(installed)
    subprocess.run([sys.executable, "-c", PACK, again], cwd=tmp_path, env=environ, check=True)
    assert (again / wheel.name).read_bytes() == wheel.read_bytes()


def test_a_package_that_runs_without_being_installed_is_told_to_be_installed(tmp_path):
    root = Path(__file__).parent.parent.parent
    code = f"""
import importlib.metadata, sys
sys.path[:0] = [{str(root)!r}, {str(root / "tools")!r}]
from orchestrator.bootstrap import build_wheel
from orchestrator.errors import OrchestratorError
try:
    build_wheel(None)
except OrchestratorError as error:
    print(error, "|", error.hint)
"""
    site_free = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(site_free, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "is not installed" in done.stdout
    assert "pip install" in done.stdout


@pytest.mark.scenario("OV-06")
def test_a_custom_node_without_a_venv_is_told_how_to_make_it(tmp_path):
    with pytest.raises(RuntimeError, match="Orchestrator venv not found") as caught:
        get_orchestrator_python(tmp_path)
    assert f"ensure_orchestrator_venv(Path({str(tmp_path / 'server' / '.orchestrator_venv')!r}))" in str(caught.value)


@pytest.mark.scenario("OV-05")
def test_a_custom_node_finds_the_python_of_its_venv(tmp_path):
    python = python_in(tmp_path / "server" / ".orchestrator_venv")
    python.parent.mkdir(parents=True)
    python.touch()
    assert get_orchestrator_python(tmp_path) == python

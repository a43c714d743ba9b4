"""What an environment's torch was built for, from files as torch's releases write them and venvs as Python reads them."""

import os
import subprocess
from pathlib import Path

import pytest

from comfyui_stand_in.install import make_python
from orchestrator.environments.torch_backend import MOST_BYTES, torch_of
from orchestrator.world import TorchBuild, TorchFacts

pytestmark = pytest.mark.scenario("B-37")


def release(version: str, *, annotated: bool = True, **built_for: str | None) -> str:
    """A `torch/version.py` as torch's build writes it."""
    optional = ": Optional[str]" if annotated else ""
    lines = [f"__version__ = {version!r}", "debug = False", "git_version = '5c4886908584029761b579af026dcfb627c84070'"]
    lines += [f"{name}{optional} = {value!r}" for name, value in built_for.items()]
    head = ["from typing import Optional", "", f"__all__ = ['__version__', 'debug', {str([*built_for])[1:-1]}]"]
    return "\n".join([*(head if annotated else []), *lines, ""])


RELEASES = {
    "1.13 CPU": (release("1.13.1+cpu", annotated=False, cuda=None, hip=None), TorchBuild.CPU),
    "1.13 CUDA": (release("1.13.1+cu117", annotated=False, cuda="11.7", hip=None), TorchBuild.ACCELERATED),
    "2.4 CPU": (release("2.4.0+cpu", cuda=None, hip=None), TorchBuild.CPU),
    "2.4 CUDA from PyPI": (release("2.4.0", cuda="12.1", hip=None), TorchBuild.ACCELERATED),
    "2.4 ROCm": (release("2.4.0+rocm6.1", cuda=None, hip="6.1.40091-a8dbc0c19"), TorchBuild.ACCELERATED),
    "2.5 XPU, which only its version says": (release("2.5.1+xpu", cuda=None, hip=None), TorchBuild.ACCELERATED),
    "2.7 XPU": (release("2.7.0+xpu", cuda=None, hip=None, xpu="20250000"), TorchBuild.ACCELERATED),
    "2.9 ROCm": (release("2.9.1", cuda=None, hip=None, rocm="7.0.0", xpu=None), TorchBuild.ACCELERATED),
    "2.9 CPU": (release("2.9.1+cpu", cuda=None, hip=None, rocm=None, xpu=None), TorchBuild.CPU),
    "of a distribution": (release("2.6.0a0+gitunknown", cuda=None, hip=None), TorchBuild.CPU),
}

UNCLEAR = {
    "empty": b"",
    "no Python": b"cuda = = None",
    "no text": b"\xff\xfe\x00\x01",
    "with a NUL": b"cuda = None\0",
    "too deep": b"cuda = " + b"-" * 20_000 + b"1",
    "too large": b"cuda = None\n" + b"#" * MOST_BYTES,
    "computed": b"import os\ncuda = os.environ.get('CUDA')\nhip = None",
    "partly computed": b"cuda = None\nhip = find_hip()",
    "another type": b"cuda = False",
    "only annotated": b"cuda: str",
    "without a word on CUDA": b"__version__ = '2.0'\nhip = None",
}


def put(folder: Path, content: str | bytes) -> Path:
    file = folder / "torch" / "version.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A venv as far as it is looked at."""
    site_packages(tmp_path / ".venv").mkdir(parents=True)
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("include-system-site-packages = false\nversion = 3.11.7\n")
    return tmp_path / ".venv"


def site_packages(venv: Path, python: str = "python3.11") -> Path:
    return venv / "lib" / python / "site-packages"


def facts(venv: Path) -> TorchFacts:
    found = torch_of(venv, "linux")
    assert found is not None
    return found


CPU_BUILD, CUDA_BUILD = RELEASES["2.9 CPU"][0], RELEASES["2.4 CUDA from PyPI"][0]


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_is_told_by_what_it_was_built_for(venv, name):
    content, build = RELEASES[name]
    put(site_packages(venv), content)
    assert (facts(venv).build, facts(venv).problem) == (build, "")
    assert facts(venv).version in content


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_file_that_does_not_say_it_is_no_cpu_build(venv, name):
    put(site_packages(venv), UNCLEAR[name])
    assert facts(venv).build is TorchBuild.UNKNOWN
    assert facts(venv).problem.startswith("torch/version.py of the environment ")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_not_read(venv, make):
    file = put(site_packages(venv), "")
    file.unlink()
    make(file)
    assert facts(venv).build is TorchBuild.UNKNOWN
    assert "torch/version.py of the environment" in facts(venv).problem


def test_a_file_that_an_installer_has_linked_is_read(venv, tmp_path):
    cached = put(tmp_path / "cache", CPU_BUILD)
    put(site_packages(venv), "").unlink()
    (site_packages(venv) / "torch" / "version.py").symlink_to(cached)
    assert facts(venv).build is TorchBuild.CPU


def test_nothing_in_it_is_executed(venv, tmp_path):
    put(site_packages(venv), f"cuda = None\nopen({str(tmp_path / 'executed')!r}, 'w')\n")
    assert facts(venv).build is TorchBuild.CPU
    assert not (tmp_path / "executed").exists()


def test_another_torch_in_its_place_is_seen_at_the_next_look(venv):
    put(site_packages(venv), CPU_BUILD)
    assert facts(venv).build is TorchBuild.CPU
    put(site_packages(venv), CUDA_BUILD)
    assert facts(venv).build is TorchBuild.ACCELERATED


def test_the_layout_of_windows_is_known(tmp_path):
    put(tmp_path / ".venv" / "Lib" / "site-packages", CPU_BUILD)
    assert facts(tmp_path / ".venv").build is TorchBuild.CPU


def test_what_a_former_python_of_the_venv_has_left_behind_does_not_count(venv):
    put(site_packages(venv, "python3.10"), CPU_BUILD)
    assert facts(venv) == TorchFacts(TorchBuild.UNKNOWN, problem="no torch was found in the environment")
    put(site_packages(venv), CUDA_BUILD)
    assert facts(venv).build is TorchBuild.ACCELERATED


@pytest.mark.parametrize("there", [True, False])
def test_without_a_torch_it_is_unknown(venv, tmp_path, there):
    found = facts(venv if there else tmp_path / "nowhere")
    assert found == TorchFacts(TorchBuild.UNKNOWN, problem="no torch was found in the environment")


def test_packages_outside_of_the_venv_are_not_guessed_at(venv):
    (venv / "pyvenv.cfg").write_text("Include-System-Site-Packages = TRUE\nversion_info = 3.11.7\n")
    found = facts(venv)
    assert (found.build, found.problem[:52]) == (
        TorchBuild.UNKNOWN,
        "no torch was found in the environment itself, and pa",
    )
    put(site_packages(venv), CPU_BUILD)
    assert facts(venv).build is TorchBuild.CPU


def test_on_macos_nobody_looks(venv):
    put(site_packages(venv), CPU_BUILD)
    assert torch_of(venv, "darwin") is None


LAYOUTS = {
    "its own": ("", ["."]),
    "its own first": ("{elsewhere}\n", [".", "elsewhere"]),
    "by a .pth": ("{elsewhere}\n", ["elsewhere"]),
    "by a relative .pth": ("../../../../elsewhere\n", ["elsewhere"]),
    "the first of two": ("{elsewhere}\n{other}\n", ["elsewhere", "other"]),
    "the second of two": ("# {elsewhere}\n\nimport sys\n{other}  \n", ["elsewhere", "other"]),
    "not by what a folder found so names": ("{middle}\n", ["elsewhere"]),
    "not where the line names a missing folder": ("{elsewhere}/missing\n", ["elsewhere"]),
    "not where a .pth cannot be decoded": ("\udcff\n", ["elsewhere"]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_it_is_the_torch_that_the_environments_own_python_finds(tmp_path, name):
    pth, places = LAYOUTS[name]
    python = make_python(tmp_path / "venv")
    (own,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    folders = {name: tmp_path / name for name in ("elsewhere", "other", "middle")}
    for folder in folders.values():
        folder.mkdir()
    (folders["middle"] / "deeper.pth").write_text(f"{folders['elsewhere']}\n")
    (own / "some.pth").write_text(pth.format(**folders), errors="surrogateescape")
    for number, place in enumerate(places):
        content = release(f"2.{number}.0", cuda=None, hip=None)
        put(own if place == "." else folders[place], content).with_name("__init__.py").touch()
    command = [str(python), "-c", "import torch.version; print(torch.version.__version__)"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert facts(tmp_path / "venv").version == found.stdout.strip()
    assert (facts(tmp_path / "venv").build is TorchBuild.CPU) == (found.returncode == 0)

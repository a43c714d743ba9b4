"""What an environment consists of, read from a real folder."""

import os
from pathlib import Path

import pytest

from orchestrator.environments.inventory import MOST_LINES, inventory
from orchestrator.workspace import EnvironmentPaths
from tests.helpers.content_fixtures import git, write


@pytest.fixture
def paths(tmp_path: Path) -> EnvironmentPaths:
    return EnvironmentPaths("one", tmp_path / "one")


def commit(folder: Path) -> str:
    git(folder, "init", "--quiet", "--template=")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def test_it_names_python_comfyui_nodes_packages_and_content(paths):
    nodes, packages = paths.comfyui / "custom_nodes", paths.venv / "lib" / "python3.11" / "site-packages"
    write(paths.venv / "pyvenv.cfg", "home = /usr/bin\nversion_info = 3.11.7\n")
    write(paths.root / "pyproject.toml", "[project]")
    write(nodes / "cloned" / "pyproject.toml", '[project]\nversion = "9"\n')
    write(nodes / "declared" / "pyproject.toml", '[project]\nname = "x"\nversion = "1.2.3"\n')
    write(nodes / "broken" / "pyproject.toml", "[project\n" + "[" * 5000)
    write(nodes / "odd" / "pyproject.toml", '[project]\nversion = "a\\tb"\n')
    write(nodes / "single.py")
    write(nodes / "off.disabled" / "__init__.py")
    write(nodes / ".disabled" / "away" / "__init__.py")
    write(nodes / "__pycache__" / "single.pyc")
    write(nodes / "example.py.example")
    for name in ("Jinja2-3.1.4", "ruamel.yaml.clib-0.2.8", "torch-2.4.0+cpu", "none"):
        (packages / f"{name}.dist-info").mkdir(parents=True)
    comfyui, cloned = commit(paths.comfyui), commit(nodes / "cloned")
    assert inventory(paths) == (
        f"ComfyUI\t\t{comfyui}",
        "disabled node\taway\t",
        "disabled node\toff\t",
        "file\tpyproject.toml\t9db496674d49",
        "node\tbroken\t",
        f"node\tcloned\t{cloned}",
        "node\tdeclared\t1.2.3",
        "node\todd\t",
        "node\tsingle.py\t",
        "package\tjinja2\t3.1.4",
        "package\tnone\t",
        "package\truamel-yaml-clib\t0.2.8",
        "package\ttorch\t2.4.0+cpu",
        "python\t\t3.11.7",
    )


def test_names_with_control_characters_stay_in_their_line(paths):
    (paths.comfyui / "custom_nodes" / "a\n\tb\udcff").mkdir(parents=True)
    write(paths.cec / "c\nd")
    lines = inventory(paths)
    assert "node\ta\\n\\tb\\udcff\t" in lines
    assert any(line.startswith("file\t.cec/c\\nd\t") for line in lines)
    assert all(line.isprintable() for line in "".join(lines).split("\t"))


def test_an_empty_folder_and_none_at_all_have_one_of_nothing(paths):
    assert inventory(paths) == ("ComfyUI\t\t", "python\t\t")


def test_it_does_not_grow_without_end(paths):
    for number in range(MOST_LINES - 10):
        write(paths.cec / f"{number}.toml")
    for number in range(20):
        (paths.venv / "lib" / "python3.11" / "site-packages" / f"{number}.dist-info").mkdir(parents=True)
    (paths.comfyui / "custom_nodes" / "node").mkdir(parents=True)
    lines = inventory(paths)
    assert len(lines) == MOST_LINES
    assert {"node\tnode\t", "python\t\t", "ComfyUI\t\t"} < set(lines)


def test_pipes_and_what_has_no_end_are_not_read(paths):
    nodes = paths.comfyui / "custom_nodes"
    for pipe in (paths.venv / "pyvenv.cfg", nodes / "one" / "pyproject.toml", nodes / "two" / ".git" / "HEAD"):
        pipe.parent.mkdir(parents=True)
        os.mkfifo(pipe)
    write(nodes / "three" / "pyproject.toml", "[project]")
    os.truncate(nodes / "three" / "pyproject.toml", 1 << 40)
    assert inventory(paths) == ("ComfyUI\t\t", "node\tone\t", "node\tthree\t", "node\ttwo\t", "python\t\t")

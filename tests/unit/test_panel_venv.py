"""What the part of the panel that makes the venv promises of itself."""

import ast
import sys
from pathlib import Path

import pytest

from orchestrator.panel import venv
from orchestrator.panel.venv import python_in

OF_A_NEIGHBOUR = {"aiohttp", "server"}
"""What ComfyUI brings with it."""


@pytest.mark.scenario("OV-05")
@pytest.mark.parametrize(
    ("platform", "python"),
    [("linux", "v/bin/python"), ("darwin", "v/bin/python"), ("win32", "v/Scripts/python.exe")],
)
def test_the_python_of_a_venv_is_where_its_platform_puts_it(platform, python):
    assert python_in(Path("v"), platform) == Path(python)


@pytest.mark.parametrize("path", sorted(Path(venv.__file__).parent.rglob("*.py")), ids=lambda path: path.name)
def test_a_module_of_the_panel_parses_on_python_3_9_and_imports_nothing_that_comfyui_does_not_have(path):
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names | OF_A_NEIGHBOUR


def test_the_part_that_is_run_as_a_file_needs_no_neighbour():
    tree = ast.parse(Path(venv.__file__).read_text("utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]


def test_with_uv_an_editable_core_and_the_wheel_are_installed_in_one_step():
    command = venv._installing_command(Path("v/bin/python"), "uv", Path("w.whl"), "/core")
    assert command[-3:] == ["w.whl", "--editable", "/core"]


def test_without_a_wish_the_core_comes_from_pypi():
    command = venv._installing_command(Path("v/bin/python"), None, Path("w.whl"), venv._CORE)
    assert command[-2:] == ["w.whl", venv._CORE]

"""Looking at a target before anything is stopped for it."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.environments import preflight_program
from orchestrator.environments.preflight import preflight_command, preflight_problems, preflight_warnings
from orchestrator.workspace import EnvironmentPaths, Workspace

pytestmark = pytest.mark.scenario("B-05")


def write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, "utf-8")


@pytest.fixture
def paths(tmp_path: Path) -> EnvironmentPaths:
    """An environment with which nothing is wrong, and whose Python is ours."""
    workspace = Workspace(tmp_path)
    workspace.metadata.mkdir()
    paths = workspace.environment("target")
    write(paths.main_py, "import json\nimport execution\n")
    write(paths.comfyui / "execution.py", "import logging\n")
    paths.python.parent.mkdir(parents=True)
    paths.python.symlink_to(sys.executable)
    return paths


def test_a_good_environment_has_no_problem(paths):
    assert preflight_problems(paths) == ()


def test_a_folder_that_is_gone_is_the_only_problem(paths):
    [problem] = preflight_problems(EnvironmentPaths("gone", paths.root.with_name("gone")))
    assert "its folder" in problem
    assert "'gone'" in problem


def test_everything_that_is_missing_is_named(paths):
    paths.main_py.unlink()
    paths.python.unlink()
    no_main, no_python = preflight_problems(paths)
    assert f"{paths.main_py} is missing" in no_main
    assert f"{paths.python} is missing" in no_python


def test_a_folder_called_main_py_is_no_program(paths):
    paths.main_py.unlink()
    paths.main_py.mkdir()
    assert "main.py is not a file" in preflight_problems(paths)[0]


def test_a_python_whose_base_was_removed_leads_nowhere(paths, tmp_path):
    paths.python.unlink()
    paths.python.symlink_to(tmp_path / "removed" / "python3")
    assert "leads nowhere" in preflight_problems(paths)[0]


def test_a_python_that_may_not_be_executed_is_a_problem(paths):
    paths.python.unlink()
    write(paths.python, "#!/bin/sh\n")
    paths.python.chmod(0o644)
    assert "may not be executed" in preflight_problems(paths)[0]


def test_too_little_disk_space_names_folder_and_need(paths):
    problems = preflight_problems(paths, free_disk_bytes=1 << 60)
    assert [str(paths.root) in problems[0], str(paths.metadata) in problems[1]] == [True, True]
    assert "MiB are needed" in problems[0]


def test_a_missing_metadata_folder_is_a_problem(paths):
    paths.metadata.rmdir()
    [problem] = preflight_problems(paths)
    assert "cannot be told" in problem


def test_too_little_memory_is_only_a_warning():
    assert preflight_warnings(available_memory_bytes=0) == ()
    [warning] = preflight_warnings(available_memory_bytes=1 << 60)
    assert "MiB of memory are available" in warning


def run(paths: EnvironmentPaths, **environ: str) -> dict[str, object]:
    """The answer of the real command."""
    finished = subprocess.run(
        preflight_command(paths), env={**os.environ, **environ}, capture_output=True, text=True, check=True, timeout=50
    )
    assert finished.stderr == ""
    [line] = finished.stdout.splitlines()
    answer: dict[str, object] = json.loads(line)
    return answer


def test_the_targets_own_python_says_yes_with_its_version(paths):
    version = ".".join(map(str, sys.version_info[:3]))
    assert run(paths) == {"ok": True, "problem": "", "python": version, "note": ""}


def test_a_missing_package_is_named_with_file_and_line(paths):
    write(paths.comfyui / "execution.py", "import logging\n\nimport no_such_package.inner\n")
    answer = run(paths)
    assert answer["ok"] is False
    assert answer["problem"] == "execution.py:3: No module named 'no_such_package'"


def test_a_syntax_error_is_named_with_file_and_line(paths):
    write(paths.comfyui / "execution.py", "import logging\n<<<<<<< HEAD\n")
    problem = run(paths)["problem"]
    assert str(problem).startswith("execution.py:2: invalid syntax")


def test_nothing_of_the_target_is_executed(paths, tmp_path):
    for module in (paths.main_py, paths.comfyui / "execution.py", paths.comfyui / "json.py", paths.comfyui / "ast.py"):
        write(module, f"import json, ast\nopen({str(tmp_path / 'executed')!r}, 'w').close()\n")
    assert run(paths)["ok"] is True
    assert not (tmp_path / "executed").exists()
    assert not list(paths.root.rglob("__pycache__"))


def test_what_pythonpath_offers_counts_as_it_does_for_comfyui(paths, tmp_path):
    write(paths.comfyui / "execution.py", "import from_elsewhere\n")
    write(tmp_path / "library" / "from_elsewhere.py", "")
    assert run(paths)["ok"] is False
    assert run(paths, PYTHONPATH=str(tmp_path / "library"))["ok"] is True


def test_our_own_modules_are_not_found_by_the_target(paths):
    write(paths.main_py, "import preflight_program\n")
    assert run(paths)["problem"] == "main.py:1: No module named 'preflight_program'"


def test_the_program_is_written_for_old_pythons_and_the_standard_library():
    source = Path(preflight_program.__file__).read_text("utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names

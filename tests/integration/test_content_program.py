"""Capturing and restoring as a child process: one JSON object at the end of its output, whatever happens."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.environments.content import ContentError, Entry, content_digest, read_content, write_back
from orchestrator.environments.content_files import FILE
from orchestrator.environments.content_program import capture
from orchestrator.workspace import EnvironmentPaths
from tests.helpers.content_fixtures import comfygit_environment, everything, git, write

JOURNAL = "a" * 32


@pytest.fixture
def paths(tmp_path: Path) -> EnvironmentPaths:
    return comfygit_environment(tmp_path / "environments" / "one")


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-I", "-m", "orchestrator.environments.content_program", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def run_capture(paths: EnvironmentPaths, generation: int = 7, keep: str = "") -> tuple[int, dict[str, Any]]:
    return run("capture", str(paths.root), "--generation", str(generation), "--journal", JOURNAL, "--keep", keep)


def test_what_was_captured_is_restored(paths):
    code, captured = run_capture(paths)
    assert (code, captured["ok"], captured["error"]) == (0, True, "")
    assert captured["content"] == content_digest(paths)
    assert captured["commit"] == git(paths.cec, "rev-parse", "refs/comfygit-journal/7")
    assert "ComfyUI\t\t" in captured["inventory"]
    kept = read_content(paths)
    write(paths.cec / "uv.lock", "broken")
    write(paths.cec / "a\nb\t\udcff.toml", "new")
    code, restored = run("restore", str(paths.root), "--commit", captured["commit"])
    expected = {"ok": True, "written": [".cec/uv.lock"], "removed": [".cec/a\\nb\\t\\udcff.toml"], "error": ""}
    assert (code, restored) == (0, expected)
    assert read_content(paths) == kept


def test_generations_to_keep_are_kept(paths):
    for generation, keep in ((1, ""), (2, "1"), (3, "1,2"), (4, "3,1")):
        assert run_capture(paths, generation, keep)[0] == 0
    refs = git(paths.cec, "for-each-ref", "--format=%(refname)", "refs/comfygit-journal").splitlines()
    assert [ref.rpartition("/")[2] for ref in refs] == ["1", "3", "4"]


def test_without_a_repository_there_is_no_commit_but_all_the_rest(tmp_path):
    paths = EnvironmentPaths("plain", tmp_path / "environments" / "plain")
    write(paths.root / "pyproject.toml", "[project]")
    code, captured = run_capture(paths)
    assert (code, captured["ok"], captured["commit"], captured["content"]) == (0, True, "", content_digest(paths))
    assert any(line.startswith("file\tpyproject.toml\t") for line in captured["inventory"])


def test_a_failure_is_said_in_one_line_and_changes_nothing(paths, tmp_path):
    before = everything(paths.root)
    code, restored = run("restore", str(paths.root), "--commit", "0" * 40)
    assert (code, restored["ok"], restored["written"], restored["removed"]) == (1, False, [], [])
    assert "'one'" in restored["error"]
    assert "fsck" in restored["error"]
    assert everything(paths.root) == before
    code, captured = run_capture(EnvironmentPaths("gone", tmp_path / "gone"))
    assert (code, captured["ok"], captured["commit"], captured["content"], captured["inventory"]) == (
        1,
        False,
        "",
        "",
        [],
    )
    assert "'gone'" in captured["error"]


def test_a_content_that_changes_while_it_is_captured_is_not_captured(paths, monkeypatch):
    """The inventory is taken in the middle; an edit at that moment stands for any other."""

    def edited(paths: EnvironmentPaths) -> tuple[str, ...]:
        write_back(paths, {".cec/pyproject.toml": Entry(FILE, b"edited")})
        return ()

    monkeypatch.setattr("orchestrator.environments.content_program.inventory", edited)
    with pytest.raises(ContentError, match="changed while it was being kept"):
        capture(paths, 7, JOURNAL, frozenset())

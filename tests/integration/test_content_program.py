"""Capturing and restoring as a child process: one JSON object at the end of its output, whatever happens."""

import fcntl
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
    _, over = run_capture(paths, 8, keep="7")
    code, restored = run("restore", str(paths.root), "--commit", captured["commit"], "--over", over["commit"])
    removed = [".cec/a\\nb\\t\\udcff.toml"]
    expected = {"ok": True, "written": [".cec/uv.lock"], "removed": removed, "changed": False, "error": ""}
    assert (code, restored) == (0, expected)
    assert read_content(paths) == kept


@pytest.mark.scenario("B-45")
def test_what_somebody_has_worked_on_since_it_was_saved_is_not_overwritten(paths):
    _, captured = run_capture(paths)
    write(paths.cec / "uv.lock", "broken")
    _, saved = run_capture(paths, 8, keep="7")
    write(paths.cec / "pyproject.toml", "an hour of work")
    before = everything(paths.cec)
    code, restored = run("restore", str(paths.root), "--commit", captured["commit"], "--over", saved["commit"])
    assert (code, restored["changed"], restored["written"]) == (1, True, [])
    assert "pyproject.toml was changed meanwhile" in restored["error"]
    assert everything(paths.cec) == before


def test_a_restore_that_was_interrupted_goes_on(paths):
    kept = read_content(paths)
    _, captured = run_capture(paths)
    write(paths.cec / "uv.lock", "broken")
    write(paths.cec / "pyproject.toml", "broken too")
    _, saved = run_capture(paths, 8, keep="7")
    (paths.cec / "uv.lock").write_bytes(kept[".cec/uv.lock"].data)  # half of it was done
    code, restored = run("restore", str(paths.root), "--commit", captured["commit"], "--over", saved["commit"])
    assert (code, restored["written"]) == (0, [".cec/pyproject.toml"])
    assert read_content(paths) == kept


def test_nothing_is_brought_back_while_comfygit_core_is_at_work(paths):
    _, captured = run_capture(paths)
    with (paths.root / ".comfygit.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, restored = run("restore", str(paths.root), "--commit", captured["commit"], "--over", captured["commit"])
    assert (code, restored["changed"]) == (1, False)
    assert "comfygit-core is at work" in restored["error"]


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
    code, restored = run("restore", str(paths.root), "--commit", "0" * 40, "--over", "0" * 40)
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

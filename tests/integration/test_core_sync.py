"""One sync of a real ComfyGit environment by the real comfygit-core, as the program that the orchestrator runs."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from comfyui_stand_in.comfygit import git, make_environment, make_workspace, release_node
from orchestrator.environments.backends import backend_for
from orchestrator.environments.sync_record import undo_interrupted
from orchestrator.workspace import EnvironmentPaths
from tests.helpers.waiting import until

pytestmark = pytest.mark.slow

ADDED_BY_CORE = '[dependency-groups]\ncomfygit-system = ["uv>=0.11.8"]'
MINIMAL = """[project]
name = "alpha"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = [{dependencies}]

[tool.comfygit]
schema_version = 2
python_version = "3.11"
"""


@pytest.fixture
def root(tmp_path: Path, uv_cache: Path) -> Path:
    return make_workspace(tmp_path / "workspace", uv_cache)


def build(root: Path, *dependencies: str, **nodes: str) -> EnvironmentPaths:
    return EnvironmentPaths("alpha", make_environment(root, "alpha", dependencies, nodes))


def started(paths: EnvironmentPaths, **environ: str) -> subprocess.Popen[str]:
    plan = backend_for(paths).sync_plan(paths)
    assert plan is not None
    return subprocess.Popen(
        plan.command,
        cwd=plan.working_directory,
        env={**os.environ, **plan.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def sync(paths: EnvironmentPaths, **environ: str) -> dict[str, Any]:
    """What it says in the end; its exit status agrees with it."""
    process = started(paths, **environ)
    output, _ = process.communicate(timeout=50)
    verdict: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert process.returncode == (0 if verdict["ok"] else 1), output
    return verdict


def node(paths: EnvironmentPaths, name: str = "tracked") -> Path:
    return paths.comfyui / "custom_nodes" / name


def aside(paths: EnvironmentPaths, name: str = "tracked") -> list[Path]:
    return sorted(node(paths).parent.glob(f"{name}.*.disabled"))


def manifest(paths: EnvironmentPaths) -> Path:
    return paths.cec / "pyproject.toml"


def write_manifest(paths: EnvironmentPaths, dependencies: str = "", *, committed: bool = False) -> bytes:
    """One without what core adds to it; its bytes."""
    manifest(paths).write_text(MINIMAL.format(dependencies=dependencies))
    if committed:
        git(paths.cec, "commit", "--quiet", "--all", "--message", "minimal")
    return manifest(paths).read_bytes()


@pytest.fixture
def swallowing() -> Iterator[socket.socket]:
    """A listener that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def proxied(server: socket.socket) -> Mapping[str, str]:
    address = f"http://127.0.0.1:{server.getsockname()[1]}"
    return {"http_proxy": address, "https_proxy": address, "no_proxy": ""}


def index_at(server: socket.socket) -> Mapping[str, str]:
    return {
        "UV_DEFAULT_INDEX": f"http://127.0.0.1:{server.getsockname()[1]}/simple",
        "UV_CACHE_DIR": "",
        "no_proxy": "*",
    }


def hanging(paths: EnvironmentPaths, server: socket.socket) -> subprocess.Popen[str]:
    """A sync that waits for its package index."""
    process = started(paths, **index_at(server))
    until(lambda: _is_asked(server), 20)
    return process


def _is_asked(server: socket.socket) -> bool:
    try:
        server.accept()[0].detach()
    except BlockingIOError:
        return False
    return True


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)


def test_a_sync_says_what_it_changed_and_the_next_one_that_it_changed_nothing(root):
    paths = build(root, "iniconfig")
    verdict = sync(paths)
    assert verdict["ok"]
    assert "iniconfig" in verdict["summary"]
    assert sync(paths) == {"ok": True, "summary": "nothing changed", "errors": []}


def test_untracked_nodes_and_edited_workflows_are_left_alone(root):
    paths = build(root)
    untracked = node(paths, "mine") / "__init__.py"
    workflow = paths.comfyui / "user" / "default" / "workflows" / "mine.json"
    for file in (untracked, workflow, paths.cec / "workflows" / "mine.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    workflow.write_text('{"edited": 1}')
    assert sync(paths)["ok"]
    assert untracked.read_text() == "{}"
    assert workflow.read_text() == '{"edited": 1}'


@pytest.mark.scenario("B-25")
def test_what_cannot_be_resolved_is_a_failure_with_cores_reasons_and_no_secrets(root):
    paths = build(root)
    write_manifest(paths, '"no-such-package==99"')
    verdict = sync(paths, UV_OFFLINE="1", UV_EXTRA_INDEX_URL="https://me:hunter2@127.0.0.1:9/simple")
    assert not verdict["ok"]
    assert "no-such-package" in verdict["errors"][0]
    assert "hunter2" not in json.dumps(verdict)


def test_one_that_is_at_work_already_is_named(root):
    from comfygit_core.core.workspace import Workspace

    paths = build(root, tracked="VERSION = 1\n")
    release_and_pull(root, paths)
    with Workspace.open(root).get_environment("alpha", auto_sync=False)._operation_lock.named("testing"):
        verdict = sync(paths)
    assert not verdict["ok"]
    assert str(os.getpid()) in verdict["errors"][0]
    assert "testing" in verdict["errors"][0]
    assert aside(paths) == []


def test_a_workspace_that_core_cannot_open_is_a_failure_and_not_a_traceback(root):
    paths = build(root)
    (root / ".metadata" / "workspace.json").unlink()
    verdict = sync(paths)
    assert not verdict["ok"]
    assert "workspace.json" in verdict["errors"][0]


@pytest.mark.scenario("B-36")
@pytest.mark.parametrize("copies", ["missing", "old", "fresh"])
def test_the_registry_is_never_asked_and_its_copies_stay_as_they_are(root, copies, swallowing):
    paths = build(root, tracked="VERSION = 1\n")
    assert sync(paths)["ok"]
    release_and_pull(root, paths)
    cache = root / "comfygit_cache" / "custom_nodes"
    files = [cache / "node_mappings.json", cache / "comfyui_builtins_by_version.json"]
    for file in files:
        if copies == "missing":
            file.unlink()
        elif copies == "old":
            os.utime(file, (1_000_000_000, 1_000_000_000))
    before = {file: file.stat().st_mtime_ns for file in files if file.exists()}
    verdict = sync(paths, UV_OFFLINE="1", **proxied(swallowing))
    assert verdict["ok"], verdict
    assert "custom node tracked replaced" in verdict["summary"], "core compared the versions"
    assert not _is_asked(swallowing)
    assert {file: file.stat().st_mtime_ns for file in files if file.exists()} == before
    assert not (paths.cec / "backups" / "sync-registry").exists()


@pytest.mark.scenario("B-45")
def test_a_dirty_manifest_is_byte_for_byte_as_it_was_and_what_it_asks_for_is_installed(root):
    paths = build(root)
    dirty = write_manifest(paths, '"iniconfig"')
    for _ in range(2):
        assert sync(paths)["ok"]
        assert manifest(paths).read_bytes() == dirty
        assert list(paths.venv.glob("lib/python*/site-packages/iniconfig"))
    assert list((paths.cec / "backups").iterdir()) == []


@pytest.mark.scenario("B-45")
def test_a_committed_manifest_is_left_as_core_rewrites_it(root):
    paths = build(root)
    before = write_manifest(paths, committed=True)
    assert sync(paths)["ok"]
    rewritten = manifest(paths).read_bytes()
    assert rewritten != before
    assert ADDED_BY_CORE in rewritten.decode()
    assert sync(paths)["ok"]
    assert manifest(paths).read_bytes() == rewritten


@pytest.mark.scenario("B-45")
def test_what_core_stages_in_a_dirty_manifest_is_installed_after_each_sync(root):
    paths = build(root, tracked="VERSION = 1\n")
    (node(paths) / "requirements.txt").write_text("iniconfig\n")
    text = manifest(paths).read_text()
    manifest(paths).write_text("".join(line for line in text.splitlines(keepends=True) if "tracked-" not in line))
    dirty = manifest(paths).read_bytes()
    for _ in range(2):
        assert sync(paths)["ok"]
        assert list(paths.venv.glob("lib/python*/site-packages/iniconfig"))
        assert manifest(paths).read_bytes() == dirty


@pytest.mark.scenario("B-45")
def test_what_uv_writes_into_a_dirty_manifest_for_core_is_taken_back_too(root, tmp_path):
    paths = build(root, tracked="VERSION = 1\n")
    library = tmp_path / "library"
    library.mkdir()
    (library / "pyproject.toml").write_text('[project]\nname = "library"\nversion = "1"\n')
    (library / "library.py").touch()
    git(library, "init", "--quiet")
    git(library, "add", "--all")
    git(library, "commit", "--quiet", "--message", "library")
    (node(paths) / "requirements.txt").write_text(f"git+file://{library}\n")
    text = manifest(paths).read_text()
    manifest(paths).write_text("".join(line for line in text.splitlines(keepends=True) if "tracked-" not in line))
    dirty = manifest(paths).read_bytes()
    process = started(paths)
    output, _ = process.communicate(timeout=50)
    assert process.returncode == 0, output
    assert "Falling back to uv add" in output
    assert list(paths.venv.glob("lib/python*/site-packages/library.py"))
    assert manifest(paths).read_bytes() == dirty


@pytest.mark.scenario("B-45")
def test_a_killed_sync_is_undone_by_the_next_one(root, swallowing):
    paths = build(root, tracked="VERSION = 1\n")
    release_and_pull(root, paths)
    edited = manifest(paths).read_text().replace("dependencies = []", 'dependencies = ["iniconfig"]')
    edited = edited.replace(ADDED_BY_CORE + "\n", "[dependency-groups]\n")
    manifest(paths).write_text(edited)
    kill(hanging(paths, swallowing))
    assert manifest(paths).read_text() != edited, "core had rewritten it"
    assert not node(paths).exists()
    verdict = sync(paths)
    assert "pyproject.toml is as it was before an interrupted sync" in verdict["summary"]
    assert "custom node tracked is back" in verdict["summary"]
    assert manifest(paths).read_text() == edited


def test_a_manifest_edited_after_a_killed_sync_stays_and_the_one_of_before_is_kept(root, swallowing):
    paths = build(root)
    dirty = write_manifest(paths)
    kill(hanging(paths, swallowing))
    edited = write_manifest(paths, '"iniconfig"')
    assert "kept in" in sync(paths)["summary"]
    assert manifest(paths).read_bytes() == edited
    assert (paths.cec / "backups" / "pyproject.toml.1").read_bytes() == dirty


def test_what_a_killed_sync_had_in_hand_can_be_undone_without_another_one(root, swallowing):
    paths = build(root, tracked="VERSION = 1\n")
    release_and_pull(root, paths)
    dirty = write_manifest(paths)
    assert undo_interrupted(paths.cec, node(paths).parent) == []
    kill(hanging(paths, swallowing))
    undo_interrupted(paths.cec, node(paths).parent)
    assert manifest(paths).read_bytes() == dirty
    assert undo_interrupted(paths.cec, node(paths).parent) == []


def release_and_pull(root: Path, paths: EnvironmentPaths) -> str:
    """What a user does: the node is newer than the manifest says."""
    commit = release_node(root, "tracked", "VERSION = 2\n")
    git(node(paths), "pull", "--quiet")
    return commit


def test_a_node_of_another_version_is_replaced_and_nothing_of_it_is_kept_that_a_remote_has(root):
    paths = build(root, tracked="VERSION = 1\n")
    release_and_pull(root, paths)
    verdict = sync(paths)
    assert verdict["ok"]
    assert "custom node tracked replaced" in verdict["summary"]
    assert (node(paths) / "__init__.py").read_text() == "VERSION = 1\n"
    assert aside(paths) == []


@pytest.mark.scenario("B-45")
@pytest.mark.parametrize("what", ["edited", "new file", "ignored file", "commit", "stash", "no checkout"])
def test_what_somebody_did_in_a_node_that_is_replaced_is_kept(root, what):
    paths = build(root, tracked="VERSION = 1\n")
    release_and_pull(root, paths)
    mine = node(paths) / "mine.txt"
    mine.write_text("mine")
    if what == "ignored file":
        (node(paths) / ".git" / "info").mkdir(exist_ok=True)
        (node(paths) / ".git" / "info" / "exclude").write_text("mine.txt\n")
    elif what == "edited":
        mine.unlink()
        (node(paths) / "__init__.py").write_text("VERSION = 2  # mine\n")
    elif what in {"commit", "stash"}:
        git(node(paths), "add", "--all")
        git(node(paths), *(["stash", "--quiet"] if what == "stash" else ["commit", "--quiet", "--message", "mine"]))
    elif what == "no checkout":
        shutil.rmtree(node(paths) / ".git")
        (node(paths) / "pyproject.toml").write_text('[project]\nversion = "2"\n')
    before = {file.name: file.read_bytes() for file in node(paths).iterdir() if file.is_file()}
    verdict = sync(paths)
    assert verdict["ok"]
    (kept,) = aside(paths)
    assert str(kept) in verdict["summary"]
    assert {file.name: file.read_bytes() for file in kept.iterdir() if file.is_file()} == before
    assert (node(paths) / "__init__.py").read_text() == "VERSION = 1\n"


def test_all_that_was_kept_stays(root):
    paths = build(root, tracked="VERSION = 1\n")
    release_node(root, "tracked", "VERSION = 2\n")
    by_hand = node(paths, "tracked.20240101.disabled")
    by_hand.mkdir()
    for number in range(3):
        git(node(paths), "fetch", "--quiet")
        git(node(paths), "checkout", "--quiet", "origin/HEAD" if number == 0 else "origin/main")
        (node(paths) / f"mine-{number}").touch()
        assert sync(paths)["ok"]
    kept = [sorted(file.name for file in kept.glob("mine-*")) for kept in aside(paths) if kept != by_hand]
    assert kept == [["mine-0"], ["mine-1"], ["mine-2"]]
    assert by_hand.exists()


def cached_and_pulled(root: Path) -> tuple[EnvironmentPaths, Path]:
    """A node that the next sync replaces from core's cache, and where in the cache."""
    paths = build(root, tracked="VERSION = 1\n")
    release_and_pull(root, paths)
    assert sync(paths)["ok"]
    git(node(paths), "fetch", "--quiet")
    git(node(paths), "checkout", "--quiet", "--detach", "origin/main")
    (cached,) = (root / "comfygit_cache" / "custom_nodes" / "store").glob("*/content")
    return paths, cached


@pytest.mark.scenario("B-45")
@pytest.mark.parametrize("edited", [False, True])
def test_a_node_whose_replacement_cannot_be_copied_to_its_end_comes_back(root, edited):
    paths, cached = cached_and_pulled(root)
    (cached / "gone").symlink_to("nowhere")  # core copies the rest, and fails
    if edited:
        (node(paths) / "mine.txt").write_text("mine")
    verdict = sync(paths)
    assert "custom node tracked could not be replaced and stays as it was" in verdict["summary"]
    assert (node(paths) / "__init__.py").read_text() == "VERSION = 2\n"
    assert (node(paths) / "mine.txt").exists() == edited
    assert aside(paths) == [], "the unfinished copy is of no use to anybody"


@pytest.mark.scenario("B-45")
def test_a_node_whose_replacement_was_being_copied_when_the_sync_was_killed_comes_back_each_time(root):
    paths, cached = cached_and_pulled(root)
    many = cached / "a" / "b"
    many.mkdir(parents=True)
    for number in range(10_000):
        (many / str(number)).touch()
    (node(paths) / "mine.txt").write_text("mine")
    for _ in range(2):
        process = started(paths)
        until(lambda: any(node(paths).glob("a/b/*")), 20)
        kill(process)
        assert (node(paths) / "a").exists(), "half of it is there"
        (said,) = undo_interrupted(paths.cec, node(paths).parent)
        assert said == "custom node tracked is back, which an interrupted sync had set aside"
        assert (node(paths) / "mine.txt").read_text() == "mine"
        assert aside(paths) == []
    assert sync(paths)["ok"]
    (kept,) = aside(paths)
    assert (kept / "mine.txt").read_text() == "mine"
    assert (node(paths) / "a" / "b" / "9999").exists()


@pytest.mark.scenario("B-45")
def test_a_node_that_cannot_be_replaced_comes_back(root):
    paths = build(root, tracked="VERSION = 1\n")
    release_and_pull(root, paths)
    (node(paths) / "mine.txt").write_text("mine")
    shutil.rmtree(root / "node_origins")
    verdict = sync(paths)
    assert verdict["ok"]
    assert "warnings: custom node tracked could not be replaced and stays as it was" in verdict["summary"]
    assert (node(paths) / "__init__.py").read_text() == "VERSION = 2\n"
    assert (node(paths) / "mine.txt").read_text() == "mine"
    assert aside(paths) == []


@pytest.mark.scenario("B-45")
def test_a_picture_whose_name_is_taken_in_the_workspace_is_not_lost_when_core_moves_the_rest_there(root):
    paths = build(root)
    here, there = paths.comfyui / "output", root / "output" / "alpha"
    for folder in (here, there):
        folder.mkdir(parents=True)
        (folder / "picture.png").write_text(str(folder))
    assert sync(paths)["ok"]
    assert here.is_symlink()
    assert {file.read_text() for file in there.iterdir()} == {str(here), str(there)}


def test_variables_that_lead_git_or_uv_elsewhere_do_not_count(root, tmp_path):
    paths = build(root, "iniconfig")
    git(tmp_path, "init", "--quiet")
    verdict = sync(paths, GIT_DIR=str(tmp_path / ".git"), UV_PROJECT=str(tmp_path), PYTHONPATH=str(tmp_path))
    assert verdict["ok"], verdict
    assert git(tmp_path, "ls-files") == ""

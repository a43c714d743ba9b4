"""What every backend's fingerprint promises: it changes with the environment, and not because its ComfyUI ran."""

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time

from orchestrator.environments.backends import BackendError, backend_for
from orchestrator.environments.checkouts import head_commit
from orchestrator.environments.content import content_digest, read_content
from orchestrator.panel import venv
from orchestrator.workspace import EnvironmentPaths
from projections.generations import content_of

SITE_PACKAGES = ".venv/lib/python3.11/site-packages"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    quiet = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=quiet).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "change")
    return git(folder, "rev-parse", "HEAD")


def write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, "utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain environment to copy: git takes longer than all the rest."""
    root = tmp_path_factory.mktemp("built") / "one"
    nodes = root / "ComfyUI" / "custom_nodes"
    write(root / "pyproject.toml", "[project]")
    write(root / "uv.lock", "version = 1")
    write(root / "ComfyUI" / "main.py", "pass")
    write(nodes / "single.py", "pass")
    write(nodes / "copied" / "__init__.py", "pass")
    write(nodes / "copied" / "lib" / "inner" / "deep.py", "pass")
    write(nodes / "cloned" / "__init__.py", "pass")
    write(nodes / "cloned" / "lib" / "deep.py", "pass")
    write(root / ".venv" / "pyvenv.cfg", "version = 3.11.7")
    write(root / SITE_PACKAGES / "torch-2.0.dist-info" / "METADATA", "Name: torch")
    write(root / SITE_PACKAGES / "extra.pth", "/somewhere")
    for checkout in (nodes / "cloned", root / "ComfyUI"):
        git(checkout, "init", "--quiet", "--template=")
        commit(checkout)
    return root


@pytest.fixture
def plain(built: Path, tmp_path: Path) -> EnvironmentPaths:
    root = tmp_path / "environments" / "one"
    shutil.copytree(built, root)
    return EnvironmentPaths("one", root)


@pytest.fixture
def comfygit(plain: EnvironmentPaths) -> EnvironmentPaths:
    write(plain.cec / "pyproject.toml", "[tool.comfygit]")
    write(plain.cec / ".pytorch-backend", "cpu")
    return plain


@pytest.fixture(params=["plain", "comfygit"])
def paths(request: pytest.FixtureRequest) -> EnvironmentPaths:
    """The same environment, once per kind."""
    found: EnvironmentPaths = request.getfixturevalue(request.param)
    assert backend_for(found).kind == request.param
    return found


def fingerprint(paths: EnvironmentPaths) -> str:
    return backend_for(paths).fingerprint(paths)


def nodes(paths: EnvironmentPaths) -> Path:
    return paths.comfyui / "custom_nodes"


def touch(file: Path) -> None:
    """As if written a second later."""
    found = file.stat()
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000_000))


Change = Callable[[EnvironmentPaths], object]
CHANGES: dict[str, Change] = {
    "manifest edited": lambda paths: write(paths.root / "pyproject.toml", "[project] # newer"),
    "manifest gone": lambda paths: (paths.root / "pyproject.toml").unlink(),
    "lock file edited": lambda paths: write(paths.root / "uv.lock", "version = 2"),
    "backend chosen": lambda paths: write(paths.root / ".pytorch-backend", "cu128"),
    "manifest repository edited": lambda paths: write(paths.cec / "uv.lock", "version = 2"),
    "manifest repository's backend": lambda paths: write(paths.cec / ".pytorch-backend", "cu128"),
    "main.py edited": lambda paths: write(paths.main_py, "raise SystemExit"),
    "main.py touched": lambda paths: touch(paths.main_py),
    "main.py replaced": lambda paths: (
        shutil.copy2(paths.main_py, paths.root / "new"),
        (paths.root / "new").replace(paths.main_py),
    ),
    "main.py gone": lambda paths: paths.main_py.unlink(),
    "ComfyUI updated": lambda paths: commit(paths.comfyui),
    "node added": lambda paths: write(nodes(paths) / "another" / "__init__.py", ""),
    "node removed": lambda paths: shutil.rmtree(nodes(paths) / "copied"),
    "node disabled": lambda paths: (nodes(paths) / "copied").rename(nodes(paths) / "copied.disabled"),
    "node's file edited": lambda paths: write(nodes(paths) / "copied" / "__init__.py", "raise SystemExit"),
    "deep in a node edited": lambda paths: write(nodes(paths) / "copied" / "lib" / "inner" / "deep.py", "pass # newer"),
    "deep in a cloned node edited": lambda paths: write(nodes(paths) / "cloned" / "lib" / "deep.py", "pass # newer"),
    "deep in a node moved": lambda paths: (nodes(paths) / "copied" / "lib").rename(nodes(paths) / "copied" / "library"),
    "node's requirements": lambda paths: write(nodes(paths) / "copied" / "requirements.txt", "numpy"),
    "node's manifest": lambda paths: write(nodes(paths) / "cloned" / "pyproject.toml", "[project]"),
    "node's file added": lambda paths: write(nodes(paths) / "copied" / "more.py", ""),
    "single-file node edited": lambda paths: write(nodes(paths) / "single.py", "raise SystemExit"),
    "cloned node updated": lambda paths: commit(nodes(paths) / "cloned"),
    "cloned node without its repository": lambda paths: shutil.rmtree(nodes(paths) / "cloned" / ".git"),
    "venv made anew": lambda paths: write(paths.venv / "pyvenv.cfg", "version = 3.12.1"),
    "package installed": lambda paths: (paths.root / SITE_PACKAGES / "numpy-2.0.dist-info").mkdir(),
    "package removed": lambda paths: shutil.rmtree(paths.root / SITE_PACKAGES / "torch-2.0.dist-info"),
    "package installed again": lambda paths: touch(paths.root / SITE_PACKAGES / "torch-2.0.dist-info"),
    "path file edited": lambda paths: touch(paths.root / SITE_PACKAGES / "extra.pth"),
}

RUNS: dict[str, Change] = {
    "byte code of ComfyUI": lambda paths: write(paths.comfyui / "__pycache__" / "nodes.cpython-311.pyc", "x"),
    "byte code of nodes": lambda paths: write(nodes(paths) / "__pycache__" / "single.cpython-311.pyc", "x"),
    "byte code of one node": lambda paths: write(nodes(paths) / "copied" / "__pycache__" / "x.pyc", "x"),
    "byte code of packages": lambda paths: write(paths.root / SITE_PACKAGES / "torch" / "__pycache__" / "x.pyc", "x"),
    "temp": lambda paths: write(paths.comfyui / "temp" / "preview.png", "x"),
    "output": lambda paths: write(paths.comfyui / "output" / "image.png", "x"),
    "user": lambda paths: write(paths.comfyui / "user" / "default" / "workflows" / "mine.json", "{}"),
    "models": lambda paths: write(paths.comfyui / "models" / "checkpoints" / "big.safetensors", "x"),
    "a cloned node's own files": lambda paths: write(nodes(paths) / "cloned" / "cache.json", "{}"),
    "what a node keeps below it": lambda paths: write(nodes(paths) / "copied" / "data" / "cache.json", "{}"),
    "what a node writes beside its code": lambda paths: write(nodes(paths) / "copied" / "cache.json", "{}"),
    "what a node keeps in a dot folder": lambda paths: write(nodes(paths) / "copied" / ".cache" / "made.py", "x"),
    "what a node leaves among the nodes": lambda paths: write(nodes(paths) / "settings.json", "{}"),
    "a node's files touched": lambda paths: touch(nodes(paths) / "copied" / "lib" / "inner" / "deep.py"),
    "git looked at": lambda paths: git(nodes(paths) / "cloned", "status"),
    "git cleaned up": lambda paths: git(nodes(paths) / "cloned", "gc", "--quiet"),
    "nothing": lambda paths: None,
}


@pytest.mark.scenario("B-29")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_fingerprint_changes_with_the_environment(paths, change):
    before = fingerprint(paths)
    change(paths)
    assert fingerprint(paths) != before


@pytest.mark.scenario("B-29")
def test_the_fingerprint_stays_when_comfyui_merely_ran(paths):
    before = fingerprint(paths)
    for what, run in RUNS.items():
        run(paths)
        assert fingerprint(paths) == before, what


@pytest.mark.parametrize("change", [CHANGES["cloned node updated"], CHANGES["ComfyUI updated"]])
def test_going_back_to_the_commit_brings_the_fingerprint_back(paths, change):
    before = fingerprint(paths)
    change(paths)
    for checkout in (nodes(paths) / "cloned", paths.comfyui):
        git(checkout, "reset", "--quiet", "--soft", git(checkout, "rev-list", "--max-parents=0", "HEAD"))
    assert fingerprint(paths) == before


def test_a_node_installed_again_with_the_same_bytes_has_the_same_fingerprint(paths):
    before = fingerprint(paths)
    shutil.rmtree(nodes(paths) / "copied")
    write(nodes(paths) / "copied" / "lib" / "inner" / "deep.py", "pass")
    write(nodes(paths) / "copied" / "__init__.py", "pass")
    assert fingerprint(paths) == before


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_one_half_is_of_the_content_and_the_other_of_the_rest(paths, change):
    content, rest = fingerprint(paths).split("-")
    assert content == content_digest(paths)
    before = read_content(paths)
    change(paths)
    assert (fingerprint(paths).split("-")[0] != content) == (read_content(paths) != before)
    assert fingerprint(paths) != f"{content}-{rest}"


def test_a_manifest_that_is_a_link_counts_with_what_it_leads_to(paths, tmp_path):
    folder = paths.cec if paths.is_comfygit else paths.root
    (folder / "pyproject.toml").unlink()
    (folder / "pyproject.toml").symlink_to(tmp_path / "shared.toml")
    write(tmp_path / "shared.toml", "[project]")
    before = fingerprint(paths)
    write(tmp_path / "shared.toml", "[project] # newer")
    assert fingerprint(paths) not in {"", before}


@pytest.mark.scenario("B-35")
def test_an_environment_that_is_gone_has_none(paths):
    shutil.rmtree(paths.root)
    assert fingerprint(paths) == ""


def test_an_empty_environment_has_one_of_twice_32_hexadecimal_digits(tmp_path):
    assert re.fullmatch("[0-9a-f]{32}-[0-9a-f]{32}", fingerprint(EnvironmentPaths("empty", tmp_path)))


def test_an_unreadable_manifest_makes_it_unknown_where_it_is_content(paths):
    before = fingerprint(paths)
    (paths.root / "uv.lock").unlink()
    (paths.root / "uv.lock").mkdir()
    if paths.is_comfygit:
        assert content_of(fingerprint(paths)) == content_of(before)
        assert fingerprint(paths) != before
    else:
        assert fingerprint(paths) == ""


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may look into everything."""
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


CLOSED: dict[str, Callable[[EnvironmentPaths], Path]] = {
    "a folder of a node": lambda paths: nodes(paths) / "copied" / "lib",
    "a node": lambda paths: nodes(paths) / "copied",
    "a node's file": lambda paths: nodes(paths) / "copied" / "__init__.py",
    "a node of one file": lambda paths: nodes(paths) / "single.py",
    "the nodes": nodes,
    "ComfyUI": lambda paths: paths.comfyui,
    "the venv": lambda paths: paths.venv,
    "the packages": lambda paths: paths.root / SITE_PACKAGES,
}


@pytest.mark.parametrize("closed", CLOSED.values(), ids=CLOSED.keys())
def test_what_may_not_be_read_beside_the_content_counts_and_hides_nothing_else(paths, closed):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # that of the tests is for its owner only
        Path(folder).chmod(0o755)
        shutil.copytree(paths.root, Path(folder, "environments", "one"))
        paths = EnvironmentPaths("one", Path(folder, "environments", "one"))
        write(nodes(paths) / "other" / "x.py", "pass")
        before = fingerprint(paths)
        closed(paths).chmod(0)
        try:
            with as_nobody():
                first = fingerprint(paths)
                assert first == fingerprint(paths) != before
            assert first.split("-")[0] == before.split("-")[0] != ""
            if closed(paths) not in {nodes(paths), paths.comfyui}:
                write(nodes(paths) / "other" / "x.py", "pass # newer")
                with as_nobody():
                    assert fingerprint(paths) != first
        finally:
            closed(paths).chmod(0o755)


def test_what_vanishes_while_it_is_looked_at_is_passed_over(paths):
    before, over = fingerprint(paths), threading.Event()

    def churn() -> None:
        while not over.is_set():
            for number in range(20):
                (nodes(paths) / "copied" / "temporary" / f"{number}").mkdir(parents=True, exist_ok=True)
            shutil.rmtree(nodes(paths) / "copied" / "temporary", ignore_errors=True)

    busy = threading.Thread(target=churn)
    busy.start()
    try:
        assert {fingerprint(paths) for _ in range(100)} == {before}
    finally:
        over.set()
        busy.join()


def test_pipes_devices_and_huge_files_are_counted_and_not_read(paths):
    seen = {fingerprint(paths)}
    os.mkfifo(nodes(paths) / "pipe.py")
    seen.add(fingerprint(paths))
    os.mkfifo(nodes(paths) / "copied" / "pipe.py")
    seen.add(fingerprint(paths))
    (nodes(paths) / "copied" / "zero.py").symlink_to("/dev/zero")
    seen.add(fingerprint(paths))
    write(nodes(paths) / "copied" / "huge.py", "")
    os.truncate(nodes(paths) / "copied" / "huge.py", 1 << 40)
    seen.add(fingerprint(paths))
    touch(nodes(paths) / "copied" / "huge.py")
    seen.add(fingerprint(paths))
    (paths.venv / "pyvenv.cfg").unlink()
    os.mkfifo(paths.venv / "pyvenv.cfg")
    seen.add(fingerprint(paths))
    assert len(seen - {""}) == 7


def test_files_that_come_to_a_folder_that_is_known_are_seen(paths):
    """Folders are old by then, and which files of them are code is remembered."""
    lib = nodes(paths) / "copied" / "lib"
    with freeze_time("2100-01-01"):
        seen = [fingerprint(paths)]
        assert fingerprint(paths) == seen[0]
        write(lib / "more.py", "pass")
        seen.append(fingerprint(paths))
        write(lib / "inner" / "inmost" / "more.py", "pass")
        seen.append(fingerprint(paths))
        (lib / "more.py").rename(lib / "less.py")
        seen.append(fingerprint(paths))
        write(lib / "less.py", "pass # newer")
        seen.append(fingerprint(paths))
        shutil.rmtree(lib / "inner")
        seen.append(fingerprint(paths))
        write(lib / "inner", "a file")
        seen.append(fingerprint(paths))
    assert len(set(seen)) == 6
    assert seen[-1] == seen[-2]


def test_a_node_that_is_a_link_to_nothing_is_counted(paths):
    before = fingerprint(paths)
    (nodes(paths) / "dangling").symlink_to(paths.root / "gone")
    assert fingerprint(paths) not in {"", before}


def test_the_windows_layout_of_a_venv_is_seen(paths):
    before = fingerprint(paths)
    (paths.venv / "Lib" / "site-packages" / "numpy-2.0.dist-info").mkdir(parents=True)
    assert fingerprint(paths) != before


def test_a_comfygit_environment_is_synced_by_our_own_python_with_nothing_around_it(comfygit):
    plan = backend_for(comfygit).sync_plan(comfygit)
    assert plan.command[:4] == (sys.executable, "-I", "-u", "-m")
    assert plan.command[5:] == (str(comfygit.root.parent.parent), "one")
    assert importlib.util.find_spec(plan.command[4]) is not None
    assert plan.working_directory == comfygit.root
    assert plan.environ == {}


def test_without_comfygit_core_the_error_says_how_to_get_it(comfygit, monkeypatch):
    monkeypatch.setitem(sys.modules, "comfygit_core", None)  # find_spec then says that there is none
    with pytest.raises(BackendError, match=r"'one'.*comfygit-core") as caught:
        backend_for(comfygit).sync_plan(comfygit)
    assert f"pip install '{venv._CORE}'" in caught.value.hint


@pytest.mark.parametrize("missing", ["pyproject.toml", "uv.lock"])
def test_a_plain_folder_without_manifest_or_lock_file_has_nothing_to_sync(plain, missing):
    (plain.root / missing).unlink()
    assert backend_for(plain).sync_plan(plain) is None


def test_a_plain_folder_is_synced_by_uv_into_its_own_venv(plain):
    plan = backend_for(plain).sync_plan(plain)
    assert plan is not None
    assert Path(plan.command[0]).stem == "uv"
    assert plan.command[1:] == ("sync", "--frozen", "--project", str(plain.root))
    assert plan.working_directory == plain.root
    assert plan.environ == {"UV_PROJECT_ENVIRONMENT": str(plain.venv)}


def test_uv_is_taken_from_path_when_it_is_not_beside_our_python(plain, tmp_path, monkeypatch):
    uv = tmp_path / "bin" / "uv"
    write(uv, "#!/bin/sh\n")
    uv.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "elsewhere" / "python"))
    monkeypatch.setenv("PATH", str(uv.parent))
    plan = backend_for(plain).sync_plan(plain)
    assert plan.command[0] == str(uv)


def test_without_uv_the_error_says_how_to_get_it(plain, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match="'one'") as caught:
        backend_for(plain).sync_plan(plain)
    assert "install uv" in caught.value.hint


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet", "--template=")
    return folder


def test_without_a_commit_or_a_repository_there_is_no_head(checkout):
    assert head_commit(checkout / ".git") == ""
    assert head_commit(checkout / "nowhere" / ".git") == ""


def test_the_head_is_found_loose_packed_and_detached(checkout):
    head = commit(checkout)
    assert head_commit(checkout / ".git") == head
    git(checkout, "pack-refs", "--all")
    assert head_commit(checkout / ".git") == head
    git(checkout, "checkout", "--quiet", "--detach")
    assert head_commit(checkout / ".git") == head


def test_the_head_of_a_worktree_is_its_own(checkout, tmp_path):
    first = commit(checkout)
    git(checkout, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "tree"))
    second = commit(tmp_path / "tree")
    assert head_commit(tmp_path / "tree" / ".git") == second
    assert head_commit(checkout / ".git") == first


@pytest.mark.parametrize(
    "head", ["", "nonsense", "ref: refs/heads/gone", "ref: ../../secret", "ref: /etc/passwd", "\xff"]
)
def test_a_head_that_leads_to_no_commit_gives_none(checkout, head):
    commit(checkout)
    (checkout / ".git" / "HEAD").write_bytes(head.encode("latin-1"))
    assert head_commit(checkout / ".git") == ""


def test_a_circle_of_refs_gives_none(checkout):
    (checkout / ".git" / "HEAD").write_text("ref: refs/heads/a")
    write(checkout / ".git" / "refs" / "heads" / "a", "ref: refs/heads/a")
    assert head_commit(checkout / ".git") == ""


@pytest.mark.parametrize("place", ["HEAD", "commondir", "refs/heads/main", "packed-refs", ""])
@pytest.mark.parametrize("what", ["pipe", "device", "endless"])
def test_what_is_no_file_or_has_no_end_is_not_read(checkout, place, what):
    commit(checkout)
    git(checkout, "pack-refs", "--all")
    file = checkout / ".git" / place
    if place:
        file.unlink(missing_ok=True)
    else:
        shutil.rmtree(file)
    if what == "pipe":
        os.mkfifo(file)
    elif what == "device":
        file.symlink_to("/dev/zero")
    else:
        write(file, "ref: refs/heads/main\n")
        os.truncate(file, 1 << 40)
    assert head_commit(checkout / ".git") == ""


@pytest.mark.parametrize("line", ["gitdir: \0", "gitdir: x\0y"])
def test_a_git_file_that_leads_to_no_path_gives_none(checkout, line):
    shutil.rmtree(checkout / ".git")
    write(checkout / ".git", line)
    assert head_commit(checkout / ".git") == ""


def test_the_plan_carried_out_makes_the_environments_own_venv_and_no_other(tmp_path):
    root = tmp_path / "environments" / "one"
    write(
        root / "pyproject.toml",
        '[project]\nname = "one"\nversion = "0"\nrequires-python = ">=3.9"\ndependencies = []\n',
    )
    locked = '[[package]]\nname = "one"\nversion = "0"\nsource = { virtual = "." }\n'
    write(root / "uv.lock", f'version = 1\nrevision = 1\nrequires-python = ">=3.9"\n\n{locked}')
    write(tmp_path / "other" / "pyproject.toml", "no manifest")
    paths = EnvironmentPaths("one", root)
    plan = backend_for(paths).sync_plan(paths)
    assert plan is not None
    misleading = {"UV_PROJECT": str(tmp_path / "other"), "UV_OFFLINE": "1", "UV_PYTHON": sys.executable}
    environ = {
        **os.environ,
        **misleading,
        **plan.environ,
        "TMPDIR": str(tmp_path),
        "UV_CACHE_DIR": str(tmp_path / "uv"),
    }
    subprocess.run(plan.command, cwd=plan.working_directory, env=environ, check=True, capture_output=True, timeout=50)
    assert paths.python.is_file()
    before = fingerprint(paths)
    subprocess.run(plan.command, cwd=plan.working_directory, env=environ, check=True, capture_output=True, timeout=50)
    assert fingerprint(paths) == before

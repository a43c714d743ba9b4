"""What can be done with an environment's content, and the backends that do it: one per kind of environment.

A backend starts nothing itself. It says which process would sync the environment, and whoever asked runs it, with its
deadline and its output in view.
"""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import attrs

from orchestrator.errors import OrchestratorError
from orchestrator.workspace import EnvironmentPaths

_LENGTH = 32  # hexadecimal digits: 128 bits
_MANIFESTS = ("pyproject.toml", "uv.lock", ".pytorch-backend")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_HOPS = 5  # of a symbolic ref, as git itself follows them

_Record = tuple[str | int, ...]


class BackendError(OrchestratorError):
    """An environment cannot be handled for want of something on this machine."""


@attrs.frozen
class SyncPlan:
    """A process that syncs one environment; exit status 0 is success. `environ` is set on top of what ComfyUI gets."""

    command: tuple[str, ...]
    working_directory: Path
    environ: Mapping[str, str]


class EnvironmentBackend(Protocol):
    """One kind of environment. `kind` is its name for people and the journal."""

    kind: ClassVar[str]

    def fingerprint(self, paths: EnvironmentPaths) -> str:
        """A text that changes when the environment is changed, not when it ran; "" when it cannot be told."""

    def sync_plan(self, paths: EnvironmentPaths) -> SyncPlan | None:
        """How to bring what is installed in line with the manifest; None: nothing to sync. Raises BackendError."""


@attrs.frozen
class PlainFolder:
    """A folder, synced by uv if it has a `pyproject.toml` and a `uv.lock`."""

    kind: ClassVar[str] = "plain"

    def fingerprint(self, paths: EnvironmentPaths) -> str:
        """See `EnvironmentBackend`."""
        return fingerprint(paths)

    def sync_plan(self, paths: EnvironmentPaths) -> SyncPlan | None:
        """`uv sync --frozen` of the environment's own venv. Raises BackendError when there is no uv."""
        if not all((paths.root / name).is_file() for name in ("pyproject.toml", "uv.lock")):
            return None
        # Named, because a UV_PROJECT in our environment would have uv install another project into this venv.
        command = (str(_uv(paths)), "sync", "--frozen", "--project", str(paths.root))
        return SyncPlan(command, paths.root, {"UV_PROJECT_ENVIRONMENT": str(paths.venv)})


@attrs.frozen
class ComfyGitEnvironment:
    """An environment with a `.cec/` manifest. It is fingerprinted, but not synced yet: that takes comfygit-core."""

    kind: ClassVar[str] = "comfygit"

    def fingerprint(self, paths: EnvironmentPaths) -> str:
        """See `EnvironmentBackend`."""
        return fingerprint(paths)

    def sync_plan(self, paths: EnvironmentPaths) -> SyncPlan | None:  # noqa: ARG002 -- the port's signature
        """None: its content is taken as it is on the disk."""
        return None


def backend_for(paths: EnvironmentPaths) -> EnvironmentBackend:
    """The backend for the kind of environment that is in the folder now."""
    return ComfyGitEnvironment() if paths.is_comfygit else PlainFolder()


def _uv(paths: EnvironmentPaths) -> Path:
    """The uv beside our own Python, else the one on PATH."""
    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        message = f"syncing environment {paths.name!r}: it has a uv.lock, and there is no uv on this machine"
        raise BackendError(message, f"install uv: {sys.executable} -m pip install uv")
    return Path(found)


def fingerprint(paths: EnvironmentPaths) -> str:
    """32 hexadecimal digits that change with the environment; "" when it is not there or cannot be read.

    Made of the manifests, main.py, the commits of ComfyUI and its custom nodes, and what is installed in the venv: from
    file contents where they are small, from names, sizes and times where they are not. Starts no process.
    """
    try:
        if not paths.root.is_dir():
            return ""
        records = list(_records(paths))
    except OSError:
        return ""
    return hashlib.sha256(json.dumps(records).encode("ascii")).hexdigest()[:_LENGTH]


def head_commit(git: Path) -> str:
    """The commit that is checked out, from the files of `.git` (a folder, or the file of a worktree or submodule).

    "" when it cannot be told, as without a commit or with another ref storage than files.
    """
    try:
        folder = git if git.is_dir() else _pointed_to(git)
        common_file = folder / "commondir"
        common = (folder / common_file.read_text("utf-8").strip()) if common_file.exists() else folder
        value = (folder / "HEAD").read_text("utf-8").strip()
        for _ in range(_MOST_HOPS):
            if not value.startswith("ref: "):
                break
            value = _ref(value.removeprefix("ref: "), folder, common)
    except (OSError, UnicodeDecodeError):
        return ""
    return value if _COMMIT.fullmatch(value) else ""


def _pointed_to(git_file: Path) -> Path:
    return git_file.parent / git_file.read_text("utf-8").strip().removeprefix("gitdir: ")


def _ref(name: str, folder: Path, common: Path) -> str:
    """What the ref `name` holds: a worktree's own, else the repository's, else a packed one; "" for nothing."""
    if not name.startswith("refs/") or ".." in name:
        return ""
    for place in (folder, common):
        loose = place / name
        if loose.is_file():
            return loose.read_text("utf-8").strip()
    packed = common / "packed-refs"
    lines = packed.read_text("utf-8").splitlines() if packed.exists() else []
    return next((line.partition(" ")[0] for line in lines if line.partition(" ")[2] == name), "")


def _records(paths: EnvironmentPaths) -> Iterator[_Record]:
    for folder in (paths.root, paths.cec):
        for name in _MANIFESTS:
            yield folder.name if folder is paths.cec else "", name, _content(folder / name)
    yield "main.py", *_identity(paths.main_py)
    yield "ComfyUI", head_commit(paths.comfyui / ".git")
    for entry in _entries(paths.comfyui / "custom_nodes"):
        if entry.name != "__pycache__":
            yield _node(entry)
    yield "venv", _content(paths.venv / "pyvenv.cfg")
    for entry in _installed(paths.venv):
        yield entry.name, entry.stat().st_mtime_ns


def _content(file: Path) -> str:
    """The hash of a file's bytes; "" when there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _identity(file: Path) -> _Record:
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing when there is none."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _node(entry: os.DirEntry[str]) -> _Record:
    """A git checkout by its commit: nodes write into their own folder while they run. Others by the files in it."""
    if not entry.is_dir():
        return entry.name, "file", *_size_and_time(entry)
    commit = head_commit(Path(entry.path) / ".git")
    if commit:
        return entry.name, "git", commit
    files = [file for file in _entries(Path(entry.path)) if not file.is_dir()]
    return entry.name, "folder", *(item for file in files for item in (file.name, *_size_and_time(file)))


def _size_and_time(entry: os.DirEntry[str]) -> _Record:
    try:
        found = entry.stat()
    except FileNotFoundError:  # a link to nothing
        return (0, 0)
    return found.st_size, found.st_mtime_ns


def _installed(venv: Path) -> list[os.DirEntry[str]]:
    """What names the installed packages: `*.dist-info` and `*.pth`, in both layouts of a venv."""
    folders = [*venv.glob("lib/python*/site-packages"), venv / "Lib" / "site-packages"]
    found = [entry for folder in sorted(folders) for entry in _entries(folder)]
    return [entry for entry in found if entry.name.endswith((".dist-info", ".pth"))]

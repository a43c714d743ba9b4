"""The fingerprint of an environment: its content, and all else that decides how it runs."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.environments.checkouts import head_commit
from orchestrator.environments.content_files import content_digest
from orchestrator.environments.content_rules import PLAIN_CONTENT
from orchestrator.environments.file_hashes import SHARED
from orchestrator.environments.remembered_hashes import keep, recall
from orchestrator.workspace import EnvironmentPaths

_LENGTH: Final = 32  # hexadecimal digits: 128 bits
_CODE_FILES: Final = frozenset({"pyproject.toml", "requirements.txt"})

_recalled: Final[set[Path]] = set()

_Record = tuple[str | int, ...]


def fingerprint(paths: EnvironmentPaths) -> str:
    """`<32 hexadecimal digits>-<32 more>`: of the content, and of the rest; "" when it is not there or cannot be read.

    The rest is main.py, the commits of ComfyUI and its custom nodes, the nodes' code, and what is installed in the venv:
    from file contents where they may have been edited, from names, sizes and times where they are many. Starts no process.
    """
    if paths.metadata not in _recalled:
        _recalled.add(paths.metadata)
        recall(paths.metadata, SHARED)
    try:
        content = content_digest(paths)
        rest = hashlib.sha256(json.dumps(list(_records(paths))).encode("ascii")).hexdigest()[:_LENGTH]
    except OSError:
        return ""
    if SHARED.changed:
        keep(paths.metadata, SHARED)
    return f"{content}-{rest}" if content else ""


def _records(paths: EnvironmentPaths) -> Iterator[_Record]:
    yield from _beside_the_content(paths)
    yield "main.py", *_identity(paths.main_py)
    yield "ComfyUI", head_commit(paths.comfyui / ".git")
    for entry in _entries(paths.comfyui / "custom_nodes"):
        yield from _node(entry)
    yield "venv", _hash(str(paths.venv / "pyvenv.cfg"))
    for entry in _installed(paths.venv):
        yield entry.name, entry.stat().st_mtime_ns


def _beside_the_content(paths: EnvironmentPaths) -> Iterator[_Record]:
    """Manifests in the folder itself: not content where there is a `.cec/`; else they may be links to the real ones."""
    for name in PLAIN_CONTENT:
        file = paths.root / name
        if paths.is_comfygit or file.is_symlink():
            yield name, _hash(str(file))
        linked = paths.cec / name
        if linked.is_symlink():
            yield paths.cec.name, name, _hash(str(linked))


def _node(entry: os.DirEntry[str]) -> Iterator[_Record]:
    """A folder by its commit and its code, a file by its bytes. What else nodes write while they run does not count."""
    if entry.is_dir():
        if entry.name != "__pycache__":
            yield entry.name, "folder", head_commit(Path(entry.path, ".git")), _code(entry.path)
    elif entry.name.endswith(".py") or entry.is_symlink():
        yield entry.name, "file", _hash(entry.path)


def _code(folder: str) -> str:
    """One hash of the names and bytes of a node's code. Links to folders are not followed."""
    found = []
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".py") or entry.name in _CODE_FILES:
                    found.append((entry.path, _entry_hash(entry)))
                elif entry.name[0] != "." and entry.name != "__pycache__" and entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return _joined(folder, found)


def _joined(folder: str, found: list[tuple[str, str]]) -> str:
    """Two names never look like one: none holds a NUL."""
    parts = [f"{path[len(folder) :]}\0{digest}" for path, digest in sorted(found)]
    return hashlib.sha256(os.fsencode("\0".join(parts))).hexdigest()


def _entry_hash(entry: os.DirEntry[str]) -> str:
    try:
        return SHARED.of(entry.path, entry.stat())
    except FileNotFoundError:  # a link to nothing
        return ""


def _hash(path: str) -> str:
    """The hash of a file's bytes; "" when there is none. Raises OSError for a folder."""
    try:
        digest = SHARED.of(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if not digest:
        raise IsADirectoryError(f"{path} is not a file")
    return digest


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


def _installed(venv: Path) -> list[os.DirEntry[str]]:
    """What names the installed packages: `*.dist-info` and `*.pth`, in both layouts of a venv."""
    folders = [*venv.glob("lib/python*/site-packages"), venv / "Lib" / "site-packages"]
    found = [entry for folder in sorted(folders) for entry in _entries(folder)]
    return [entry for entry in found if entry.name.endswith((".dist-info", ".pth"))]

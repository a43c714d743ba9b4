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
from orchestrator.environments.node_code import GONE, UNREADABLE, hash_of_code, hash_of_file
from orchestrator.environments.remembered_hashes import keep, recall
from orchestrator.workspace import EnvironmentPaths

_LENGTH: Final = 32  # hexadecimal digits: 128 bits

_recalled: Final[set[Path]] = set()

_Record = tuple[str | int, ...]


def fingerprint(paths: EnvironmentPaths) -> str:
    """`<32 hexadecimal digits>-<32 more>`: of the content, and of the rest; "" when the content cannot be told.

    The rest is main.py, the commits of ComfyUI and its custom nodes, the nodes' code, and what is installed in the venv:
    from file contents where they may have been edited, from names, sizes and times where they are many. Of it, what
    vanishes meanwhile is passed over, and what may not be read counts by its name. Starts no process.
    """
    if paths.metadata not in _recalled:
        _recalled.add(paths.metadata)
        recall(paths.metadata, SHARED)
    content = content_digest(paths)
    rest = hashlib.sha256(json.dumps(list(_records(paths))).encode("ascii")).hexdigest()[:_LENGTH]
    if SHARED.changed:
        keep(paths.metadata, SHARED)
    return f"{content}-{rest}" if content else ""


def _records(paths: EnvironmentPaths) -> Iterator[_Record]:
    yield from _beside_the_content(paths)
    yield "main.py", *_times(str(paths.main_py))
    yield "ComfyUI", head_commit(f"{paths.comfyui}/.git")
    yield from _told("custom_nodes", _nodes(str(paths.comfyui / "custom_nodes")))
    yield "venv", hash_of_file(str(paths.venv / "pyvenv.cfg"))
    yield from _told("lib", _pythons(str(paths.venv / "lib")))
    yield from _told("Lib", _packages(str(paths.venv / "Lib" / "site-packages")))


def _told(what: str, records: Iterator[_Record]) -> Iterator[_Record]:
    """What there is to say of a folder: nothing where there is none, its name where it may not be read."""
    try:
        yield from records
    except GONE:
        return
    except OSError:
        yield what, UNREADABLE


def _beside_the_content(paths: EnvironmentPaths) -> Iterator[_Record]:
    """Manifests in the folder itself: not content where there is a `.cec/`; else they may be links to the real ones."""
    for name in PLAIN_CONTENT:
        file, linked = f"{paths.root}/{name}", f"{paths.cec}/{name}"
        if paths.is_comfygit or os.path.islink(file):  # noqa: PTH114 -- `is_symlink` raises where one may not look
            yield name, hash_of_file(file)
        if os.path.islink(linked):  # noqa: PTH114
            yield paths.cec.name, name, hash_of_file(linked)


def _nodes(folder: str) -> Iterator[_Record]:
    """A folder by its commit and its code, a file by its bytes. What else nodes write while they run does not count."""
    for name in _names(folder):
        path = f"{folder}/{name}"
        if os.path.isdir(path):  # noqa: PTH112 -- `is_dir` raises where one may not look
            if name != "__pycache__":
                yield name, "folder", head_commit(f"{path}/.git"), hash_of_code(path)
        elif name.endswith(".py") or os.path.islink(path):  # noqa: PTH114
            yield name, "file", hash_of_file(path)


def _pythons(lib: str) -> Iterator[_Record]:
    for name in _names(lib):
        if name.startswith("python"):
            yield from _told(name, _packages(f"{lib}/{name}/site-packages"))


def _packages(folder: str) -> Iterator[_Record]:
    """What names the installed packages: `*.dist-info` and `*.pth`."""
    for name in _names(folder):
        if name.endswith((".dist-info", ".pth")):
            for modified in _times(f"{folder}/{name}")[:1]:
                yield name, modified


def _names(folder: str) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208 -- hundreds an environment


def _times(path: str) -> _Record:
    """When something was modified, its size and its inode; nothing when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 -- hundreds an environment
    except GONE:
        return ()
    except OSError:
        return (UNREADABLE,)
    return found.st_mtime_ns, found.st_size, found.st_ino

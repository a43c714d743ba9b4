"""What is checked out in a git work tree, read from git's files: no process is started."""

import os
import re
from pathlib import Path
from typing import Final

from orchestrator.environments.regular_files import read_regular

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_HOPS = 5  # of a symbolic ref, as git itself follows them
_MOST_LINE_BYTES: Final = 1 << 16
_MOST_PACKED_BYTES: Final = 16 << 20


def head_commit(git: str | Path) -> str:
    """The commit that is checked out, from the files of `.git` (a folder, or the file of a worktree or submodule).

    "" when it cannot be told, as without a commit, with another ref storage than files, or where these are no files.
    """
    try:
        folder = str(git) if os.path.isdir(git) else _pointed_to(str(git))  # noqa: PTH112 -- a hundred nodes a start
        common = _common(folder)
        value = _line(folder, "HEAD")
        for _ in range(_MOST_HOPS):
            if not value.startswith("ref: "):
                break
            value = _ref(value.removeprefix("ref: "), folder, common)
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return ""
    return value if _COMMIT.fullmatch(value) else ""


def _pointed_to(git_file: str) -> str:
    return _beside(git_file, _line(git_file).removeprefix("gitdir: "))


def _common(folder: str) -> str:
    """Where a worktree has what it shares with the others; else the folder itself."""
    try:
        return _beside(f"{folder}/HEAD", _line(folder, "commondir"))
    except FileNotFoundError:
        return folder


def _ref(name: str, folder: str, common: str) -> str:
    """What the ref `name` holds: a worktree's own, else the repository's, else a packed one; "" for nothing."""
    if not name.startswith("refs/") or ".." in name:
        return ""
    for place in dict.fromkeys((folder, common)):
        try:
            return _line(place, name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
    try:
        packed = b"\n" + read_regular(f"{common}/packed-refs", _MOST_PACKED_BYTES) + b"\n"
    except FileNotFoundError:
        return ""
    end = packed.find(b" " + os.fsencode(name) + b"\n")
    return os.fsdecode(packed[packed.rfind(b"\n", 0, end) + 1 : end]) if end >= 0 else ""


def _line(*parts: str) -> str:
    return os.fsdecode(read_regular("/".join(parts), _MOST_LINE_BYTES)).strip()


def _beside(file: str, path: str) -> str:
    return os.path.join(os.path.dirname(file), path)  # noqa: PTH118, PTH120 -- a hundred nodes a start

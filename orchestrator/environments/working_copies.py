"""What git says of a user's checkout. Only asked, never told: no locks taken, no hooks or monitors started."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from orchestrator.environments.git_process import run_git

GIT_TIMEOUT_S: Final = 60.0
MISLEADING: Final = ("GIT_", "UV_PROJECT", "UV_WORKING_DIR")
"""Beginnings of variables that would send git or uv to another project than the one that is meant."""

_STATUS = ("status", "--porcelain", "-z", "--ignored", "--untracked-files=all", "--ignore-submodules=none")


class GitSaysNothing(Exception):  # noqa: N818 -- never leaves this package
    """There is no git, no repository, or it does not answer."""


def is_committed(file: Path, content: bytes) -> bool:
    """Whether `content` is what HEAD has for that file; False where nobody can tell."""
    try:
        expected = _git(file.parent, "rev-parse", "--verify", "--quiet", f"HEAD:./{file.name}").strip()
    except GitSaysNothing:
        return False
    # Hashed here: git would run the filters of the user's configuration over it.
    algorithm = hashlib.sha256 if len(expected) == hashlib.sha256().digest_size * 2 else hashlib.sha1
    return algorithm(b"blob %d\0" % len(content) + content).hexdigest() == expected


def may_hold_own_work(folder: Path) -> bool:
    """Whether deleting `folder` could lose what cannot be fetched again. True when in doubt.

    It can in a link, in what is no checkout with a repository of its own, and in a checkout with changes, files that git
    does not know (byte code aside) or was told not to look at, commits that no remote has (be it only for a tag, a stash
    or the reflog), submodules or further worktrees.
    """
    repository = folder / ".git"
    if folder.is_symlink() or repository.is_symlink() or not repository.is_dir():
        return True
    if any((repository / shared).exists() for shared in ("modules", "worktrees")):
        return True
    try:
        top = _git(folder, "rev-parse", "--show-toplevel").removesuffix("\n")
        found = _git(folder, *_STATUS).split("\0")
        tracked = _git(folder, "ls-files", "-v", "--stage", "-z").split("\0")
        own = _git(folder, "rev-list", "--max-count=1", "--all", "--reflog", "--not", "--remotes")
    except GitSaysNothing:
        return True
    is_another = os.path.realpath(top) != os.path.realpath(folder)  # of a broken one, git takes that of a folder above
    unwatched = any(entry and not _is_watched(entry) for entry in tracked)
    return bool(is_another or own or unwatched or any(entry and not _is_byte_code(entry) for entry in found))


def without_misleading(names: Iterable[str]) -> list[str]:
    """The variables among `names` that a child which runs git or uv may have."""
    return [name for name in names if not name.startswith(MISLEADING)]


def _is_byte_code(entry: str) -> bool:
    return entry.startswith(("!! ", "?? ")) and "__pycache__/" in entry and entry.endswith(".pyc")


def _is_watched(entry: str) -> bool:
    """Whether git would tell of a change: not where it is told to assume none, and not inside of a submodule."""
    return entry.startswith("H ") and not entry.startswith("H 160000")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = run_git(folder, arguments, timeout_s=GIT_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise GitSaysNothing(str(error)) from error
    if done.returncode != 0:
        raise GitSaysNothing(f"git {arguments[0]} ended with exit code {done.returncode}")
    return done.stdout.decode("utf-8", "surrogateescape")

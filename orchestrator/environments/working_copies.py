"""What git says of a user's checkout. Only asked, never told: no locks taken, no hooks or monitors started."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

GIT_TIMEOUT_S: Final = 60.0
MISLEADING: Final = ("GIT_", "UV_PROJECT", "UV_WORKING_DIR")
"""Beginnings of variables that would send git or uv to another project than the one that is meant."""

_ASKING_ONLY = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_BYTE_CODE = "__pycache__/"


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

    It can in a link, in what is no git checkout, and in a checkout with changes, files that git does not know (byte code
    aside), a stash, or commits that no remote has.
    """
    if folder.is_symlink() or not (folder / ".git").exists():
        return True
    try:
        found = _git(folder, "status", "--porcelain", "-z", "--ignored", "--untracked-files=normal").split("\0")
        own = _git(folder, "rev-list", "--max-count=1", "HEAD", "--branches", "--not", "--remotes")
        stashed = _git(folder, "for-each-ref", "refs/stash")
    except GitSaysNothing:
        return True
    return bool(own or stashed or any(entry and not _is_byte_code(entry) for entry in found))


def without_misleading(names: Iterable[str]) -> list[str]:
    """The variables among `names` that a child which runs git or uv may have."""
    return [name for name in names if not name.startswith(MISLEADING)]


def _is_byte_code(entry: str) -> bool:
    return entry.startswith(("!! ", "?? ")) and entry.endswith(_BYTE_CODE)


def _git(folder: Path, *arguments: str) -> str:
    environ = {name: os.environ[name] for name in without_misleading(os.environ)}
    try:
        done = subprocess.run(
            ["git", *_ASKING_ONLY, "-C", str(folder), *arguments],  # noqa: S607 -- the user's git
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise GitSaysNothing(str(error)) from error
    return done.stdout.decode("utf-8", "surrogateescape")

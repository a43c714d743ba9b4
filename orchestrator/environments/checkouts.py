"""What is checked out in a git work tree, read from git's files: no process is started."""

import re
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_HOPS = 5  # of a symbolic ref, as git itself follows them


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

"""Environments with a real manifest repository, and everything on a disk as values to compare."""

import os
import stat
import subprocess
from pathlib import Path

from orchestrator.workspace import EnvironmentPaths

IGNORED = "*.tmp\nuv.lock\n.pytorch-backend\nlogs/\n"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    quiet = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=quiet).stdout.strip()


def write(file: Path, data: bytes | str = b"", *, executable: bool = False) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    if executable:
        file.chmod(0o755)


def comfygit_environment(root: Path, *, repository: bool = True) -> EnvironmentPaths:
    """One file of each sort: committed, ignored by git, not committed, passing, and the user's workflows."""
    paths = EnvironmentPaths(root.name, root)
    write(paths.cec / ".gitignore", IGNORED)
    write(paths.cec / "pyproject.toml", "[tool.comfygit]\r\n")
    write(paths.cec / "workflows" / "mine.json", "{}")
    write(paths.cec / "nodes" / "setup.sh", "#!/bin/sh\n", executable=True)
    write(paths.comfyui / "main.py", "pass")
    if repository:
        git(paths.cec, "init", "--quiet", "--template=")
        git(paths.cec, "add", "--all")
        git(paths.cec, "commit", "--quiet", "-m", "first")
    write(paths.cec / "uv.lock", "version = 1\n")
    write(paths.cec / ".pytorch-backend", "cpu\n")
    write(paths.cec / "overlays" / ".local.toml", "x = 1\n")
    write(paths.cec / "staged.toml", "y = 1\n")
    write(paths.cec / "workflow_api" / "mine.json", "{}")
    write(paths.cec / "logs" / "a.log", "passing")
    write(paths.cec / "half.tmp", "passing")
    return paths


CONTENT = (
    ".cec/.gitignore",
    ".cec/.pytorch-backend",
    ".cec/nodes/setup.sh",
    ".cec/overlays/.local.toml",
    ".cec/pyproject.toml",
    ".cec/staged.toml",
    ".cec/uv.lock",
)
"""Of a `comfygit_environment`."""

Seen = tuple[str, int, bytes]


def everything(folder: Path) -> dict[str, Seen]:
    """Kind, permissions and bytes of all that is below a folder, folders included; git's objects and our refs left out."""
    found = {}
    for here, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(here, name)
            found[path.relative_to(folder).as_posix()] = seen(path)
    return {name: what for name, what in found.items() if ".git/objects" not in name and "comfygit-journal" not in name}


def seen(path: Path) -> Seen:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "link", 0, os.fsencode(path.readlink())
    if stat.S_ISDIR(status.st_mode):
        return "folder", stat.S_IMODE(status.st_mode), b""
    if stat.S_ISREG(status.st_mode):
        return "file", stat.S_IMODE(status.st_mode), path.read_bytes()
    return "other", stat.S_IMODE(status.st_mode), b""

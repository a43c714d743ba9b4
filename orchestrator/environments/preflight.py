"""Looking at a target before anything is stopped for it: what is missing on the disk, and whether it could be imported.

The first part is done here and at once. The second needs the target's own Python and takes up to seconds, so it is a
command for somebody to run: see `preflight_program` for what it does.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.workspace import EnvironmentPaths

MIB: Final = 1024 * 1024
FREE_DISK_BYTES: Final = 256 * MIB
"""Free space without which nothing is started: logs, the journal and ComfyUI's temporary files need some."""
AVAILABLE_MEMORY_BYTES: Final = 1024 * MIB
"""A ComfyUI without a model loaded takes 900 MB."""

_PROGRAM = Path(__file__).with_name("preflight_program.py")


def preflight_problems(paths: EnvironmentPaths, *, free_disk_bytes: int = FREE_DISK_BYTES) -> tuple[str, ...]:
    """Why this environment cannot be started, one line each; empty when nothing speaks against it. Starts no process.

    `free_disk_bytes` are needed where the environment is, and where its workspace's journal and logs are.
    """
    if not paths.root.is_dir():
        return (f"environment {paths.name!r}: its folder {paths.root} is gone",)
    return *_missing_parts(paths), *_full_disks((paths.root, paths.metadata), free_disk_bytes)


def _missing_parts(paths: EnvironmentPaths) -> Iterator[str]:
    if not paths.main_py.is_file():
        what = "is not a file" if paths.main_py.exists() else "is missing"
        yield f"environment {paths.name!r}: {paths.main_py} {what}"
    if not paths.python.is_file():
        what = "leads nowhere" if paths.python.is_symlink() else "is missing"
        yield f"environment {paths.name!r}: its Python {paths.python} {what}"
    elif not os.access(paths.python, os.X_OK):
        yield f"environment {paths.name!r}: its Python {paths.python} may not be executed"


def _full_disks(folders: tuple[Path, ...], free_disk_bytes: int) -> Iterator[str]:
    for folder in folders:
        try:
            free_bytes = shutil.disk_usage(folder).free
        except OSError as exc:
            yield f"the free space at {folder} cannot be told: {exc.strerror}"
            continue
        if free_bytes < free_disk_bytes:
            yield f"{free_bytes // MIB} MiB are free at {folder}; {free_disk_bytes // MIB} MiB are needed"


def preflight_warnings(*, available_memory_bytes: int = AVAILABLE_MEMORY_BYTES) -> tuple[str, ...]:
    """What may go wrong but refuses nothing: too little memory (the running ComfyUI will still give back its own)."""
    import psutil

    available_bytes = psutil.virtual_memory().available
    if available_bytes >= available_memory_bytes:
        return ()
    return (f"{available_bytes // MIB} MiB of memory are available; ComfyUI takes {available_memory_bytes // MIB} MiB",)


def preflight_command(paths: EnvironmentPaths) -> tuple[str, ...]:
    """The command that checks the imports; its last line of output is the answer. Takes 1 to 2 s with the real ComfyUI.

    To be run with the variables that ComfyUI gets. It is not isolated (`-I`), so that it sees the same `sys.path`.
    """
    return str(paths.python), str(_PROGRAM), str(paths.comfyui)

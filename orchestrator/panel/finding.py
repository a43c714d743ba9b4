"""Where the workspace is, and which of its environments this is. Standard library only: it runs inside ComfyUI."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Iterator

METADATA = ".metadata"
"""The folder that makes a folder a workspace."""
ENVIRONMENTS = "environments"
COMFYUI = "ComfyUI"


def is_folder(path: Path) -> bool:
    """Whether it is one; False also where it cannot be told."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def find_workspace_root() -> Path | None:
    """The first of `COMFYGIT_HOME`, `~/comfygit`, the working directory and those above it that is a workspace."""
    return next((folder for folder in _candidates() if is_folder(folder / METADATA)), None)


def _candidates() -> Iterator[Path]:
    named = os.environ.get("COMFYGIT_HOME")
    if named:
        yield Path(named)
    with contextlib.suppress(RuntimeError):  # nobody's home is known
        yield Path.home() / "comfygit"
    with contextlib.suppress(OSError):  # deleted under us
        here = Path.cwd()
        yield here
        yield from here.parents


def environment_here(workspace: Path) -> str:
    """The name of the environment whose `ComfyUI` folder the working directory is or is in; "" when there is none."""
    try:
        inside = Path.cwd().resolve().relative_to((workspace / ENVIRONMENTS).resolve())
    except (OSError, RuntimeError, ValueError):
        return ""
    return inside.parts[0] if inside.parts[1:2] == (COMFYUI,) else ""

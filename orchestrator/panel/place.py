"""Which workspace and environment a request is about, and the wheel and venv that go with it."""

from __future__ import annotations

import os
from pathlib import Path

from .finding import ENVIRONMENTS, METADATA, environment_here, find_workspace_root, is_folder
from .venv import VenvError, venv_for

SUPERVISED = "COMFYGIT_SUPERVISED"
CG_RUN = "COMFYGIT_CG_RUN_SUPERVISOR"
SPAWN_MARKER = "COMFYGIT_JOURNAL_SPAWN"
"""What marks this ComfyUI and all that it starts: an orchestrator ends that with it."""
NOBODYS = "none"
"""What it holds for what outlives this ComfyUI. Not nothing: in its cgroup, what carries no mark counts as its own."""


class Place:
    """A workspace, and the environment in it that this ComfyUI is ("" when it is none of its)."""

    def __init__(self, root: Path, environment: str) -> None:
        self.root = root
        self.environment = environment

    @property
    def metadata(self) -> Path:
        """Its folder of files."""
        return self.root / METADATA

    def environments(self) -> list[str]:
        """The names of its environments, sorted; whether they work is not looked at."""
        try:
            found = sorted(entry.name for entry in (self.root / ENVIRONMENTS).iterdir() if is_folder(entry))
        except OSError:
            return []
        return [name for name in found if not name.startswith(".")]


def here() -> Place | None:
    """The workspace around this process; None when there is none."""
    root = find_workspace_root()
    return None if root is None else Place(root.resolve(), environment_here(root))


def named(path: str) -> Place | None:
    """The workspace in the folder that somebody named; None when it is none, or below ComfyUI, where pages upload files."""
    root = Path(path)
    if "\0" in path or not root.is_absolute() or not is_folder(root / METADATA):
        return None
    root = root.resolve()
    here = Path.cwd().resolve()
    return None if here == root or here in root.parents else Place(root, "")


def environ_of_its_own(*without: str) -> dict[str, str]:
    """This process's variables for a process that is no part of this ComfyUI and outlives it; not those named."""
    return {name: value for name, value in os.environ.items() if name not in without} | {SPAWN_MARKER: NOBODYS}


def is_supervised() -> bool:
    """Whether an orchestrator, dead or alive, has started this ComfyUI."""
    return os.environ.get(SUPERVISED) == "1"


def is_run_by_cg() -> bool:
    """Whether `cg run` supervises this ComfyUI: it takes requests from the files, and nobody else is to be started."""
    return os.environ.get(CG_RUN) == "1"


def wheel() -> Path:
    """The release that was installed with this panel. Raises VenvError when it is not there."""
    found = sorted(Path(__file__).parent.glob("*.whl"))
    if not found:
        hint = "put the panel there again: comfygit-orchestrator install-panel ENVIRONMENT"
        raise VenvError(f"looking for the orchestrator's release in {Path(__file__).parent}: there is none", hint)
    return found[-1]


def venv_of(place: Place) -> Path:
    """Where the orchestrator's venv of that workspace belongs. Raises VenvError."""
    return venv_for(place.metadata, wheel())

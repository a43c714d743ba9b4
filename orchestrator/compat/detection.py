"""Where this process is, and who supervises it."""

import os
import sys
from pathlib import Path
from typing import Any

import attrs

from journal.errors import JournalError
from orchestrator.compat.locking import is_switch_locked
from orchestrator.compat.opening import ledger_of
from orchestrator.compat.pids import _is_process_running, forget_dead_orchestrator, read_orchestrator_pid
from orchestrator.panel.finding import METADATA, environment_here, find_workspace_root
from orchestrator.reading import living_orchestrator, read_state
from orchestrator.workspace import EnvironmentPaths, WorkspaceError
from orchestrator.workspace import Workspace as PlainWorkspace
from projections.views import PID

SUPERVISED = "COMFYGIT_SUPERVISED"
CG_RUN = "COMFYGIT_CG_RUN_SUPERVISOR"


@attrs.frozen
class Workspace(PlainWorkspace):
    """A workspace under the names that comfygit-core gives to its parts."""

    @property
    def path(self) -> Path:
        """Its root folder."""
        return self.root

    def list_environments(self) -> list["Environment"]:
        """All of them, by name."""
        return [self.get_environment(name) for name in self.environment_names()]

    def get_environment(self, name: str, *, auto_sync: bool = False) -> "Environment":  # noqa: ARG002 - core's signature
        """The environment of that name. Raises WorkspaceError when there is none."""
        problem = self.environment_problem(name)
        if problem:
            raise WorkspaceError(problem, f"there are: {', '.join(self.environment_names()) or 'none yet'}")
        return Environment(name, self.environments_dir / name, self)


@attrs.frozen
class Environment(EnvironmentPaths):
    """An environment, likewise."""

    workspace: Workspace

    @property
    def path(self) -> Path:
        """Its root folder."""
        return self.root

    @property
    def comfyui_path(self) -> Path:
        """Where ComfyUI is."""
        return self.comfyui

    @property
    def venv_path(self) -> Path:
        """Its own virtual environment."""
        return self.venv

    def get_runtime_python(self) -> Path:
        """The Python that ComfyUI runs on."""
        return self.python


def detect_environment_type() -> tuple[bool, Any, Any]:
    """Whether the working directory is an environment's ComfyUI; the workspace; and the environment, each None if there is none.

    A ComfyGit environment comes as comfygit-core's own objects where that package can be imported and opens it, else as
    our `Workspace` and `Environment`, which have the same names for paths.
    """
    root = find_workspace_root()
    if root is None:
        return False, None, None
    name = environment_here(root)
    ours = Workspace(root.resolve())
    if not name or ours.environment_problem(name):
        return False, _core_objects(ours, "")[0] or ours, None
    environment = ours.get_environment(name)
    workspace, found = _core_objects(ours, name) if environment.is_comfygit else (None, None)
    return (True, ours, environment) if found is None else (True, workspace, found)


def _core_objects(workspace: Workspace, name: str) -> tuple[Any, Any]:
    """comfygit-core's workspace and environment, each None where it has none: it raises many things, and may be missing."""
    if not (workspace.metadata / "workspace.json").is_file():
        return None, None
    try:
        from comfygit_core import Workspace as CoreWorkspace

        opened = CoreWorkspace.open(workspace.root)
        return opened, opened.get_environment(name, auto_sync=False) if name else None
    except Exception:  # noqa: BLE001 - whatever it is, ours will do
        return None, None


def should_spawn_orchestrator_for_switch() -> bool:
    """Whether a switch needs an orchestrator to be started: nobody supervises us, and the recorded one does not live.

    A pid file that speaks of nobody is removed.
    """
    if os.environ.get(CG_RUN) == "1":
        return False
    root = find_workspace_root()
    if root is None:
        return True
    try:
        state = read_state(root / METADATA / "journal.db")
    except JournalError:  # an orchestrator that is started says what is wrong with it
        return True
    if living_orchestrator(state) is not None:
        return False
    if state.orchestrator is None and _is_a_foreign_orchestrator(root / METADATA / PID):
        return False
    _remove_stale_pid_file(root / METADATA)
    return True


def _is_a_foreign_orchestrator(pid_file: Path) -> bool:
    """Whether the pid file names a process that runs a file called `orchestrator.py`: the public manager's own."""
    import psutil

    pid = read_orchestrator_pid(pid_file.parent)
    try:
        command = psutil.Process(pid).cmdline() if pid is not None and _is_process_running(pid) else []
    except (psutil.Error, OSError):
        return False
    return any(Path(argument).name == "orchestrator.py" for argument in command)


def _remove_stale_pid_file(metadata_dir: Path) -> None:
    if not (metadata_dir / PID).exists():
        return
    with ledger_of(metadata_dir) as ledger:
        forget_dead_orchestrator(ledger)
        ledger.publish()


def detect_manual_start_during_orchestrator() -> bool:
    """Whether somebody started this ComfyUI by hand while an orchestrator is in the middle of a switch."""
    root = find_workspace_root()
    if root is None or os.environ.get(SUPERVISED) == "1":
        return False
    try:
        alive = living_orchestrator(read_state(root / METADATA / "journal.db"))
    except JournalError:
        return False
    return alive is not None and is_switch_locked(root / METADATA)


def extract_comfyui_args() -> list[str]:
    """ComfyUI's arguments, as this process has them."""
    return sys.argv[1:]

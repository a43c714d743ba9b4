"""What can be done with an environment's content, and the backends that do it: one per kind of environment.

A backend starts nothing itself. It says which process would sync the environment, and whoever asked runs it, with its
deadline and its output in view.
"""

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import attrs

from orchestrator.environments.fingerprints import fingerprint
from orchestrator.errors import OrchestratorError
from orchestrator.workspace import EnvironmentPaths

_CORE = "comfygit-core>=0.7.1,<0.8"
_CORE_SYNC_PROGRAM = "orchestrator.environments.core_sync_program"


class BackendError(OrchestratorError):
    """An environment cannot be handled for want of something on this machine."""


@attrs.frozen
class SyncPlan:
    """A process that syncs one environment; exit status 0 is success. `environ` is set on top of what ComfyUI gets."""

    command: tuple[str, ...]
    working_directory: Path
    environ: Mapping[str, str]


class EnvironmentBackend(Protocol):
    """One kind of environment. `kind` is its name for people and the journal."""

    kind: ClassVar[str]

    def fingerprint(self, paths: EnvironmentPaths) -> str:
        """A text that changes when the environment is changed, not when it ran; "" when it cannot be told."""

    def sync_plan(self, paths: EnvironmentPaths) -> SyncPlan | None:
        """How to bring what is installed in line with the manifest; None: nothing to sync. Raises BackendError."""


@attrs.frozen
class PlainFolder:
    """A folder, synced by uv if it has a `pyproject.toml` and a `uv.lock`."""

    kind: ClassVar[str] = "plain"

    def fingerprint(self, paths: EnvironmentPaths) -> str:
        """See `EnvironmentBackend`."""
        return fingerprint(paths)

    def sync_plan(self, paths: EnvironmentPaths) -> SyncPlan | None:
        """`uv sync --frozen` of the environment's own venv. Raises BackendError when there is no uv."""
        if not all((paths.root / name).is_file() for name in ("pyproject.toml", "uv.lock")):
            return None
        # Named, because a UV_PROJECT in our environment would have uv install another project into this venv.
        command = (str(_uv(paths)), "sync", "--frozen", "--project", str(paths.root))
        return SyncPlan(command, paths.root, {"UV_PROJECT_ENVIRONMENT": str(paths.venv)})


@attrs.frozen
class ComfyGitEnvironment:
    """An environment with a `.cec/` manifest, synced by comfygit-core in a process of its own."""

    kind: ClassVar[str] = "comfygit"

    def fingerprint(self, paths: EnvironmentPaths) -> str:
        """See `EnvironmentBackend`."""
        return fingerprint(paths)

    def sync_plan(self, paths: EnvironmentPaths) -> SyncPlan | None:
        """See `core_sync_program`. Raises BackendError when there is no comfygit-core."""
        if importlib.util.find_spec("comfygit_core") is None:
            message = f"syncing environment {paths.name!r}: it has a .cec/, and comfygit-core is not installed"
            raise BackendError(message, f"install it: {sys.executable} -m pip install '{_CORE}'")
        workspace = paths.root.parent.parent
        command = (sys.executable, "-I", "-u", "-m", _CORE_SYNC_PROGRAM, str(workspace), paths.name)
        return SyncPlan(command, paths.root, {})


def backend_for(paths: EnvironmentPaths) -> EnvironmentBackend:
    """The backend for the kind of environment that is in the folder now."""
    return ComfyGitEnvironment() if paths.is_comfygit else PlainFolder()


def _uv(paths: EnvironmentPaths) -> Path:
    """The uv beside our own Python, else the one on PATH."""
    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        message = f"syncing environment {paths.name!r}: it has a uv.lock, and there is no uv on this machine"
        raise BackendError(message, f"install uv: {sys.executable} -m pip install uv")
    return Path(found)

"""Putting our panel into an environment's ComfyUI as a custom node, and taking it out again.

The new folder is made beside the old one, under a name that ComfyUI skips, then the two change places: whoever is
killed leaves the old panel or the new one.
"""

import contextlib
import ctypes
import enum
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from filelock import FileLock, Timeout

import orchestrator
from orchestrator.bootstrap import package_files, packed
from orchestrator.errors import OrchestratorError
from orchestrator.workspace import EnvironmentPaths, Workspace, WorkspaceError

FOLDER: Final = "comfygit-orchestrator"
"""The panel's folder in `custom_nodes`."""
STAMP: Final = "installed.json"
"""In that folder: `version`, `wheel` (the file's name) and `sha256` (the wheel's). It marks the folder as ours."""

_STAGING: Final = ".comfygit-orchestrator.new.disabled"  # ComfyUI skips what ends in .disabled
_ASIDE: Final = ".comfygit-orchestrator.old.disabled"
_LOCK: Final = ".install-panel.lock"
_LOCK_WITHIN_S: Final = 30.0
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


class PanelError(OrchestratorError):
    """The panel cannot be put where it belongs, or taken away from there; nothing was changed."""


class Change(enum.Enum):
    """What was done to an environment's panel."""

    INSTALLED = "installed"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    ABSENT = "absent"


@attrs.frozen
class PanelChange:
    """What was done, to which folder. `before` and `after`: the panel's versions, "" for none."""

    change: Change
    environment: str
    folder: Path
    before: str
    after: str


def install_panel(workspace: Workspace, environment: str) -> PanelChange:
    """Put the panel of this release into `environment`, replacing another one of ours.

    Raises WorkspaceError (no such environment) and PanelError: no ComfyUI there, or one that is outside of the
    workspace, a folder of that name that is not ours, or one that cannot be written to.
    """
    files = _panel_files()
    version = orchestrator.__version__
    with _custom_nodes(workspace, environment) as custom_nodes:
        folder = custom_nodes / FOLDER
        before = _installed_version(folder)
        if before is not None and _holds(folder, files):
            return PanelChange(Change.UNCHANGED, environment, folder, version, version)
        staging = custom_nodes / _STAGING
        _write(staging, files)
        if before is None:
            staging.rename(folder)
            return PanelChange(Change.INSTALLED, environment, folder, "", version)
        _exchange(staging, folder)
        shutil.rmtree(staging)
        return PanelChange(Change.REPLACED, environment, folder, before, version)


def remove_panel(workspace: Workspace, environment: str) -> PanelChange:
    """Take the panel out of `environment`; none there is fine. Raises as `install_panel`."""
    with _custom_nodes(workspace, environment) as custom_nodes:
        folder = custom_nodes / FOLDER
        before = _installed_version(folder)
        if before is None:
            return PanelChange(Change.ABSENT, environment, folder, "", "")
        staging = custom_nodes / _STAGING
        folder.rename(staging)
        shutil.rmtree(staging)
        return PanelChange(Change.REMOVED, environment, folder, before, "")


def _panel_files() -> dict[str, bytes]:
    """Every file of the panel's folder, by its name in it."""
    wheel, content = packed()
    files = {
        name.removeprefix("orchestrator/panel/"): path.read_bytes()
        for name, path in package_files("orchestrator.panel")
    }
    files["__init__.py"] = files.pop("custom_node.py")
    stamp = {"version": orchestrator.__version__, "wheel": wheel, "sha256": hashlib.sha256(content).hexdigest()}
    return {**files, wheel: content, STAMP: (json.dumps(stamp, indent=2) + "\n").encode()}


@contextlib.contextmanager
def _custom_nodes(workspace: Workspace, environment: str) -> Iterator[Path]:
    """The folder of that name, ours alone for the moment, without what a killed one left in it."""
    folder = _found_custom_nodes(workspace, environment)
    try:
        with FileLock(workspace.metadata / _LOCK, mode=0o600, timeout=_LOCK_WITHIN_S):
            if (folder / _ASIDE).is_dir() and not os.path.lexists(folder / FOLDER):
                (folder / _ASIDE).rename(folder / FOLDER)  # killed between two renames: the old one, again
            for left in (folder / _STAGING, folder / _ASIDE):
                if left.is_symlink():
                    left.unlink()  # nothing is written through it
                shutil.rmtree(left, ignore_errors=True)
            yield folder
    except Timeout as error:
        message = f"changing the panel of {environment!r}: another process has been at it for {_LOCK_WITHIN_S:g} s"
        raise PanelError(message, "wait for it, then try again") from error
    except OSError as error:
        message = f"changing the panel of {environment!r} in {folder}: {error}"
        raise PanelError(
            message, "make sure that it can be written to and the disk has room; then try again"
        ) from error


def _found_custom_nodes(workspace: Workspace, environment: str) -> Path:
    problem = workspace.environment_problem(environment)
    if problem:
        raise WorkspaceError(problem, f"there are: {', '.join(workspace.environment_names()) or 'none yet'}")
    paths = workspace.environment(environment)
    _refuse_without_comfyui(paths)
    folder = paths.comfyui / "custom_nodes"
    resolved = folder.resolve()
    if not resolved.is_relative_to(workspace.root.resolve()):
        message = f"{folder} leads outside of the workspace, to {resolved}"
        raise PanelError(message, "a panel is put into ComfyUIs of this workspace only; copy that folder into it")
    if not folder.is_dir():
        raise PanelError(f"there is no folder {folder}", f"make it: mkdir {folder}")
    return folder


def _refuse_without_comfyui(paths: EnvironmentPaths) -> None:
    if not paths.main_py.is_file():
        message = f"environment {paths.name!r} has no ComfyUI: there is no {paths.main_py}"
        raise PanelError(message, "put ComfyUI there first")


def _installed_version(folder: Path) -> str | None:
    """The version of our panel in `folder`, None without one. Raises PanelError for what is not ours."""
    if not os.path.lexists(folder):
        return None
    stamp: Any = None
    with contextlib.suppress(OSError, ValueError):
        stamp = json.loads((folder / STAMP).read_text("utf-8"))
    if folder.is_symlink() or not isinstance(stamp, dict) or not isinstance(stamp.get("version"), str):
        message = f"{folder} is there, and was not put there by install-panel: it has no valid {STAMP}, or is a link"
        raise PanelError(message, f"see what it is; to have our panel, move it away: mv {folder} {folder}.disabled")
    return str(stamp["version"])


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    try:
        return all((folder / name).read_bytes() == content for name, content in files.items())
    except OSError:
        return False


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _exchange(one: Path, other: Path) -> None:
    """Let two folders change places: in one step where the system can, else in three."""
    if sys.platform == "linux" and _exchanged_at_once(one, other):
        return
    aside = one.with_name(_ASIDE)
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _exchanged_at_once(one: Path, other: Path) -> bool:
    """Whether `renameat2` did it; an old C library or another file system does not have it."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    done = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return bool(done == 0)

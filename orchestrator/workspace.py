"""Where things are: the workspace, its environments, its files; and which environment names may touch a path at all."""

import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from orchestrator.config import Config, ConfigUnreadable, parse_config
from orchestrator.errors import OrchestratorError
from orchestrator.panel.finding import find_workspace_root, is_folder

LOGS: Final = "logs"
"""The folder of `.metadata` that holds what ComfyUI and the workers print."""
_LONGEST_NAME_BYTES = 255  # the limit of every common file system
_SHOWN_CHARACTERS = 80
# What comfygit-core refuses too.
_RESERVED = frozenset({"workspace", "logs", "models", "input", "output", ".comfygit"})
_UNWRITABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, lone surrogates, line and paragraph separators


class WorkspaceError(OrchestratorError):
    """There is no workspace where one was looked for, or an environment name that must not be used."""


def _shown(name: str) -> str:
    text = repr(name)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _flaws(name: str) -> Iterator[str]:
    if not name:
        yield "it is empty"
    if name in {".", ".."}:
        yield "it stands for a folder, not for a name"
    if "/" in name or "\\" in name:
        yield "it holds a path separator"
    if any(unicodedata.category(character) in _UNWRITABLE for character in name):
        yield "it holds a control character or one that cannot be written"
    if len(name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME_BYTES:
        yield f"it is longer than {_LONGEST_NAME_BYTES} bytes"
    if name != name.strip():
        yield "it begins or ends with a space"
    if name.startswith("-"):
        yield "it begins with a dash, as an option does"
    if name.lower() in _RESERVED:
        yield "it is reserved"


def name_problem(name: str) -> str:
    """Why `name` can be no environment's name, whatever is on the disk; "" when it can."""
    flaw = next(_flaws(name), "")
    return f"{_shown(name)} cannot be an environment's name: {flaw}" if flaw else ""


@attrs.frozen
class EnvironmentPaths:
    """Where the parts of one environment are, whether they exist or not."""

    name: str
    root: Path

    @property
    def metadata(self) -> Path:
        """The folder of its workspace that holds journal and logs."""
        return self.root.parent.parent / ".metadata"

    @property
    def comfyui(self) -> Path:
        """ComfyUI's folder, also its working directory."""
        return self.root / "ComfyUI"

    @property
    def main_py(self) -> Path:
        """What is started."""
        return self.comfyui / "main.py"

    @property
    def venv(self) -> Path:
        """The environment's own virtual environment, shared with no other."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The Python in `venv`. Not to be resolved: through its link's target it would not see the venv."""
        return self.venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    @property
    def cec(self) -> Path:
        """The manifest repository of a ComfyGit environment."""
        return self.root / ".cec"

    @property
    def is_comfygit(self) -> bool:
        """Whether this is a ComfyGit environment; else it is a plain folder."""
        return is_folder(self.cec)


@attrs.frozen
class Workspace:
    """One workspace by its root folder. Nothing here writes."""

    root: Path

    @property
    def metadata(self) -> Path:
        """The folder that makes a folder a workspace."""
        return self.root / ".metadata"

    @property
    def journal_path(self) -> Path:
        """The one truth."""
        return self.metadata / "journal.db"

    @property
    def config_path(self) -> Path:
        """The settings; the file may be absent."""
        return self.metadata / "orchestrator_config.json"

    @property
    def environments_dir(self) -> Path:
        """The folder that holds one folder per environment."""
        return self.root / "environments"

    def environment(self, name: str) -> EnvironmentPaths:
        """The paths of environment `name`, existing or not. Raises WorkspaceError for a name with a `name_problem`."""
        problem = name_problem(name)
        if problem:
            raise WorkspaceError(problem, f"the environments are the folders in {self.environments_dir}")
        return EnvironmentPaths(name, self.environments_dir / name)

    def environment_names(self) -> list[str]:
        """Every environment that could be switched to, sorted; empty when the folder cannot be read."""
        try:
            found = sorted(entry.name for entry in self.environments_dir.iterdir())
        except OSError:
            return []
        return [name for name in found if not name.startswith(".") and not self.environment_problem(name)]

    def environment_problem(self, name: str) -> str:
        """Why `name` is no environment of this workspace; "" when it is one. Looks, touches nothing."""
        problem = name_problem(name)
        if problem:
            return problem
        try:
            environments = self.environments_dir.resolve(strict=True)
            folder = (self.environments_dir / name).resolve(strict=True)
        except FileNotFoundError:
            return f"there is no environment {_shown(name)} in {self.environments_dir}"
        except (OSError, RuntimeError) as exc:  # RuntimeError: a loop of symbolic links
            return f"environment {_shown(name)} cannot be looked at: {exc}"
        if environments not in folder.parents:
            return f"environment {_shown(name)} leads outside {self.environments_dir}, to {folder}"
        return "" if is_folder(folder) else f"environment {_shown(name)} is not a folder"

    def log_path(self, environment: str, spawn_seq: int) -> Path:
        """Where the output of one start of ComfyUI goes. Raises WorkspaceError as `environment` does."""
        return self.metadata / LOGS / self.environment(environment).name / f"{spawn_seq}.log"

    def worker_log_path(self, environment: str, worker: int, kind: str) -> Path:
        """Where the output of a preflight or sync goes. Raises WorkspaceError as `environment` does."""
        return self.log_path(environment, worker).with_suffix(f".{kind}.log")


def open_workspace(root: Path | None) -> Workspace:
    """The workspace in `root`; None: the one `find_workspace_root` finds. Raises WorkspaceError when there is none.

    Its path is absolute with links resolved, so that all who open it agree on it.
    """
    found = root or find_workspace_root()
    if found is None:
        message = "looking for a workspace: neither COMFYGIT_HOME nor ~/comfygit nor any folder from here up is one"
        raise WorkspaceError(message, "name one with --workspace DIR; a workspace is a folder with .metadata/ in it")
    try:
        resolved = found.resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        message = f"opening workspace {found}: {exc}"
        raise WorkspaceError(message, "check the path, or leave it out to have the workspace found") from exc
    if not is_folder(resolved / ".metadata"):
        message = f"opening workspace {resolved}: there is no folder .metadata in it"
        raise WorkspaceError(message, f"check the path; to make it a workspace: mkdir {resolved / '.metadata'}")
    return Workspace(resolved)


def read_config(path: Path, last_good: Config) -> tuple[Config, tuple[str, ...]]:
    """The settings in the file `path`, and what is wrong with it, one line each. Absent: the defaults, no problem.

    A file that cannot be read as a whole, for instance because it is being written, gives `last_good`.
    """
    try:
        return parse_config(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        return Config(), ()
    except ConfigUnreadable as exc:
        problem = f"{exc} in {path}; {exc.hint}"
    except (OSError, ValueError) as exc:
        problem = f"reading the configuration in {path}: {exc}"
    return last_good, (f"{problem}; the settings stay as they were",)

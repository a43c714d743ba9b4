"""Workspaces, environments and `.metadata` files as others leave them on the disk, for our code to find."""

import json
import os
from pathlib import Path

from comfyui_stand_in.install import install, make_python
from journal.clock import S, as_datetime, read
from orchestrator.workspace import Workspace
from projections import views

NODE_MAPPINGS: dict[str, dict[str, object]] = {"mappings": {}, "packages": {}, "stats": {}}
"""What keeps comfygit-core off the network, as long as the file is younger than a day."""


class WorkspaceBuilder:
    """A workspace that we and comfygit-core open."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environments: dict[str, EnvironmentBuilder] = {}

    def create(self) -> Path:
        """The workspace, still without environments; gives its root."""
        for folder in (".metadata", "environments", "models", "comfygit_cache/custom_nodes"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        made = as_datetime(read().wall_ns).isoformat()
        about = {"version": 1, "active_environment": "", "created_at": made, "global_model_directory": None}
        cached = self.root / "comfygit_cache" / "custom_nodes"
        _write(self.root / ".metadata" / "workspace.json", about)
        _write(cached / "node_mappings.json", NODE_MAPPINGS)
        _write(cached / "comfyui_builtins_by_version.json", {})
        return self.root

    def add_environment(self, name: str, port: int = 8188) -> "EnvironmentBuilder":
        """Where environment `name` will be, once its `create` is called."""
        self.environments[name] = EnvironmentBuilder(self.root / "environments" / name, name, port)
        return self.environments[name]


class EnvironmentBuilder:
    """An environment whose ComfyUI is the stand-in. `port` is only noted: a start says which it wants."""

    def __init__(self, path: Path, name: str, port: int = 8188) -> None:
        self.path = path
        self.name = name
        self.port = port

    def create(self, with_comfyui: bool = True, with_venv: bool = True) -> Path:
        """Make what is asked for; gives the environment's folder.

        `.cec` is a file: comfygit-core finds the environment by it, and as it is no folder nothing is ever synced.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self.path / ".cec", {"name": self.name, "port": self.port})
        if with_comfyui:
            install(self.path / "ComfyUI")
        if with_venv:
            make_python(self.path / ".venv")
        return self.path


class StateFileBuilder:
    """The files that panels, command lines and other orchestrators leave in `.metadata`. Each call gives the path.

    Times are of now: what is old when an orchestrator starts is nobody's wish any more.
    """

    def __init__(self, metadata_dir: Path) -> None:
        self.metadata_dir = metadata_dir

    def create_switch_request(
        self, target_env: str, timestamp: float | None = None, source_env: str | None = None
    ) -> Path:
        """Written as the public panel does: not atomically, and without a lock of its own."""
        asked = _now_s() if timestamp is None else timestamp
        return self._leave(views.REQUEST, {"target_env": target_env, "source_env": source_env, "timestamp": asked})

    def create_switch_status(self, state: str, progress: int = 0, **kwargs: object) -> Path:
        document = {"state": state, "progress": progress, "message": "", "updated_at": _now_s()}
        return self._leave(views.STATUS, document | kwargs)

    def create_startup_state(self, env_name: str, port: int = 8188, **kwargs: object) -> Path:
        """What the ComfyUI of environment `env_name` of this workspace would say of its start."""
        root = self.metadata_dir.parent
        paths = Workspace(root).environment(env_name)
        document = {
            "python_executable": str(paths.python),
            "working_directory": str(paths.comfyui),
            "argv": ["main.py", "--port", str(port)],
            "environment_name": env_name,
            "workspace_root": str(root),
            "port": port,
            "timestamp": _now_s(),
        }
        return self._leave(views.STARTUP, document | kwargs)

    def create_orchestrator_pid(self, pid: int | None = None) -> Path:
        """The pid of the test itself by default: of a process that lives, and is no orchestrator."""
        file = self.metadata_dir / views.PID
        file.write_text(str(os.getpid() if pid is None else pid))
        return file

    def create_lock_file(self) -> Path:
        """Somebody else's lock: empty."""
        file = self.metadata_dir / views.LOCK
        file.touch()
        return file

    def _leave(self, name: str, document: dict[str, object]) -> Path:
        return _write(self.metadata_dir / name, document)


def _now_s() -> float:
    return read().wall_ns / S


def _write(path: Path, document: object) -> Path:
    with path.open("w", encoding="utf-8") as file:
        json.dump(document, file)
    return path

"""What to do next, and doing it: the supervisor of one workspace.

`from orchestrator import write_switch_request` and the other names of `__all__` are the calls that programs written for the
public ComfyGit manager make. Each is imported when it is first asked for.
"""

import importlib
from typing import Any, Final

__version__ = "0.1.0"

_HOMES: Final = {
    "panel.finding": ("find_workspace_root",),
    "compat.detection": (
        "detect_environment_type",
        "should_spawn_orchestrator_for_switch",
        "detect_manual_start_during_orchestrator",
        "extract_comfyui_args",
    ),
    "compat.documents": (
        "write_switch_request",
        "read_switch_request",
        "write_switch_status",
        "read_switch_status",
        "cleanup_switch_status",
        "write_startup_state",
        "read_startup_state",
        "safe_write_command",
    ),
    "compat.locking": ("acquire_switch_lock", "release_switch_lock", "is_switch_locked"),
    "compat.pids": (
        "write_orchestrator_pid",
        "read_orchestrator_pid",
        "cleanup_orchestrator_pid",
        "force_cleanup_orchestrator_state",
        "_is_process_running",
    ),
    "compat.settings": ("load_workspace_config",),
    "compat.spawning": ("spawn_orchestrator",),
    "bootstrap": ("ensure_orchestrator_venv", "get_orchestrator_python"),
    "compat.supervisor": ("Orchestrator",),
}
_HOME: Final = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """The call of that name. Raises AttributeError."""
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """What is there, imported or not."""
    return sorted({*globals(), *__all__})

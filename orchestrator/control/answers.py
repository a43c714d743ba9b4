"""What the control server says, as data; and what it needs to know for that."""

import os
from collections.abc import Sequence
from typing import Any, Protocol

from journal.clock import iso
from orchestrator.control import refusing
from orchestrator.logs.switch_log import LogEntry
from projections.state import WorkspaceState
from projections.views import status_document


class ControlHooks(Protocol):
    """The orchestrator, as its control server sees it. Every call returns at once; all happen in the event loop.

    Any of them may raise JournalError or OrchestratorError: the answer is then 503 with the message and the hint.
    """

    def state(self) -> WorkspaceState:
        """The state at the journal's head."""

    def comfyui_port(self) -> int:
        """The port that ComfyUI's page comes from."""

    def uptime_s(self) -> float | None:
        """Seconds since the running ComfyUI was started; None when none runs."""

    def ask_restart(self) -> None:
        """Journal the wish for a restart."""

    def ask_shutdown(self) -> None:
        """Journal the wish for the end."""

    def switch_log(self) -> Sequence[LogEntry | str]:
        """The end of the switch log, oldest first. A string is an entry of which nothing but the message is known."""


def answer(hooks: ControlHooks, path: str, port: int) -> dict[str, Any]:
    """The document for a request that was not refused. What a path of ACTING_PATHS asks for is done here."""
    if path in refusing.HEALTH:
        return health(hooks.state(), hooks.uptime_s(), port)
    if path in refusing.STATUS:
        return status(hooks.state())
    if path in refusing.LOGS:
        return logs(hooks.switch_log())
    environment = hooks.state().environment
    if path == refusing.RESTART:
        hooks.ask_restart()
        which = f"ComfyUI of environment {environment}" if environment else "ComfyUI"
        return {"status": "restart_requested", "message": f"{which} is stopped and started again"}
    hooks.ask_shutdown()
    return {"status": "shutting_down", "message": "ComfyUI is stopped, then the orchestrator ends"}


def health(state: WorkspaceState, uptime_s: float | None, port: int) -> dict[str, Any]:
    """That we live, on which control port, and the main ComfyUI if there is one; since when it hangs, if it does.

    In the middle of a switch `current_env` is the environment of the ComfyUI that is named, the old one's or the new one's.
    """
    main = state.main_process
    document: dict[str, Any] = {
        "status": "alive",
        "pid": os.getpid(),
        "current_env": (state.environment if main is None else main.environment) or None,
        "supervised": True,
        "port": port,
    }
    if main is not None and main.identity is not None:
        document["comfyui"] = {
            "pid": main.identity.pid,
            "running": uptime_s is not None,
            "uptime_seconds": round(uptime_s or 0.0, 3),
        }
        if main.unresponsive is not None:
            document["comfyui"]["unresponsive_since"] = iso(main.unresponsive.since.wall_ns)
    return document


def logs(lines: Sequence[LogEntry | str]) -> dict[str, Any]:
    """Entries, not lines: the panel in the browser shows the level and the message of each."""
    nothing_known = LogEntry(timestamp=None, level="info", message="")
    return {"logs": [{**nothing_known, "message": line} if isinstance(line, str) else line for line in lines]}


def status(state: WorkspaceState) -> dict[str, Any]:
    """The bytes of `.switch_status.json` as a document; without that file, that we are idle, parked, or hang, and why."""
    document = status_document(state)
    if document is not None:
        return document
    return {"state": "idle", "progress": 0, "current_env": state.environment or None, "message": _idle_message(state)}


def _idle_message(state: WorkspaceState) -> str:
    parked, main = state.parked, state.main_process
    if parked is not None:
        return f"Nothing is started: {parked.why}; {parked.advice}"
    if main is not None and main.unresponsive is not None:
        since, error = iso(main.unresponsive.since.wall_ns), main.unresponsive.error
        return f"ComfyUI of environment {main.environment} has not answered since {since} ({error})"
    return "No switch in progress"

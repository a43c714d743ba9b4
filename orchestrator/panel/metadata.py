"""The `.metadata` files as the panel reads them, and the two that it writes where `cg run` supervises."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

STATUS = ".switch_status.json"
LOCK = ".switch.lock"
REQUEST = ".switch_request.json"
COMMAND = ".cmd"
PID = ".orchestrator.pid"
CONTROL_PORT = ".control_port"
SUPERVISOR = ".supervisor_control.json"
SWITCH_LOG = "supervisor-switch.log"

LOG_LINES = 80
"""How many entries of the switch log a page is shown."""
STALE_LOCK_S = 300.0
"""From this age on a lock file is one that was left behind, as for every program that shares it."""
_TAIL_BYTES = 256 * 1024
_LARGEST_PORT = 65_535
_LARGEST_PID = 2**31 - 1


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None when there is none, or half of one."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def read_number(path: Path, largest: int) -> int | None:
    """The decimal number in a file, from 1 to `largest`; None when it holds anything else."""
    try:
        text = path.read_bytes()[:20].strip()
    except OSError:
        return None
    number = int(text) if text.isdigit() else 0
    return number if 0 < number <= largest else None


def control_port(metadata: Path) -> int | None:
    """Where the control server says that it listens; None when there is none."""
    return read_number(metadata / CONTROL_PORT, _LARGEST_PORT)


def orchestrator_pid(metadata: Path) -> int | None:
    """Who the orchestrator says that it is; None when there is none. By now that may be anybody's number."""
    return read_number(metadata / PID, _LARGEST_PID)


def switch_logs(metadata: Path) -> list[dict[str, Any]]:
    """The last entries of the switch log, oldest first; of a line that is no entry only the message is known."""
    try:
        with (metadata / SWITCH_LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    return [_entry(line) for line in text.splitlines()[-LOG_LINES:]]


def _entry(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"timestamp": None, "level": "info", "message": line}


def write_command(metadata: Path, command: dict[str, Any]) -> None:
    """Leave a command for the orchestrator, in one piece. Raises OSError."""
    _write(metadata / COMMAND, {**command, "timestamp": time.time()})  # noqa: TID251 - others read it as wall time


def take_lock(metadata: Path) -> bool:
    """Make the lock file; False when it is there and younger than STALE_LOCK_S. Raises OSError."""
    path = metadata / LOCK
    try:
        if time.time() - path.stat().st_mtime >= STALE_LOCK_S:  # noqa: TID251 - a file's age is wall time
            path.unlink()
    except FileNotFoundError:
        pass
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


def free_lock(metadata: Path) -> None:
    """Remove the lock file that `take_lock` made."""
    try:
        (metadata / LOCK).unlink()
    except FileNotFoundError:
        return


def write_request(metadata: Path, target: str, source: str) -> None:
    """Ask whoever supervises for a switch. Raises OSError."""
    document = {"target_env": target, "source_env": source or None, "timestamp": time.time()}  # noqa: TID251 - likewise
    _write(metadata / REQUEST, document)


def _write(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(document, file)
        temporary.replace(path)
    finally:
        if temporary.exists():
            temporary.unlink()

"""What happens when ComfyUI loads the panel: quick, and never a reason for ComfyUI not to start."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Callable

from . import place
from .giving_way import public_manager
from .metadata import LOCK, PID, control_port, orchestrator_pid, write_command
from .place import Place
from .venv import VenvError, is_current

_log = logging.getLogger(__name__)

ABORT_WITHIN_S = 25.0
"""How long a ComfyUI that was started by hand waits for the orchestrator to give the port up."""
_LOOK_S = 0.1
_HEALTH_WITHIN_S = 1.0


def load() -> bool:
    """Begin; whether the panel is there. The public manager keeps its routes, where it is enabled."""
    try:
        return _load()
    except Exception:  # noqa: BLE001 - ComfyUI is worth more than its panel
        _log.exception("[comfygit] the panel could not be loaded; ComfyUI goes on without it")
        return False


def _load() -> bool:
    theirs = public_manager(Path(__file__).parent)
    if theirs is not None:
        _log.info("[comfygit] the panel gives way to the public manager in %s", theirs)
        return False
    where = place.here()
    if where is not None and where.environment and not place.is_run_by_cg():
        _try(make_venv_in_background, where)
        if was_started_by_hand(where):
            _try(wait_for_the_port, where)
    _register()
    return True


def _try(step: Callable[[Place], object], where: Place) -> None:
    """Do it; the routes are worth having all the same."""
    try:
        step(where)
    except (OSError, VenvError) as error:
        _log.warning("[comfygit] %s; %s", error, getattr(error, "hint", "the panel goes on without that"))


def _register() -> None:
    from server import PromptServer  # type: ignore[import-not-found] # ComfyUI's own

    from .routes import middleware

    PromptServer.instance.app.middlewares.append(middleware)


def make_venv_in_background(where: Place) -> subprocess.Popen[bytes] | None:
    """Start a process that makes the orchestrator's venv, if that is not there; what it says goes to `orchestrator-venv.log`."""
    release, venv = place.wheel(), place.venv_of(where)
    if is_current(venv, release):
        return None
    command = [sys.executable, "-I", str(Path(__file__).with_name("venv.py"))]
    command += ["--venv", str(venv), "--wheel", str(release)]
    descriptor = os.open(where.metadata / "orchestrator-venv.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        _log.info("[comfygit] making the orchestrator's venv in the background: %s", venv)
        environ = place.environ_of_its_own()
        return subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def was_started_by_hand(where: Place) -> bool:
    """Whether an orchestrator lives and is in the middle of a switch, and we are none of its processes."""
    return not place.is_supervised() and (where.metadata / LOCK).exists() and _orchestrator_lives(where)


def _orchestrator_lives(where: Place) -> bool:
    """Whether the process in the pid file answers as the orchestrator: a pid alone may be anybody's by now."""
    port, pid = control_port(where.metadata), orchestrator_pid(where.metadata)
    if port is None or pid is None:
        return False
    return _health(port).get("pid") == pid


def _health(port: int) -> dict[str, Any]:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{port}/health", timeout=_HEALTH_WITHIN_S) as answer:
            found = json.loads(answer.read(65_536))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def wait_for_the_port(where: Place) -> bool:
    """Tell the orchestrator that we take over, and wait until it has let go; whether it has."""
    _log.warning("[comfygit] started by hand in the middle of a switch: asking the orchestrator to give way")
    write_command(where.metadata, {"command": "abort_switch", "reason": "manual_restart", "pid": os.getpid()})
    deadline = time.monotonic() + ABORT_WITHIN_S  # noqa: TID251 - ComfyUI's loading waits here, and nothing else does
    while (where.metadata / LOCK).exists() and (where.metadata / PID).exists():
        if time.monotonic() > deadline:  # noqa: TID251
            _log.error(
                "[comfygit] the orchestrator did not give way within %g s; starting all the same", ABORT_WITHIN_S
            )
            return False
        time.sleep(_LOOK_S)  # noqa: TID251
    _log.warning("[comfygit] the orchestrator has given way")
    return True

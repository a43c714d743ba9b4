"""Asking for a switch by the command line of the orchestrator, on its own Python."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from .place import CG_RUN, Place, environ_of_its_own, venv_of, wheel
from .venv import VenvError, ensure, python_in

PATIENCE_S = 60.0
"""How long the command may take: it starts an orchestrator where there is none."""
VENV_WITHIN_S = 120.0
"""How long a page waits for the orchestrator's venv: some seconds with uv, half a minute with pip."""
_LEADING_ASTRAY = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", CG_RUN)
_SAID_CHARS = 600


class CommandFailed(RuntimeError):  # noqa: N818 - the fact
    """The orchestrator's command did not answer."""


async def ask_for_switch(place: Place, target: str) -> dict[str, Any]:
    """Ask in the name of this ComfyUI. See `orchestrator.panel_switch` for the answer.

    Makes the orchestrator's venv first, if it is not there. Raises VenvError, CommandFailed.
    """
    making = asyncio.get_running_loop().run_in_executor(None, _made, place)
    try:
        venv = await asyncio.wait_for(asyncio.shield(making), VENV_WITHIN_S)
    except asyncio.TimeoutError:
        message = "the orchestrator's venv is still being made; see orchestrator-venv.log in .metadata, and try again"
        raise CommandFailed(message) from None
    command = [
        *(str(python_in(venv)), "-P", "-m", "orchestrator", "panel-switch"),
        *(f"--target={target}", f"--source={place.environment}", f"--comfyui-pid={os.getpid()}"),
        *("--workspace", str(place.root), "--args", *comfyui_arguments()),
    ]
    environ = environ_of_its_own(*_LEADING_ASTRAY)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=str(place.root),
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise CommandFailed(f"running {command[0]}: {error}") from error
    return _answer(*await _within_patience(process))


def comfyui_arguments() -> list[str]:
    """What this ComfyUI was started with, but for what its own launcher adds."""
    return [argument for argument in sys.argv[1:] if argument != "--enable-manager"]


def _made(place: Place) -> Any:
    venv = venv_of(place)
    ensure(venv, wheel())
    if not python_in(venv).exists():
        raise VenvError(f"Orchestrator venv not found: {venv}", "look at orchestrator-venv.log in .metadata")
    return venv


async def _within_patience(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    try:
        return await asyncio.wait_for(process.communicate(), PATIENCE_S)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()
        raise CommandFailed(f"the orchestrator's command did not end within {PATIENCE_S:g} s") from None


def _answer(out: bytes, err: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(out)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and "outcome" in answer:
        return answer
    said = err.decode("utf-8", "replace").strip()[-_SAID_CHARS:]
    raise CommandFailed(said or "the orchestrator's command said nothing")

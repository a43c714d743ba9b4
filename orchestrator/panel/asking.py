"""Carrying out a page's wish for a switch, by whoever supervises or is to supervise."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from . import leaving, place
from .command import CommandFailed, ask_for_switch
from .finding import COMFYUI, ENVIRONMENTS, is_folder
from .metadata import SUPERVISOR, free_lock, read_object, take_lock, write_request
from .place import Place
from .venv import VenvError

OBSERVER_WITHIN_S: Final = 2.0
"""How long a supervisor that was just started has to say where it can be asked."""
_LOOK_S: Final = 0.05
_NOT_FOUND: Final = frozenset({"unknown_environment"})
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_STATUS_ROUTE: Final = "/v2/comfygit/switch_status"
_LOGS_ROUTE: Final = "/v2/comfygit/switch_logs"


async def switch(request: web.Request, where: Place, target: str) -> web.Response:
    """Ask for it; the answer for the page. What leaves this ComfyUI, and when, is settled here."""
    if place.is_run_by_cg():
        return await _by_files(request, where, target)
    try:
        answer = await ask_for_switch(where, target)
    except (VenvError, CommandFailed) as error:
        hint = getattr(error, "hint", "")
        return _failed(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}; {hint}" if hint else str(error))
    if answer["outcome"] is not None and answer["outcome"] != "already_serving":
        return _refused(answer)
    # One that was there before has said already where it can be asked, and will soon want us out of the way.
    observer = await _observer(request, where, OBSERVER_WITHIN_S if answer["started"] else 0)
    if answer["started"] and answer["switch"] is not None:
        leaving.make_room(where, answer["switch"])
    return _switching(target, observer)


def _refused(answer: dict[str, Any]) -> web.Response:
    outcome, error = str(answer["outcome"]), str(answer["error"])
    if outcome in _NOT_FOUND:
        return _failed(HTTPStatus.NOT_FOUND, error)
    if outcome == "not_started":
        return _failed(HTTPStatus.INTERNAL_SERVER_ERROR, error)
    if outcome == "orchestrator_active":
        return web.json_response({"error": outcome, "message": error}, status=HTTPStatus.CONFLICT)
    return _failed(HTTPStatus.CONFLICT, error)


async def _by_files(request: web.Request, where: Place, target: str) -> web.Response:
    """The way of `cg run`: lock and request are files, and we leave with 43."""
    if not is_folder(where.root / ENVIRONMENTS / target / COMFYUI):
        return _failed(HTTPStatus.NOT_FOUND, f"Environment {target!r} not found")
    if not take_lock(where.metadata):
        return _failed(HTTPStatus.CONFLICT, "Environment switch already in progress")
    try:
        write_request(where.metadata, target, where.environment)
    except OSError as error:
        free_lock(where.metadata)
        return _failed(HTTPStatus.INTERNAL_SERVER_ERROR, f"asking for the switch: {error}")
    observer = await _observer(request, where, OBSERVER_WITHIN_S)
    leaving.leave_for_switch()
    return _switching(target, observer)


def _switching(target: str, observer: dict[str, str] | None) -> web.Response:
    message = f"Switching to {target}..."
    return web.json_response({"status": "switching", "message": message, "observer": observer})


async def _observer(request: web.Request, where: Place, within_s: float) -> dict[str, str] | None:
    """Where the page can look while ComfyUI is away; None when nobody says so in time, or where it could not reach it."""
    found = read_object(where.metadata / SUPERVISOR)
    for _ in range(int(within_s / _LOOK_S)):
        if found is not None:
            break
        await asyncio.sleep(_LOOK_S)
        found = read_object(where.metadata / SUPERVISOR)
    return None if found is None else _addresses(request, found)


def _addresses(request: web.Request, advertised: dict[str, Any]) -> dict[str, str] | None:
    origin, port = advertised.get("public_origin"), advertised.get("port")
    if not isinstance(origin, str) or not origin:
        if not isinstance(port, int) or request.url.host not in _LOOPBACK:
            return None
        origin = f"http://127.0.0.1:{port}"
    origin = origin.rstrip("/")
    kind = str(advertised.get("kind") or "cg_run_supervisor")
    return {"kind": kind, "status_url": f"{origin}{_STATUS_ROUTE}", "logs_url": f"{origin}{_LOGS_ROUTE}"}


def _failed(status: HTTPStatus, error: str) -> web.Response:
    return web.json_response({"error": error}, status=status)

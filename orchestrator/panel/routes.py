"""The routes behind the page, each also under `/api`: from files, by the orchestrator's command or its control server."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any, Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from . import asking, leaving, place, proxy
from .metadata import STATUS, control_port, read_object, switch_logs

_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MOST_BODY_BYTES = 64 * 1024


async def switch_environment(request: web.Request) -> web.Response:
    """Switch to `target_env` (of the workspace in `workspace_path`, only where this ComfyUI is in none itself)."""
    body = await _json_object(request)
    if body is None:
        return _failed(HTTPStatus.BAD_REQUEST, "Invalid JSON")
    target, path = body.get("target_env"), body.get("workspace_path")
    if not isinstance(target, str) or not target:
        return _failed(HTTPStatus.BAD_REQUEST, "target_env required")
    if path is not None and not isinstance(path, str):
        return _failed(HTTPStatus.BAD_REQUEST, "workspace_path has to be a text")
    here, other = place.here(), place.named(path) if path else None
    if path and other is None:
        return _failed(HTTPStatus.NOT_FOUND, f"Workspace not found at {path}")
    managed = here if here is not None and here.environment else None
    if other is not None and managed is not None and other.root != managed.root:
        # Two orchestrators would want the same port: the one that is left starts its ComfyUI again.
        return _failed(HTTPStatus.BAD_REQUEST, "This ComfyUI belongs to another workspace")
    where = managed or other
    if where is None:
        return _failed(HTTPStatus.INTERNAL_SERVER_ERROR, "Not in managed environment")
    if target not in where.environments():
        return _failed(HTTPStatus.NOT_FOUND, f"Environment {target!r:.300} not found")
    return await asking.switch(request, where, target)


async def switch_status(_request: web.Request) -> web.Response:
    """Where the switch stands, with the end of its log."""
    where = place.here()
    if where is None or not where.environment:
        message = "Server restarting or environment not detected"
        return web.json_response({"state": "unknown", "message": message})
    status = read_object(where.metadata / STATUS)
    if status is None or not status.get("target_env"):
        idle = {"state": "idle", "progress": 0, "current_env": where.environment, "message": "No switch in progress"}
        return web.json_response(idle)
    return web.json_response({**status, "logs": switch_logs(where.metadata)})


async def environments(_request: web.Request) -> web.Response:
    """The workspace's environments, and which one this is."""
    where = place.here()
    if where is None:
        return web.json_response({"environments": [], "current": None, "is_managed": False})
    current = where.environment
    listed = [
        {"name": name, "is_current": name == current, "path": str(where.root / "environments" / name)}
        for name in where.environments()
    ]
    return web.json_response(
        {
            "environments": listed,
            "current": current or None,
            "is_managed": bool(current),
            "is_supervised": place.is_supervised(),
        }
    )


async def orchestrator_port(_request: web.Request) -> web.Response:
    """The port of the orchestrator's control server."""
    where = place.here()
    port = None if where is None else control_port(where.metadata)
    if port is None:
        return _failed(HTTPStatus.NOT_FOUND, "Control server not running")
    return web.json_response({"port": port})


async def orchestrator_health(_request: web.Request) -> web.Response:
    """The orchestrator's `/health`."""
    return await proxy.asked("GET", "/health") or proxy.unavailable()


async def orchestrator_status(_request: web.Request) -> web.Response:
    """The orchestrator's `/status`."""
    return await proxy.asked("GET", "/status") or proxy.unavailable()


async def orchestrator_restart(_request: web.Request) -> web.Response:
    """Restart through the orchestrator; without one, leave with 42."""
    answer = await proxy.asked("POST", "/restart")
    if answer is not None:
        return answer
    leaving.leave_soon(leaving.EXIT_RESTART)
    return web.json_response({"status": "restarting", "fallback": "local_manager"})


async def orchestrator_kill(_request: web.Request) -> web.Response:
    """Stop ComfyUI and the orchestrator."""
    return await proxy.asked("POST", "/kill") or proxy.unavailable()


async def stop(_request: web.Request) -> web.Response:
    """Leave with 0: supervision ends, too."""
    leaving.leave_soon(leaving.EXIT_STOP)
    return web.json_response({"status": "stopping"})


async def reboot(_request: web.Request) -> web.Response:
    """Leave with 42: whoever supervises starts the same environment again."""
    leaving.leave_soon(leaving.EXIT_RESTART)
    return web.json_response({"status": "restarting"})


ROUTES: dict[tuple[str, str], Handler] = {
    ("POST", "/v2/comfygit/switch_environment"): switch_environment,
    ("GET", "/v2/comfygit/switch_status"): switch_status,
    ("GET", "/v2/comfygit/environments"): environments,
    ("GET", "/v2/comfygit/orchestrator_port"): orchestrator_port,
    ("GET", "/v2/comfygit/orchestrator/health"): orchestrator_health,
    ("GET", "/v2/comfygit/orchestrator/status"): orchestrator_status,
    ("POST", "/v2/comfygit/orchestrator/restart"): orchestrator_restart,
    ("POST", "/v2/comfygit/orchestrator/kill"): orchestrator_kill,
    ("POST", "/v2/comfygit/stop"): stop,
    ("POST", "/v2/manager/reboot"): reboot,
}
"""Method and path to handler."""


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers what is ours and nobody else's.

    Not a route table: a route that two custom nodes register keeps ComfyUI from starting.
    """
    path = request.path[len("/api") :] if request.path.startswith("/api/") else request.path
    ours = ROUTES.get((request.method, path))
    if ours is None or _is_taken(request):
        return await handler(request)
    if request.method == "POST" and _is_from_elsewhere(request):
        return _failed(HTTPStatus.FORBIDDEN, "Only ComfyUI's own page may ask for this")
    try:
        return await ours(request)
    except web.HTTPException:
        raise
    except Exception:  # noqa: BLE001 - it is the panel's fault, and no reason for a page without an answer
        _log.exception("[comfygit] answering %s %s", request.method, request.path)
        return _failed(
            HTTPStatus.INTERNAL_SERVER_ERROR, "This is a fault of the panel; ComfyUI's output has the details"
        )


def _is_taken(request: web.Request) -> bool:
    """Whether another handler has this very path: not the one that gives the page's files for any path."""
    found = request.match_info
    return found.http_exception is None and not isinstance(found.route.resource, web.StaticResource)


def _is_from_elsewhere(request: web.Request) -> bool:
    """Whether a page of another site asks: a browser says so where it matters."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return True
    origin = request.headers.get("Origin")
    # A page of another site cannot send the second one: only a proxy in front of ComfyUI does.
    names = {request.host.lower(), request.headers.get("X-Forwarded-Host", "").lower()}
    try:
        return origin is not None and urlsplit(origin).netloc.lower() not in names - {""}
    except ValueError:  # no address at all
        return True


async def _json_object(request: web.Request) -> dict[str, Any] | None:
    """The body; None when it is no JSON object, or too large."""
    body = bytearray()
    while len(body) <= MOST_BODY_BYTES and (chunk := await request.content.readany()):
        body += chunk
    try:
        document = json.loads(bytes(body)) if len(body) <= MOST_BODY_BYTES else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _failed(status: HTTPStatus, error: str) -> web.Response:
    return web.json_response({"error": error}, status=status)

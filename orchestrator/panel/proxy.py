"""The orchestrator's control server, asked in the name of a page that cannot reach it."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import web

from . import place
from .metadata import control_port, orchestrator_pid
from .place import Place

_PATIENCE_S: Final = 5.0
_MOST_BYTES: Final = 1 << 20


def unavailable(message: str = "No orchestrator answers; it is started with the next switch") -> web.Response:
    """That there is no orchestrator to ask."""
    return web.json_response(
        {"error": "orchestrator_unavailable", "message": message}, status=HTTPStatus.SERVICE_UNAVAILABLE
    )


async def asked(method: str, path: str) -> web.Response | None:
    """What the control server answers; None when there is none of this workspace.

    The port may by now be that of another workspace's orchestrator: it has to answer with the pid that the pid file names.
    One that does not answer in time may have understood all the same: that is an answer, 503.
    """
    where = place.here()
    port = None if where is None else control_port(where.metadata)
    if where is None or port is None:
        return None
    url = f"http://127.0.0.1:{port}"
    try:
        if not await _is_ours(where, url):
            return None
        status, body = await _ask(method, f"{url}{path}")
    except asyncio.TimeoutError:
        return unavailable(f"The orchestrator has not answered within {_PATIENCE_S:g} s")
    except (aiohttp.ClientError, OSError):
        return None
    return web.Response(status=status, body=body, content_type="application/json")


async def _is_ours(where: Place, url: str) -> bool:
    status, body = await _ask("GET", f"{url}/health")
    try:
        health = json.loads(body) if status == HTTPStatus.OK else None
    except ValueError:
        return False
    pid = orchestrator_pid(where.metadata)
    return isinstance(health, dict) and pid is not None and health.get("pid") == pid


async def _ask(method: str, url: str) -> tuple[int, bytes]:
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
    async with aiohttp.request(method, url, timeout=timeout) as answer:
        body = bytearray()
        while len(body) < _MOST_BYTES and (chunk := await answer.content.readany()):
            body += chunk
        return answer.status, bytes(body)

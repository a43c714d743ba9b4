"""The orchestrator's control server, asked in the name of a page that cannot reach it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import web

from . import place
from .metadata import control_port

_PATIENCE_S: Final = 5.0
_MOST_BYTES: Final = 1 << 20


def unavailable() -> web.Response:
    """That there is no orchestrator to ask."""
    message = "No orchestrator answers; it is started with the next switch"
    return web.json_response(
        {"error": "orchestrator_unavailable", "message": message}, status=HTTPStatus.SERVICE_UNAVAILABLE
    )


async def asked(method: str, path: str) -> web.Response | None:
    """What the control server answers; None when there is none, or none that answers."""
    where = place.here()
    port = None if where is None else control_port(where.metadata)
    if port is None:
        return None
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
    try:
        async with aiohttp.request(method, f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
            body = await answer.content.read(_MOST_BYTES)
            return web.Response(status=answer.status, body=body, content_type="application/json")
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
        return None

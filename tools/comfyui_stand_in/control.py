"""Routes that only the stand-in has, so that a test can drive and question it.

They answer whatever the stand-in is told to do wrong.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from comfyui_stand_in import misbehaviour, start_up

if TYPE_CHECKING:
    from comfyui_stand_in.server import PromptServer

ANSWER_FIRST_S = 0.05
"""Seconds between the answer to `POST /stand_in/exit` and the end."""


class Control:
    """The handlers, over one server."""

    def __init__(self, server: PromptServer) -> None:
        """Drive `server`."""
        self._server = server

    def table(self) -> list[web.RouteDef]:
        """Say which path is whose."""
        return [
            web.post("/stand_in/exit", self._exit),
            web.get("/stand_in/environ", self._environ),
            web.post("/stand_in/environ", self._environ),
            web.post("/stand_in/misbehave", self._misbehave),
            web.post("/stand_in/print", self._print),
        ]

    async def _exit(self, request: web.Request) -> web.Response:
        """Leave shortly, with `code`, as a custom node calling sys.exit does."""
        body = await request.json() if request.can_read_body else {}
        code = int(body.get("code", 0))
        self._server.loop.call_later(ANSWER_FIRST_S, start_up.leave, code)
        return web.json_response({"leaving_with": code})

    async def _environ(self, _request: web.Request) -> web.Response:
        """Say who we are and what we were given."""
        given = {k: v for k, v in os.environ.items() if k.startswith("COMFYGIT_")}
        return web.json_response(
            {
                "pid": os.getpid(),
                "ppid": os.getppid(),
                "cwd": str(Path.cwd()),
                "executable": sys.executable,
                "argv": sys.argv,
                "environ": given,
            }
        )

    async def _misbehave(self, request: web.Request) -> web.Response:
        """Take new orders, for what is not past: answers, prompts, the stop delay."""
        try:
            (orders,) = misbehaviour.parse(await request.json())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        self._server.misbehaviour = orders
        return web.json_response({"misbehaving": True})

    async def _print(self, request: web.Request) -> web.Response:
        """Print as the orders for a start do (`flood`, `flood_line_bytes`, `non_utf8`), now, and answer when it is out."""
        try:
            (orders,) = misbehaviour.parse(await request.json())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        await self._server.loop.run_in_executor(None, start_up.print_as_ordered, orders)
        return web.json_response({"printed": orders.flood})

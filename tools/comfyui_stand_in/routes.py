"""ComfyUI's own routes, in the shapes of version 0.3.64."""

from __future__ import annotations

import json
import os
import sys
import uuid
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from comfyui_stand_in.server import PromptServer

VERSION = "0.3.64"
_MEMORY_BYTES = 16 * 2**30
_PAGE = "<!doctype html><title>ComfyUI</title><p>A stand-in for ComfyUI.\n"


class Routes:
    """The handlers, over one server."""

    def __init__(self, server: PromptServer) -> None:
        """Answer for `server`."""
        self._server = server
        self._queue = server.prompt_queue

    def table(self) -> list[web.RouteDef]:
        """Say which path is whose."""
        return [
            web.get("/", self._root),
            web.get("/ws", self._websocket),
            web.get("/system_stats", self._system_stats),
            web.get("/prompt", self._prompt_info),
            web.post("/prompt", self._prompt),
            web.get("/queue", self._queue_state),
            web.post("/queue", self._change_queue),
            web.get("/history", self._history),
            web.get("/history/{prompt_id}", self._history),
            web.post("/interrupt", self._interrupt),
        ]

    async def _root(self, _request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        server = self._server
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sid = request.query.get("clientId") or uuid.uuid4().hex
        server.sockets[sid] = socket
        try:
            await server.send("status", {"status": self._queue.info(), "sid": sid}, sid)
            async for _message in socket:
                pass
        finally:
            server.sockets.pop(sid, None)
        return socket

    async def _system_stats(self, _request: web.Request) -> web.Response:
        return web.json_response({"system": _system(), "devices": [_device()]})

    async def _prompt_info(self, _request: web.Request) -> web.Response:
        return web.json_response(self._queue.info())

    async def _prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompt = body.get("prompt")
        if not isinstance(prompt, dict):
            return _refused("no_prompt", "No prompt provided")
        if not prompt:
            return _refused("prompt_no_outputs", "Prompt has no outputs")
        number, prompt_id = self._number(body), str(body.get("prompt_id", uuid.uuid4()))
        extra = dict(body.get("extra_data", {}))
        if "client_id" in body:
            extra["client_id"] = body["client_id"]
        self._queue.put((number, prompt_id, prompt, extra, list(prompt)))
        answer = {"prompt_id": prompt_id, "number": number, "node_errors": {}}
        return web.json_response(answer)

    def _number(self, body: dict[str, Any]) -> float:
        if "number" in body:
            return float(body["number"])
        number = self._server.number
        self._server.number += 1
        return -number if body.get("front") else number

    async def _queue_state(self, _request: web.Request) -> web.Response:
        queue = self._queue
        return web.json_response({"queue_running": queue.running, "queue_pending": queue.pending})

    async def _change_queue(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self._queue.clear()
        if "delete" in body:
            self._queue.delete(body["delete"])
        return web.Response()

    async def _history(self, request: web.Request) -> web.Response:
        history = self._queue.history
        if "prompt_id" in request.match_info:
            wanted = request.match_info["prompt_id"]
            history = {key: one for key, one in history.items() if key == wanted}
        return web.json_response(history)

    async def _interrupt(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except json.JSONDecodeError:
            body = {}
        self._queue.interrupt(body.get("prompt_id"))
        return web.Response()


def _refused(kind: str, message: str) -> web.Response:
    error = {"type": kind, "message": message, "details": message}
    body = {"error": {**error, "extra_info": {}}, "node_errors": {}}
    return web.json_response(body, status=400)


def _system() -> dict[str, Any]:
    return {
        "os": os.name,
        "ram_total": _MEMORY_BYTES,
        "ram_free": _MEMORY_BYTES // 2,
        "comfyui_version": VERSION,
        "required_frontend_version": "1.27.10",
        "installed_templates_version": "0.1.95",
        "required_templates_version": "0.1.95",
        "python_version": sys.version,
        "pytorch_version": "2.13.0+cpu",
        "embedded_python": False,
        "argv": sys.argv,
    }


def _device() -> dict[str, Any]:
    return {
        "name": "cpu",
        "type": "cpu",
        "index": None,
        "vram_total": _MEMORY_BYTES,
        "vram_free": _MEMORY_BYTES // 2,
        "torch_vram_total": _MEMORY_BYTES,
        "torch_vram_free": _MEMORY_BYTES // 2,
    }

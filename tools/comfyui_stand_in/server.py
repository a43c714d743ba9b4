"""The web server; custom nodes import it as `server`, as they do in ComfyUI."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from comfyui_stand_in import control, routes, start_up
from comfyui_stand_in.prompt_queue import PromptQueue

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from comfyui_stand_in.command_line import Arguments
    from comfyui_stand_in.misbehaviour import Misbehaviour

log = logging.getLogger(__name__)


class PromptServer:
    """Holds what custom nodes use: `instance`, `routes`, `app`, `loop`, `send_sync`."""

    instance: ClassVar[PromptServer]

    def __init__(self, loop: asyncio.AbstractEventLoop, misbehaviour: Misbehaviour) -> None:
        """Make the application; nothing listens yet."""
        PromptServer.instance = self
        self.loop = loop
        self.misbehaviour = misbehaviour
        self.routes = web.RouteTableDef()
        self.app = web.Application(middlewares=[self._misbehave])
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.prompt_queue = PromptQueue(tell=self.send_sync)
        self.number = 0
        self.address: str | None = None
        self.port: int | None = None
        self._stats_asked = 0
        self._sending: set[asyncio.Task[None]] = set()

    def send_sync(self, event: str, data: dict[str, Any], sid: str | None = None) -> None:
        """Send to the socket `sid`, or to all; may be called from any thread."""
        self.loop.call_soon_threadsafe(self._send_soon, event, data, sid)

    def _send_soon(self, event: str, data: dict[str, Any], sid: str | None) -> None:
        task = self.loop.create_task(self.send(event, data, sid))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def send(self, event: str, data: dict[str, Any], sid: str | None = None) -> None:
        """Send to the socket `sid`, or to all; a socket that is gone is no error."""
        for name, socket in list(self.sockets.items()):
            if sid in (None, name):
                try:
                    await socket.send_json({"type": event, "data": data})
                except ConnectionError:
                    log.warning("send error: socket %s is gone", name)

    def add_routes(self) -> None:
        """Take our routes and the custom nodes' ones, each also under `/api`."""
        own = [*routes.Routes(self).table(), *control.Control(self).table()]
        table = [*own, *(one for one in self.routes if isinstance(one, web.RouteDef))]
        self.app.add_routes(table)
        self.app.add_routes(web.route(one.method, "/api" + one.path, one.handler, **one.kwargs) for one in table)

    async def run(self, arguments: Arguments) -> None:
        """Listen and answer for ever. Raises OSError when an address is taken."""
        runner = web.AppRunner(self.app, access_log=None)
        await runner.setup()
        tls = _tls(arguments)
        scheme = "https" if tls else "http"
        verbose = not arguments.dont_print_server
        log.log(logging.INFO if verbose else logging.DEBUG, "Starting server\n")
        for address in arguments.listen.split(","):
            site = web.TCPSite(runner, address, arguments.port, ssl_context=tls)
            await site.start()
            self.address, self.port = self.address or address, arguments.port
            shown = f"[{address}]" if ":" in address else address
            if verbose:
                log.info("To see the GUI go to: %s://%s:%s", scheme, shown, self.port)
        self._plan_the_end()
        await self.prompt_queue.work(lambda: self.misbehaviour.prompt_s)

    def _plan_the_end(self) -> None:
        orders = self.misbehaviour
        code = orders.exit_code
        if orders.open_then_die_s is not None:
            code_then = 1 if code is None else code
            self.loop.call_later(orders.open_then_die_s, start_up.die, code_then)
        if orders.exit_after_s is not None:
            self.loop.call_later(orders.exit_after_s, start_up.leave, code or 0)

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        orders = self.misbehaviour
        path = request.path.removeprefix("/api")
        if path.startswith("/stand_in/"):
            return await handler(request)
        if orders.mute:
            await asyncio.Event().wait()
        await asyncio.sleep(orders.slow_s)
        if path == "/system_stats":
            return self._spoiled_stats(orders) or await handler(request)
        return await handler(request)

    def _spoiled_stats(self, orders: Misbehaviour) -> web.Response | None:
        self._stats_asked += 1
        if orders.flapping and self._stats_asked % 2 == 0:
            return web.Response(status=500, text="stand-in: flapping")
        if orders.status is not None:
            return web.Response(status=orders.status, text="stand-in: told to")
        if orders.wrong_body:
            return web.json_response({"hello": "this is no ComfyUI"})
        return None


def _tls(arguments: Arguments) -> ssl.SSLContext | None:
    if not (arguments.tls_keyfile and arguments.tls_certfile):
        return None
    context = ssl.SSLContext(protocol=ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.tls_certfile, arguments.tls_keyfile)
    return context

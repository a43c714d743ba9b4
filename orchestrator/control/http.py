"""The control server's HTTP. Imports aiohttp, a quarter of a second: import this late.

One connection carries one request and lives for a few seconds at most, whoever dawdles: that bounds slow headers, slow
bodies and slow readers alike. Above a number of connections the oldest goes first, so that a crowd of idle ones locks
nobody out.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from journal.errors import JournalError
from orchestrator.control import refusing
from orchestrator.control.answers import ControlHooks, answer
from orchestrator.errors import OrchestratorError

_log = logging.getLogger(__name__)

_LINGER_S: Final = 0.2  # to read on when a body was refused: else the sender sees a reset, not our answer
_HANDLERS_END_S: Final = 0.05
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": "comfygit-orchestrator",
    "Vary": "Origin",
}
_PREFLIGHT_HEADERS: Final = {"Allow": "GET, HEAD, OPTIONS", "Access-Control-Allow-Methods": "GET, HEAD"}


class _Connection(web.RequestHandler):
    """Says in JSON what is no HTTP, and keeps it out of the log: it is the sender's fault. Nothing else comes here."""

    def handle_error(self, *_args: Any, **_kwargs: Any) -> web.StreamResponse:
        return _refused(refusing.Refusal(HTTPStatus.BAD_REQUEST, "bad_request", "This is not a request in HTTP/1.1."))


class HttpServer(web.Server):
    """The protocol factory for `create_server`: `handle` answers every request that is HTTP."""

    def __init__(
        self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limits: refusing.Limits
    ) -> None:
        super().__init__(handle)
        self._limits = limits
        self._open: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}

    def __call__(self) -> web.RequestHandler:
        """A protocol for one connection."""
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._limits.connection_s,
            lingering_time=_LINGER_S,
            access_log=None,  # type: ignore[arg-type] # means none, as in its AppRunner
            auto_decompress=False,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Begin its time; called by the protocol."""
        super().connection_made(handler, transport)
        expiry = asyncio.get_running_loop().call_later(self._limits.connection_s, transport.abort)
        self._open[handler] = transport, expiry
        if len(self._open) > self._limits.connections:
            self._forget(next(iter(self._open)))

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget it; called by the protocol."""
        self._forget(handler)
        super().connection_lost(handler, exc)

    async def close(self) -> None:
        """End every connection; an answer under way has twice 0.05 s. The listening socket is not ours."""
        try:
            await asyncio.sleep(0)  # lets a request that has just arrived begin
            self.pre_shutdown()
            await self.shutdown(_HANDLERS_END_S)
        finally:
            for handler in list(self._open):
                self._forget(handler)
        await asyncio.sleep(0)  # the transports tell their protocols

    def _forget(self, handler: web.RequestHandler) -> None:
        transport, expiry = self._open.pop(handler, (None, None))
        if transport is not None and expiry is not None:
            expiry.cancel()
            transport.abort()


class Desk:
    """Takes one request at a time: refuses it, or asks the hooks and answers."""

    def __init__(self, hooks: ControlHooks, port: int, public_origin: str, limits: refusing.Limits) -> None:
        self._hooks = hooks
        self._port = port
        self._public_origin = public_origin
        self._limits = limits

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Never raises but for a cancellation, and then nothing was asked of the hooks."""
        reader = ""
        try:
            comfyui_port = self._hooks.comfyui_port()
            reader = self._reader(request, comfyui_port)
            refusal = self._refusal(request, comfyui_port) or await self._body_refusal(request)
            response = _refused(refusal) if refusal else self._answered(request)
        except (JournalError, OrchestratorError) as error:
            response = _response(HTTPStatus.SERVICE_UNAVAILABLE, _failure("unavailable", error.message, error.hint))
        except Exception:  # noqa: BLE001 - logged with its traceback, which is not for whoever asked
            _log.exception("answering %s %s", request.method, request.path)
            hint = "the orchestrator's log has the details; please report it"
            failure = _failure("internal_error", "This is a fault of the orchestrator", hint)
            response = _response(HTTPStatus.INTERNAL_SERVER_ERROR, failure)
        if reader and response.status != HTTPStatus.FORBIDDEN:
            response.headers["Access-Control-Allow-Origin"] = reader
        response.force_close()
        return response

    def _reader(self, request: web.BaseRequest, comfyui_port: int) -> str:
        """The origin of the page that may read the answer, be it an error; "" when there is none."""
        origin = request.headers.get("Origin", "")
        may_read = origin in refusing.allowed_origins(comfyui_port, self._public_origin)
        return origin if may_read and request.method in refusing.READING_METHODS else ""

    def _refusal(self, request: web.BaseRequest, comfyui_port: int) -> refusing.Refusal | None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
        return refusing.refusal(
            request.method,
            request.raw_path,
            headers,
            port=self._port,
            comfyui_port=comfyui_port,
            public_origin=self._public_origin,
        )

    async def _body_refusal(self, request: web.BaseRequest) -> refusing.Refusal | None:
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_s):
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > refusing.MAX_BODY_BYTES:
                        return refusing.too_big()
        except TimeoutError:
            return refusing.Refusal(HTTPStatus.REQUEST_TIMEOUT, "too_slow", "The body did not arrive in time.")
        except (web.RequestPayloadError, ConnectionError):
            return refusing.Refusal(HTTPStatus.BAD_REQUEST, "bad_body", "The body ended before it was complete.")
        return refusing.body_refusal(request.headers.get("Content-Type", ""), bytes(body))

    def _answered(self, request: web.BaseRequest) -> web.Response:
        if request.method == "OPTIONS":
            return web.Response(status=HTTPStatus.NO_CONTENT, headers=_HEADERS | _PREFLIGHT_HEADERS)
        return _response(HTTPStatus.OK, answer(self._hooks, request.path, self._port))


def _refused(refusal: refusing.Refusal) -> web.Response:
    headers = {"Allow": refusal.allow} if refusal.allow else {}
    response = _response(refusal.status, _failure(refusal.error, refusal.message), headers)
    response.force_close()
    return response


def _failure(code: str, message: str, hint: str = "") -> dict[str, str]:
    return {"error": code, "message": message} | ({"hint": hint} if hint else {})


def _response(status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    body = json.dumps(document).encode()
    return web.Response(
        status=status, body=body, headers={**_HEADERS, **(headers or {})}, content_type="application/json"
    )

"""The control server: what panels and command lines ask a running orchestrator over HTTP, on this machine only.

GET /health, /status, /logs and their `/v2/comfygit/` names, POST /restart and /kill. Who is refused: `refusing`.
`/logs` answers `{"logs": [{"timestamp", "level", "message"}, ...]}`, oldest first: the panel in the browser shows level
and message of each entry.
"""

import asyncio
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from orchestrator.control.answers import ControlHooks
from orchestrator.control.refusing import Limits
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.control.http import HttpServer

__all__ = ["HOST", "ControlHooks", "ControlServer", "ControlUnavailable"]

HOST: Final = "127.0.0.1"
"""Where it listens, whatever the configuration says."""

_BACKLOG = 64
_LIMITS = Limits()


class ControlUnavailable(OrchestratorError):  # noqa: N818 - the fact
    """There is no control server; everything else goes on."""


class ControlServer:
    """Belongs to the event loop that it was started in.

    `public_origin` ("" for none) is where a reverse proxy publishes it: advertised, and allowed to read as ComfyUI's page is.
    """

    def __init__(self, hooks: ControlHooks, *, public_origin: str = "", limits: Limits = _LIMITS) -> None:
        self._hooks = hooks
        self.public_origin = public_origin
        self._limits = limits
        self._listening: asyncio.Server | None = None
        self._http: HttpServer | None = None

    async def start(self, port_range: tuple[int, int], port: int | None) -> int:
        """Listen on `port`, or where that is taken or None on the first free one of the range, ends included.

        Gives the port. Never takes ComfyUI's own, which may be free only for the moment. Raises ControlUnavailable when
        there is none. Imports aiohttp.
        """
        from orchestrator.control import http as control_http

        if self._listening is not None:
            message = "starting the control server: it is started already"
            raise RuntimeError(message)
        listener = _first_free(port_range, port, self._hooks.comfyui_port())
        bound: int = listener.getsockname()[1]
        desk = control_http.Desk(self._hooks, bound, self.public_origin, self._limits)
        self._http = control_http.HttpServer(desk.handle, self._limits)
        self._listening = await asyncio.get_running_loop().create_server(
            self._http, sock=listener, backlog=_BACKLOG, start_serving=False
        )
        await self._listening.start_serving()  # a cancellation in here leaves something that `stop` can end
        return bound

    async def stop(self) -> None:
        """Listen no more and end every connection, in at most 0.3 s. An answer under way is given a moment.

        Twice is harmless; it can be started again afterwards.
        """
        listening, self._listening = self._listening, None
        http, self._http = self._http, None
        if listening is not None and http is not None:
            listening.close()
            await http.close()


def _first_free(port_range: tuple[int, int], port: int | None, comfyui_port: int) -> socket.socket:
    """A socket that listens. Raises ControlUnavailable."""
    first, last = port_range
    problem = "the range is empty"
    for candidate in _candidates(port_range, port):
        if candidate == comfyui_port:
            continue
        try:
            return _listener(candidate)
        except OSError as error:
            problem = f"port {candidate}: {error.strerror or error}"
    message = f"starting the control server on {HOST}, ports {first} to {last}: none is free ({problem})"
    raise ControlUnavailable(message, "free one, or set orchestrator.control_port_range in orchestrator_config.json")


def _candidates(port_range: tuple[int, int], port: int | None) -> Iterator[int]:
    if port is not None:
        yield port
    yield from range(port_range[0], port_range[1] + 1)


def _listener(port: int) -> socket.socket:
    """Bound and listening at once: two that are only bound do not see each other."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener

"""A control server of a test's own, the least of an orchestrator behind it, and a client that sends any bytes."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from journal.clock import Stamp
from journal.events import Role
from journal.identity import own_identity
from orchestrator.control.refusing import Limits
from orchestrator.control.server import ControlServer
from orchestrator.logs.switch_log import LogEntry
from projections.state import Outcome, OutcomeState, Process, WorkspaceState

COMFYUI_PORT = 8188
PAGE = f"http://127.0.0.1:{COMFYUI_PORT}"
PATIENCE_S = 20.0
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
AT = Stamp(1_000_000_000, 1_000_000_000, "boot")
ENTRY: LogEntry = {"timestamp": "2026-03-01T12:00:00.000Z", "level": "info", "message": "Syncing beta"}
SERVING = WorkspaceState(
    environment="alpha",
    main=7,
    processes={
        7: Process(
            spawn=7,
            role=Role.MAIN,
            environment="alpha",
            fingerprint="",
            generation=None,
            port=COMFYUI_PORT,
            url=PAGE,
            owner=own_identity(),
            since=AT,
            identity=own_identity(),
        )
    },
)
ROLLED_BACK = Outcome(
    switch=5,
    state=OutcomeState.ROLLED_BACK,
    target="beta",
    source="alpha",
    serving="alpha",
    error="no main.py",
    recovery_command="",
    at=AT,
)


@attrs.define
class Orchestrator:
    """The least that a control server can ask of one."""

    now: WorkspaceState = SERVING
    uptime: float | None = 12.34567
    lines: Sequence[LogEntry | str] = (ENTRY,)
    problem: Exception | None = None
    page_port: int = COMFYUI_PORT
    asked: list[str] = attrs.Factory(list)

    def state(self) -> WorkspaceState:
        return self.now

    def comfyui_port(self) -> int:
        return self.page_port

    def uptime_s(self) -> float | None:
        return self.uptime

    def ask_restart(self) -> None:
        self._journal("restart")

    def ask_shutdown(self) -> None:
        self._journal("shutdown")

    def switch_log(self) -> Sequence[LogEntry | str]:
        return self.lines

    def _journal(self, wish: str) -> None:
        if self.problem is not None:
            raise self.problem
        self.asked.append(wish)


@attrs.frozen
class Answer:
    status: int
    headers: dict[str, str]
    document: Any


def in_event_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(PATIENCE_S):
                await test(*args, **kwargs)

        asyncio.run(bounded())

    return run


@asynccontextmanager
async def served(orchestrator: Orchestrator, limits: Limits | None = None, **kwargs: Any) -> AsyncIterator[int]:
    control = ControlServer(orchestrator, limits=limits or Limits(), **kwargs)
    try:
        yield await control.start((0, 0), None)
    finally:
        await control.stop()


async def exchange(port: int, raw: bytes) -> Answer | None:
    """What comes back for exactly these bytes; None when the connection ends without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = bytearray()
    try:
        writer.write(raw)
        while chunk := await reader.read(65_536):
            answered += chunk
    except ConnectionError:
        pass  # a reset after the answer: it had enough
    finally:
        writer.transport.abort()
    return parsed(bytes(answered))


def parsed(raw: bytes) -> Answer | None:
    if not raw:
        return None
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split()[1]), headers, json.loads(body) if body else None)


def written(port: int, line: str, *headers: str, body: bytes = b"", host: str | None = None) -> bytes:
    named = [f"Host: {f'127.0.0.1:{port}' if host is None else host}"]
    return "\r\n".join([f"{line} HTTP/1.1", *named, *headers, "", ""]).encode("latin-1") + body


async def ask(port: int, line: str, *headers: str, body: bytes = b"") -> Answer:
    found = await exchange(port, written(port, line, *headers, body=body))
    assert found is not None
    return found


def open_connections(control: ControlServer) -> int:
    return len(control._http._open) if control._http else 0

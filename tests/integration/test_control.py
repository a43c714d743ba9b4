"""The control server, asked over real sockets: who gets what, and who gets nothing."""

import asyncio
import functools
import json
import logging
import os
import socket
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from journal.clock import Stamp
from journal.errors import JournalWriteFailed
from journal.events import Role
from journal.identity import own_identity
from orchestrator.control import ControlServer, ControlUnavailable
from orchestrator.control_guard import Limits
from orchestrator.errors import OrchestratorError
from orchestrator.switch_log import LogEntry
from projections.state import Outcome, OutcomeState, Parked, Process, WorkspaceState
from tests.helpers.waiting import until_async

COMFYUI_PORT = 8188
PAGE = f"http://127.0.0.1:{COMFYUI_PORT}"
PATIENCE_S = 20.0
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


# ------------------------------------------------------------------ what is answered


@pytest.mark.parametrize("path", ["/health", "/v2/comfygit/supervisor/health"])
@in_event_loop
async def test_health_says_who_lives_and_what_runs(path: str) -> None:
    async with served(Orchestrator()) as port:
        answer = await ask(port, f"GET {path}")
    assert answer.status == 200
    assert answer.document == {
        "status": "alive",
        "pid": os.getpid(),
        "current_env": "alpha",
        "supervised": True,
        "port": port,
        "comfyui": {"pid": os.getpid(), "running": True, "uptime_seconds": 12.346},
    }
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers


@in_event_loop
async def test_health_without_a_comfyui() -> None:
    async with served(Orchestrator(WorkspaceState(), uptime=None)) as port:
        document = (await ask(port, "GET /health")).document
    assert document["current_env"] is None
    assert "comfyui" not in document


@in_event_loop
async def test_health_of_a_comfyui_that_has_just_ended() -> None:
    async with served(Orchestrator(uptime=None)) as port:
        document = (await ask(port, "GET /health")).document
    assert document["comfyui"] == {"pid": os.getpid(), "running": False, "uptime_seconds": 0.0}


@pytest.mark.parametrize("path", ["/status", "/v2/comfygit/switch_status"])
@in_event_loop
async def test_status_is_the_document_of_the_status_file(path: str) -> None:
    async with served(Orchestrator(attrs.evolve(SERVING, outcome=ROLLED_BACK))) as port:
        answer = await ask(port, f"GET {path}?t=1")
    assert answer.status == 200
    assert answer.document["state"] == "rolled_back"
    assert answer.document["target_env"] == "beta"
    assert answer.document["error"] == "no main.py"
    assert answer.document["switch_id"] == 5


@in_event_loop
async def test_status_is_idle_when_there_is_nothing_to_say() -> None:
    orchestrator = Orchestrator()
    async with served(orchestrator) as port:
        calm = (await ask(port, "GET /status")).document
        orchestrator.now = attrs.evolve(SERVING, parked=Parked("3 crashes", "look at the log, then restart", AT))
        parked = (await ask(port, "GET /status")).document
    assert calm == {"state": "idle", "progress": 0, "current_env": "alpha", "message": "No switch in progress"}
    assert parked["state"] == "idle"
    assert "3 crashes; look at the log, then restart" in parked["message"]


@pytest.mark.parametrize("path", ["/logs", "/v2/comfygit/switch_logs"])
@in_event_loop
async def test_logs_are_entries_as_the_panel_shows_them(path: str) -> None:
    async with served(Orchestrator(lines=[ENTRY, "only a \udcff line"])) as port:
        answer = await ask(port, f"GET {path}")
    assert answer.document == {
        "logs": [ENTRY, {"timestamp": None, "level": "info", "message": "only a \udcff line"}],
    }


@pytest.mark.parametrize(
    ("path", "wish", "status"), [("/restart", "restart", "restart_requested"), ("/kill", "shutdown", "shutting_down")]
)
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((), b""),
        (("Content-Type: application/octet-stream", "Content-Length: 0"), b""),
        (("Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
        (("Content-Type: application/json", "Content-Length: 2"), b"{}"),
        (("Content-Type: application/json", "Transfer-Encoding: chunked"), b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
    ],
)
@in_event_loop
async def test_a_program_may_ask(path: str, wish: str, status: str, headers: tuple[str, ...], body: bytes) -> None:
    orchestrator = Orchestrator()
    async with served(orchestrator) as port:
        answer = await ask(port, f"POST {path}", *headers, body=body)
    assert answer.status == 200
    assert answer.document["status"] == status
    assert answer.document["message"]
    assert orchestrator.asked == [wish]


@in_event_loop
async def test_the_panels_proxy_and_plain_python_get_through() -> None:
    orchestrator = Orchestrator()
    async with served(orchestrator) as port, aiohttp.ClientSession() as session:
        async with session.post(f"http://localhost:{port}/restart") as response:
            assert (await response.json())["status"] == "restart_requested"
        async with session.get(f"http://127.0.0.1:{port}/health") as response:
            assert (await response.json())["status"] == "alive"
        document = await asyncio.to_thread(plainly_read, f"http://127.0.0.1:{port}/status")
    assert document["state"] == "idle"
    assert orchestrator.asked == ["restart"]


def plainly_read(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
        return json.load(response)


@in_event_loop
async def test_a_head_has_no_body() -> None:
    async with served(Orchestrator()) as port:
        answer = await ask(port, "HEAD /health")
    assert answer.status == 200
    assert answer.document is None


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:8188",
        "https://localhost:8188",
        "http://[::1]:8188",
        "https://comfy.example.org",
    ],
)
@in_event_loop
async def test_comfyuis_page_may_read_from_its_own_origin(origin: str) -> None:
    async with served(Orchestrator(), public_origin="https://Comfy.example.org/panel") as port:
        for path, status in (("/status", 200), ("/logs", 200), ("/nothing", 404)):
            answer = await ask(port, f"GET {path}", f"Origin: {origin}")
            assert answer.status == status
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["vary"] == "Origin"
        preflight = await ask(port, "OPTIONS /status", f"Origin: {origin}", "Access-Control-Request-Method: GET")
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == origin
    assert preflight.headers["access-control-allow-methods"] == "GET, HEAD"
    assert "access-control-allow-headers" not in preflight.headers


@in_event_loop
async def test_the_page_moves_with_comfyuis_port() -> None:
    orchestrator = Orchestrator()
    async with served(orchestrator) as port:
        orchestrator.page_port = 9000
        assert (await ask(port, "GET /status", f"Origin: {PAGE}")).status == 403
        assert (await ask(port, "GET /status", "Origin: http://127.0.0.1:9000")).status == 200


# -------------------------------------------------------------------- what is refused

JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
CHUNK = b"400\r\n" + b" " * 0x400 + b"\r\n"

REFUSED: dict[str, tuple[Callable[[int], bytes], set[int]]] = {
    "foreign origin": (lambda p: written(p, "GET /status", "Origin: http://evil.example"), {403}),
    "null origin": (lambda p: written(p, "GET /logs", "Origin: null"), {403}),
    "origin of another port": (lambda p: written(p, "GET /health", f"Origin: http://127.0.0.1:{p}"), {403}),
    "origin that begins right": (lambda p: written(p, "GET /health", f"Origin: {PAGE}.evil.example"), {403}),
    "origin with a user": (lambda p: written(p, "GET /health", f"Origin: {PAGE}@evil.example"), {403}),
    "two origins": (lambda p: written(p, "GET /health", f"Origin: {PAGE}", "Origin: http://evil.example"), {400}),
    "rebound name": (lambda p: written(p, "POST /kill", host=f"evil.example:{p}"), {403}),
    "rebound name reads": (lambda p: written(p, "GET /logs", host=f"localhost.evil.example:{p}"), {403}),
    "host without its port": (lambda p: written(p, "POST /kill", host="127.0.0.1"), {403}),
    "host with a user": (lambda p: written(p, "POST /kill", host=f"127.0.0.1:{p}@evil.example"), {400, 403}),
    "two hosts": (lambda p: written(p, "POST /kill", "Host: evil.example"), {400}),
    "no host": (lambda _: b"POST /kill HTTP/1.1\r\n\r\n", {400, 403}),
    "no host, HTTP/1.0": (lambda _: b"POST /kill HTTP/1.0\r\n\r\n", {403}),
    "forwarded host": (lambda p: written(p, "POST /kill", f"X-Forwarded-Host: 127.0.0.1:{p}", host="evil"), {403}),
    "post from comfyui's page": (lambda p: written(p, "POST /restart", f"Origin: {PAGE}"), {403}),
    "post from a sandbox": (lambda p: written(p, "POST /restart", "Origin: null"), {403}),
    "post from any browser": (lambda p: written(p, "POST /restart", "Sec-Fetch-Site: same-origin"), {403}),
    "preflight": (
        lambda p: written(p, "OPTIONS /kill", f"Origin: {PAGE}", "Access-Control-Request-Method: POST"),
        {403},
    ),
    "form": (
        lambda p: written(
            p, "POST /kill", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 3", body=b"a=b"
        ),
        {415},
    ),
    "text that is json": (
        lambda p: written(p, "POST /kill", "Content-Type: text/plain", "Content-Length: 2", body=b"{}"),
        {415},
    ),
    "chunked form": (
        lambda p: written(p, "POST /kill", "Content-Type: multipart/form-data", CHUNKED, body=CHUNK + b"0\r\n\r\n"),
        {415},
    ),
    "no json": (lambda p: written(p, "POST /kill", JSON, "Content-Length: 2", body=b"{]"), {400}),
    "json list": (lambda p: written(p, "POST /kill", JSON, "Content-Length: 2", body=b"[]"), {400}),
    "deep json": (lambda p: written(p, "POST /kill", JSON, "Content-Length: 4096", body=b"[" * 4096), {400}),
    "1 GB announced": (
        lambda p: written(p, "POST /kill", JSON, "Content-Length: 1000000000", body=b"{" * 90_000),
        {413},
    ),
    "1 GB on a GET": (lambda p: written(p, "GET /logs", "Content-Length: 1000000000", body=b"{" * 90_000), {413}),
    "4097 bytes": (lambda p: written(p, "POST /kill", JSON, "Content-Length: 4097", body=b" " * 4095 + b"{}"), {413}),
    "chunks without end": (lambda p: written(p, "POST /kill", JSON, CHUNKED, body=CHUNK * 5), {413}),
    "body on a GET": (lambda p: written(p, "GET /logs", "Content-Length: 1", body=b"x"), {400}),
    "gzip": (
        lambda p: written(p, "POST /kill", JSON, "Content-Encoding: gzip", "Content-Length: 2", body=b"{}"),
        {415},
    ),
    "asks before it sends": (
        lambda p: written(p, "POST /kill", JSON, "Content-Length: 2", "Expect: 100-continue"),
        {417},
    ),
    "two lengths": (lambda p: written(p, "POST /kill", "Content-Length: 0", "Content-Length: 5", body=b"GET /"), {400}),
    "length and chunks": (lambda p: written(p, "POST /kill", "Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"), {400}),
    "bad chunk": (lambda p: written(p, "POST /kill", JSON, CHUNKED, body=b"zz\r\n{}"), {400}),
    "path upward": (lambda p: written(p, "POST /v2/../kill"), {400}),
    "path upward, escaped": (lambda p: written(p, "POST /%2e%2e/kill"), {400}),
    "path with two slashes": (lambda p: written(p, "POST //kill"), {400}),
    "path of a proxy": (lambda p: written(p, f"POST http://127.0.0.1:{p}/kill"), {400}),
    "file": (lambda p: written(p, "GET /journal.db"), {404}),
    "reading what acts": (lambda p: written(p, "GET /kill"), {405}),
    "acting on what reads": (lambda p: written(p, "POST /health"), {405}),
    "deleting": (lambda p: written(p, "DELETE /logs"), {405}),
    "tunnel": (lambda p: written(p, f"CONNECT 127.0.0.1:{p}"), {400}),
    "unknown verb": (lambda p: written(p, "KILL /kill"), {400, 405}),
    "small letters": (lambda p: written(p, "post /kill"), {400, 405}),
    "endless header": (lambda p: written(p, "POST /kill", "X: " + "x" * 20_000), {400}),
    "bare newlines": (lambda p: written(p, "POST /kill").replace(b"\r\n", b"\n"), {400}),
    "folded header": (lambda p: written(p, "POST /kill", "X: a", " b"), {400}),
    "space before the colon": (lambda p: written(p, "POST /kill", f"Origin : {PAGE}"), {400}),
    "newer HTTP": (lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "TLS": (lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n", {400}),
    "noise": (lambda _: bytes(range(256)) * 4 + b"\r\n\r\n", {400}),
}


@pytest.mark.parametrize(("raw", "statuses"), REFUSED.values(), ids=REFUSED)
@in_event_loop
async def test_refused_and_still_answering(
    raw: Callable[[int], bytes], statuses: set[int], caplog: pytest.LogCaptureFixture
) -> None:
    orchestrator = Orchestrator()
    async with served(orchestrator) as port:
        answer = await exchange(port, raw(port))
        assert answer is not None
        assert answer.status in statuses
        assert set(answer.document) == {"error", "message"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.status == 403:
            assert "access-control-allow-origin" not in answer.headers
        assert (await ask(port, "GET /health")).status == 200
    assert orchestrator.asked == []
    assert not caplog.records


@in_event_loop
async def test_a_request_hidden_behind_another_is_not_seen() -> None:
    orchestrator = Orchestrator()
    async with served(orchestrator) as port:
        hidden = written(port, "POST /kill")
        for first in (
            written(port, "GET /health"),
            written(port, "GET /health", "Connection: keep-alive"),
            written(port, "GET /health", "Connection: Upgrade", "Upgrade: websocket"),
            written(port, "POST /restart", "Content-Length: 0", f"Origin: {PAGE}"),
        ):
            answer = await exchange(port, first + hidden)
            assert answer is not None
            assert answer.headers["connection"] == "close"
    assert orchestrator.asked == []


@pytest.mark.parametrize("body", [b"Content-Length: 2\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{"])
@in_event_loop
async def test_a_request_that_breaks_off_asks_for_nothing(body: bytes) -> None:
    orchestrator = Orchestrator()
    async with served(orchestrator) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(written(port, "POST /kill", JSON).removesuffix(b"\r\n") + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await ask(port, "GET /health")).status == 200
    assert orchestrator.asked == []


# ----------------------------------------------------------------------- slow clients


@pytest.mark.parametrize("beginning", [b"", b"GET /hea", b"POST /kill HTTP/1.1\r\nX-Slow: "])
@in_event_loop
async def test_a_slow_header_does_not_hold_a_connection(beginning: bytes) -> None:
    """Also not when it goes on trickling in."""
    orchestrator = Orchestrator()
    async with served(orchestrator, Limits(connection_s=0.2)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(beginning)
        assert await trickled_until_closed(reader, writer, b"x" if beginning else b"") == b""
    assert orchestrator.asked == []


@pytest.mark.parametrize(
    ("headers", "drop"),
    [((JSON, "Content-Length: 4000"), b" "), ((JSON, CHUNKED), b"1\r\n \r\n")],
    ids=["length", "chunks"],
)
@in_event_loop
async def test_a_slow_body_is_given_up(headers: tuple[str, ...], drop: bytes) -> None:
    orchestrator = Orchestrator()
    async with served(orchestrator, Limits(body_s=0.1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(written(port, "POST /kill", *headers))
        answer = parsed(await trickled_until_closed(reader, writer, drop))
    assert answer is not None
    assert (answer.status, answer.document["error"]) == (408, "too_slow")
    assert orchestrator.asked == []


async def trickled_until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drop: bytes) -> bytes:
    """Send `drop` every 20 ms for as long as the other side listens; what it said."""
    said = bytearray()
    try:
        while True:
            try:
                async with asyncio.timeout(0.02):
                    chunk = await reader.read(65_536)
            except TimeoutError:
                writer.write(drop)
                continue
            if not chunk:
                return bytes(said)
            said += chunk
    except ConnectionError:
        return bytes(said)
    finally:
        writer.transport.abort()


@in_event_loop
async def test_a_client_that_never_reads_its_answer_is_let_go() -> None:
    control = ControlServer(Orchestrator(lines=["x" * 1_000_000] * 20), limits=Limits(connection_s=0.3))
    port = await control.start((0, 0), None)
    try:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(written(port, "GET /logs"))
            await until_async(lambda: open_connections(control) == 1)
            await until_async(lambda: open_connections(control) == 0)
    finally:
        await control.stop()


def open_connections(control: ControlServer) -> int:
    return len(control._http._open) if control._http else 0


@in_event_loop
async def test_a_crowd_of_idle_connections_locks_nobody_out() -> None:
    control = ControlServer(Orchestrator(), limits=Limits(connections=8))
    port = await control.start((0, 0), None)
    crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
    try:
        await until_async(lambda: open_connections(control) == 8)
        assert (await ask(port, "GET /health")).status == 200
        assert await exchange_ended(crowd[0][0]), "the oldest goes first"
        assert not crowd[-1][0].at_eof()
    finally:
        for _, writer in crowd:
            writer.transport.abort()
        await control.stop()


async def exchange_ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


# --------------------------------------------------------------------------- failures


@pytest.mark.parametrize("path", ["/restart", "/kill"])
@pytest.mark.parametrize(
    "problem",
    [JournalWriteFailed(Path("journal.db"), "the disk is full"), OrchestratorError("no", "try something else")],
    ids=["journal", "orchestrator"],
)
@in_event_loop
async def test_what_cannot_be_journaled_is_not_promised(
    path: str, problem: Any, caplog: pytest.LogCaptureFixture
) -> None:
    orchestrator = Orchestrator(problem=problem)
    async with served(orchestrator) as port:
        answer = await ask(port, f"POST {path}")
        orchestrator.problem = None
        assert (await ask(port, f"POST {path}")).status == 200
    assert answer.status == 503
    assert answer.document == {"error": "unavailable", "message": problem.message, "hint": problem.hint}
    assert not caplog.records


@in_event_loop
async def test_a_fault_of_ours_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    orchestrator = Orchestrator(problem=ZeroDivisionError("secret detail"))
    with caplog.at_level(logging.ERROR):
        async with served(orchestrator) as port:
            answer = await ask(port, "POST /kill")
            assert (await ask(port, "GET /health")).status == 200
    assert answer.status == 500
    assert answer.document["error"] == "internal_error"
    assert "secret" not in str(answer)
    assert "secret detail" in caplog.text


# -------------------------------------------------------------------- start and stop


@in_event_loop
async def test_the_given_port_goes_first_then_the_range() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        held = taken.getsockname()[1]
        free = free_port()
        control = ControlServer(Orchestrator())
        assert await control.start((held, held), free) == free
        other = ControlServer(Orchestrator())
        found = await other.start((held, held + 200), held)
        assert held < found <= held + 200
        assert (await ask(found, "GET /health")).document["port"] == found
        await other.stop()
        await control.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@in_event_loop
async def test_no_free_port_is_an_error_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        held = taken.getsockname()[1]
        control = ControlServer(Orchestrator())
        with pytest.raises(ControlUnavailable, match=str(held)) as caught:
            await control.start((held, held), held)
        assert "control_port_range" in caught.value.hint
        with pytest.raises(ControlUnavailable, match="empty"):
            await control.start((held, held - 1), None)
        await control.stop()


@in_event_loop
async def test_comfyuis_own_port_is_left_to_it() -> None:
    port = free_port()
    with pytest.raises(ControlUnavailable):
        await ControlServer(Orchestrator(page_port=port)).start((port, port), port)


@in_event_loop
async def test_it_listens_on_the_loopback_address_only() -> None:
    async with served(Orchestrator()) as port:
        for host in ("127.0.0.2", "::1"):
            with pytest.raises(OSError, match=r"Connect call failed|Cannot assign|not supported"):
                await asyncio.open_connection(host, port)


@in_event_loop
async def test_it_can_be_started_again_but_not_twice() -> None:
    control = ControlServer(Orchestrator())
    await control.stop()
    port = await control.start((0, 0), None)
    with pytest.raises(RuntimeError, match="started already"):
        await control.start((0, 0), None)
    await control.stop()
    await control.stop()
    assert await control.start((port, port), None) == port
    assert (await ask(port, "GET /health")).status == 200
    await control.stop()


@in_event_loop
async def test_a_start_that_is_cancelled_leaves_no_listener() -> None:
    control = ControlServer(Orchestrator())
    port = free_port()
    task = asyncio.create_task(control.start((port, port), None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    await control.stop()
    with socket.create_server(("127.0.0.1", port)):
        pass


@in_event_loop
async def test_stop_ends_every_connection_whatever_it_is_doing() -> None:
    orchestrator = Orchestrator(lines=["x" * 1_000_000] * 20)
    control = ControlServer(orchestrator)
    port = await control.start((0, 0), None)
    beginnings = [
        b"",
        b"GET /hea",
        written(port, "POST /kill", JSON, "Content-Length: 2", body=b"{"),
        written(port, "POST /kill", JSON, "Content-Length: 9000", body=b"{" * 5_000),
        written(port, "GET /logs"),
    ]
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in beginnings]
    for client, beginning in zip(clients, beginnings, strict=True):
        client.sendall(beginning)
    await until_async(lambda: open_connections(control) == len(clients))
    http = control._http
    assert http is not None
    loop = asyncio.get_running_loop()
    began = loop.time()
    await control.stop()
    assert loop.time() - began < 2.0, "0.3 s is promised"
    assert not http._open
    for client in clients:
        client.settimeout(PATIENCE_S)
        try:
            while client.recv(1_000_000):
                pass
        except ConnectionError:
            pass
        client.close()
    assert orchestrator.asked == []


@in_event_loop
async def test_an_answer_under_way_is_still_given() -> None:
    orchestrator = Orchestrator()
    control = ControlServer(orchestrator)
    port = await control.start((0, 0), None)
    asking = asyncio.create_task(ask(port, "POST /kill"))
    await until_async(lambda: orchestrator.asked)
    await control.stop()
    assert (await asking).document["status"] == "shutting_down"

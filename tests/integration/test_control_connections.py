"""The control server's port and connections: begun, bounded, ended."""

import asyncio
import socket

import pytest

from orchestrator.control.refusing import Limits
from orchestrator.control.server import ControlServer, ControlUnavailable
from tests.helpers.control_client import (
    CHUNKED,
    JSON,
    PATIENCE_S,
    Orchestrator,
    ask,
    in_event_loop,
    open_connections,
    parsed,
    served,
    written,
)
from tests.helpers.waiting import until_async

pytestmark = pytest.mark.slow


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

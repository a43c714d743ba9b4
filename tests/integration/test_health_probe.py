import asyncio
import contextlib
import errno
import json
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from orchestrator.network.health import MAX_BODY_BYTES, ProbeOutcome, Prober, _why_unconnected, probe

GOOD = {"system": {"argv": ["main.py"]}, "devices": []}
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def comfyui(handler=None, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """An HTTP server that answers /system_stats with what `handler` gives."""

    async def ready(_request: web.Request) -> web.Response:
        return web.json_response(GOOD)

    app = web.Application()
    app.router.add_get("/system_stats", handler or ready)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context)
    await site.start()
    try:
        yield f"{'https' if ssl_context else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def raw(peer: Peer) -> AsyncIterator[str]:
    """A TCP server that does what it likes."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await peer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 2)


def answering(body: bytes, status: int = 200, **headers: str):
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return handler


async def outcome_of(body: bytes, status: int = 200, **headers: str) -> ProbeOutcome:
    async with comfyui(answering(body, status, **headers)) as url:
        return await probe(url, 5.0)


def run(coroutine):
    return asyncio.run(coroutine)


def test_system_stats_with_a_system_is_ready():
    async def main() -> None:
        async with comfyui() as url:
            outcome = await probe(url, 5.0)
            assert (outcome.ok, outcome.status, outcome.error) == (True, 200, "")
            assert 0 < outcome.latency_ns < 5_000_000_000
            assert (await probe(url + "/", 5.0)).ok

    run(main())


@pytest.mark.scenario("HC-10")
@pytest.mark.parametrize("status", [201, 204, 301, 401, 404, 500, 503])
def test_any_other_status_is_not(status):
    outcome = run(outcome_of(b"", status, Location="/elsewhere"))
    assert (outcome.ok, outcome.status, outcome.error) == (False, status, f"HTTP {status}")


@pytest.mark.scenario("HC-10")
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "not ComfyUI: the answer is not JSON"),
        (b"<html>It works!</html>", "not ComfyUI: the answer is not JSON"),
        (b"\xff\xfe\x00", "not ComfyUI: the answer is not JSON"),
        (b"[" * 100_000, "not ComfyUI: the answer is not JSON"),
        (b"9" * 5_000, "not ComfyUI: the answer is not JSON"),
        (b"[]", "not ComfyUI: no `system` in the answer"),
        (b"null", "not ComfyUI: no `system` in the answer"),
        (b"{}", "not ComfyUI: no `system` in the answer"),
        (b'{"system": "linux"}', "not ComfyUI: no `system` in the answer"),
        (json.dumps({**GOOD, "pad": "x" * MAX_BODY_BYTES}).encode(), "not ComfyUI: the answer is over 1 MiB"),
    ],
    ids=["empty", "html", "binary", "deep", "number", "list", "null", "object", "text", "huge"],
)
def test_any_other_answer_is_not_comfyui(body, error):
    outcome = run(outcome_of(body))
    assert (outcome.ok, outcome.status, outcome.error) == (False, 200, error)


def test_an_answer_as_big_as_allowed_is_read():
    frame = len(json.dumps({**GOOD, "pad": ""}))
    body = json.dumps({**GOOD, "pad": "x" * (MAX_BODY_BYTES - frame)}).encode()
    assert len(body) == MAX_BODY_BYTES
    assert run(outcome_of(body)).ok


def test_a_redirect_to_a_real_one_is_not_followed():
    async def main() -> ProbeOutcome:
        async with comfyui() as good, comfyui(answering(b"", 302, Location=f"{good}/system_stats")) as url:
            return await probe(url, 5.0)

    assert run(main()).error == "HTTP 302"


@pytest.mark.scenario("HC-07")
def test_a_closed_port_refuses():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            outcome = run(probe(f"http://{host}:{port}", 5.0))
            assert (outcome.ok, outcome.status, outcome.error) == (False, None, "connection refused")


async def mute(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def trickle_headers(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(10_000):
        writer.write(f"X-{number}: y\r\n".encode())
        await writer.drain()
        await asyncio.sleep(0.02)


async def trickle_body(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(10_000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.scenario("HC-08")
@pytest.mark.parametrize("peer", [mute, trickle_headers, trickle_body])
def test_a_peer_that_never_finishes_is_a_failed_probe_at_the_timeout(peer):
    async def main() -> tuple[ProbeOutcome, float]:
        async with raw(peer) as url:
            begun = time.monotonic()
            return await probe(url, 0.3), time.monotonic() - begun

    outcome, took_s = run(main())
    assert (outcome.ok, outcome.status, outcome.error) == (False, None, "no answer within 0.3 s")
    assert outcome.latency_ns >= 300_000_000
    assert took_s < 5


@pytest.mark.scenario("HC-10")
@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", "connection closed before the answer was complete"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not ComfyUI: the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "connection closed before the answer was complete"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "not ComfyUI: the answer is not HTTP"),
        (b"\x00\x01\x02\x03\r\n\r\n", "not ComfyUI: the answer is not HTTP"),
    ],
    ids=["nothing", "ssh", "half", "long header", "binary"],
)
def test_a_peer_that_does_not_speak_http_fails_and_is_told_apart(said, error):
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async def main() -> ProbeOutcome:
        async with raw(peer) as url:
            return await probe(url, 5.0)

    assert run(main()).error == error


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://no.such.host.invalid:8188", "no such host"),
        ("http://127.0.0.1:99999", "not a URL"),
        ("nonsense", "not a URL"),
        ("", "not a URL"),
    ],
)
def test_addresses_that_lead_nowhere_fail(url, error):
    assert run(probe(url, 5.0)).error == error


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect"), "connection refused"),
        (OSError(errno.EHOSTUNREACH, "Connect call failed ('192.0.2.1', 1)"), "no connection: No route to host"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 101] Connect"),
            "no connection: Network is unreachable, Connection refused",
        ),
        (TimeoutError(), "no connection: TimeoutError"),
    ],
)
def test_why_there_was_no_connection_is_said_without_addresses(found, said):
    assert _why_unconnected(found) == said


def test_https_is_not_verified(tmp_path):
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=elsewhere"]
    files = [str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")]
    try:
        subprocess.run([*command, "-keyout", files[0], "-out", files[1]], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])

    async def main() -> None:
        async with comfyui(ssl_context=context) as url, comfyui() as plain:
            assert (await probe(url, 5.0)).ok
            assert not (await probe(url.replace("https", "http"), 5.0)).ok
            assert (await probe(plain.replace("http", "https"), 5.0)).error == "not ComfyUI: no TLS"

    run(main())


def test_no_proxy_of_the_environment_is_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.1:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    assert run(outcome_of(json.dumps(GOOD).encode())).ok


def test_each_probe_is_a_connection_of_its_own():
    """A kept one would still reach the ComfyUI that had the port before."""
    clients = set()

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        clients.add(request.transport.get_extra_info("peername"))
        return web.json_response(GOOD)

    async def main() -> None:
        prober = Prober()
        async with comfyui(handler) as url:
            for _ in range(3):
                assert (await prober.probe(url, 5.0)).ok
            await prober.close()
            assert (await prober.probe(url, 5.0)).ok
            await prober.close()
            await prober.close()

    run(main())
    assert len(clients) == 4


def test_it_can_be_cancelled():
    async def main() -> None:
        async with raw(mute) as url:
            task = asyncio.create_task(probe(url, 60.0))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())

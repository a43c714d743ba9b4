"""The control server against strangers: refused, nothing asked of the orchestrator, and it still answers."""

import asyncio
from collections.abc import Callable

import pytest

from tests.helpers.control_client import (
    JSON,
    PAGE,
    Orchestrator,
    ask,
    exchange,
    in_event_loop,
    served,
    written,
)
from tests.helpers.control_strangers import REFUSED


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

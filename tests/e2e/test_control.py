"""The control server of a living orchestrator: what strangers send it, and what it says while a switch is under way."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from journal.events import HealthConfirmed, ProcessSpawned, RestartRequested
from orchestrator.control.refusing import Limits
from tests.helpers.control_client import CHUNKED, JSON, ask, exchange, written
from tests.helpers.control_strangers import CHUNK, REFUSED
from tests.helpers.waiting import until

ANSWERS_WITHIN_S = 1.0
"""How long anybody may wait for /health, whatever else is going on."""
CROWD = 200


@pytest.mark.scenario("B-26")
def test_strangers_are_refused_change_nothing_and_keep_nobody_waiting(workspace):
    live = workspace(good=None)
    live.configure(calm_after_s=86_400)
    live.serve_kept("good")
    port = live.control_port()
    page = f"http://127.0.0.1:{live.port}"
    own_page = {
        "its page acts": (lambda p: written(p, "POST /kill", f"Origin: {page}"), {403}),
        "its page asks whether it may act": (lambda p: written(p, "OPTIONS /restart", f"Origin: {page}"), {403}),
        "its page from a rebound name": (
            lambda p: written(p, "GET /logs", f"Origin: {page}", host=f"evil.example:{live.port}"),
            {403},
        ),
        "100 kB of header": (lambda p: written(p, "POST /kill", "X: " + "x" * 100_000), {400, 0}),
    }
    before = head_of(live)

    async def knock() -> None:
        for name, (raw, statuses) in {**REFUSED, **own_page}.items():
            answer = await exchange(port, raw(port))
            assert (answer.status if answer else 0) in statuses, name  # 0: the connection was cut
            assert head_of(live) == before, name
            await answers_soon(port, name)

    asyncio.run(knock())
    assert len(REFUSED) >= 20

    assert live.ask("/health", port=port)["comfyui"]["pid"] == live.starts("good")[0]["pid"]
    asyncio.run(a_program_may_act(port))
    live.until(lambda state: state.restart_asked is None and len(live.of(HealthConfirmed)) == 2)
    assert len(live.of(RestartRequested)) == 1


async def a_program_may_act(port):
    """As the public panel's proxy sends it."""
    answer = await ask(port, "POST /restart", "Content-Type: application/octet-stream", "Content-Length: 0")
    assert (answer.status, answer.document["status"]) == (200, "restart_requested")


def head_of(live):
    return (live.metadata / "journal.head").read_bytes()


async def answers_soon(port, why):
    began = time.monotonic()
    async with asyncio.timeout(10):
        assert (await ask(port, "GET /health")).document["status"] == "alive", why
    assert time.monotonic() - began < ANSWERS_WITHIN_S, why


@pytest.mark.slow
@pytest.mark.scenario("B-26")
def test_dawdlers_and_a_crowd_lock_nobody_out_and_are_let_go(workspace):
    live = workspace(good=None)
    live.configure(calm_after_s=86_400)
    live.serve_kept("good")
    port = live.control_port()
    before = head_of(live)

    async def come_and_stay() -> None:
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CROWD)]
        await answers_soon(port, "a crowd of idle ones")
        dawdling = [asyncio.create_task(dawdle(port, *sent)) for sent in dawdlers(port).values()]
        until_over = asyncio.gather(*dawdling)
        while not until_over.done():
            await answers_soon(port, "dawdlers")
            await asyncio.sleep(0.25)
        for name, lasted_s in zip(dawdlers(port), await until_over, strict=True):
            assert lasted_s < Limits().connection_s + 2, name
        ended = [reader.read() for reader, _ in crowd]
        async with asyncio.timeout(Limits().connection_s + 2):
            await asyncio.gather(*ended, return_exceptions=True)
        for _, writer in crowd:
            writer.transport.abort()

    asyncio.run(come_and_stay())
    assert head_of(live) == before


def dawdlers(port):
    """What each begins with, and what it goes on with."""
    return {
        "slow headers": (b"POST /kill HTTP/1.1\r\nX-Slow: ", b"x"),
        "slow body": (written(port, "POST /kill", JSON, "Content-Length: 4000"), b" "),
        "slow chunks": (written(port, "POST /kill", JSON, CHUNKED), b"1\r\n \r\n"),
        "never ends": (written(port, "POST /kill", JSON, CHUNKED), CHUNK * 1_000),
        "1 GB": (written(port, "POST /kill", JSON, "Content-Length: 1000000000"), b" " * 1_000_000),
        "asks and never reads": (written(port, "GET /logs") * 1_000, b" "),
    }


async def dawdle(port, beginning, more):
    """Begin, and go on every now and then for as long as the other side stands it; how long that was, in seconds."""
    began = time.monotonic()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        writer.write(beginning)
        while not writer.transport.is_closing():
            writer.write(more)
            await asyncio.sleep(0.1)
    writer.transport.abort()
    return time.monotonic() - began


def test_health_is_right_in_every_stage_of_a_switch(workspace):
    live = workspace(good=None, other={"start_delay_s": 1})
    live.configure(source_grace_s=0)
    live.serve_kept("good")
    port = live.control_port()
    live.request("other", "good")
    said = list(polled(live, port))
    live.until_over()
    events = live.events()
    pids = {one.identity.pid: events[one.spawn - 1].event.environment for one in live.of(ProcessSpawned)}
    for health, _ in said:
        comfyui = health.get("comfyui")
        if comfyui is not None:
            assert comfyui["running"]
            assert comfyui["uptime_seconds"] >= 0
            assert health["current_env"] == pids[comfyui["pid"]]
    assert said[-1][0]["current_env"] == "other"
    assert {state for _, state in said} >= {"preparing", "validating", "complete"}
    assert {health["pid"] for health, _ in said} == {live.state().orchestrator.pid}


def polled(live, port) -> Iterator[tuple[dict[str, Any], str]]:
    """Health and stage, again and again until the switch has ended. None of it takes long."""
    state = ""
    while state not in {"complete", "rolled_back", "critical_failure"}:
        began = time.monotonic()
        health = live.ask("/health", port=port)
        assert time.monotonic() - began < ANSWERS_WITHIN_S
        state = live.ask("/v2/comfygit/switch_status", port=port)["state"]
        yield health, state


@pytest.mark.parametrize("origin", [None, "https://comfy.example.org"])
def test_the_control_server_is_advertised_and_its_page_may_read_while_comfyui_is_down(workspace, origin):
    live = workspace(good={"start_delay_s": 2})
    live.configure(public_origin=origin)
    live.start("good")
    advertised = until(lambda: read(live.metadata / ".supervisor_control.json"))
    port = advertised["port"]
    assert advertised == {"host": "127.0.0.1", "port": port, "kind": "manager_orchestrator"} | (
        {"public_origin": origin} if origin else {}
    )
    assert live.control_port() == port
    readers = [f"http://localhost:{live.port}", *([origin] if origin else [])]

    async def read_from_the_page() -> None:
        for reader in readers:
            answer = await ask(port, "GET /v2/comfygit/switch_status", f"Origin: {reader}")
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, reader)
        stranger = await ask(port, "GET /v2/comfygit/switch_status", "Origin: https://other.example.org")
        assert stranger.status == 403

    asyncio.run(read_from_the_page())
    assert not live.state().serving


def read(path):
    return json.loads(path.read_text()) if path.exists() else None

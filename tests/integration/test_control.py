"""The control server, asked over real sockets: who gets what answer."""

import asyncio
import json
import logging
import os
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from journal.errors import JournalWriteFailed
from orchestrator.errors import OrchestratorError
from projections.state import Parked, WorkspaceState
from tests.helpers.control_client import (
    AT,
    ENTRY,
    PAGE,
    PATIENCE_S,
    ROLLED_BACK,
    SERVING,
    Orchestrator,
    ask,
    in_event_loop,
    served,
)


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
async def test_health_names_the_environment_of_the_comfyui_that_it_names() -> None:
    """The old one is current for the workspace until the new one is healthy; by then another process is shown."""
    target = attrs.evolve(SERVING.processes[7], environment="beta")
    async with served(Orchestrator(attrs.evolve(SERVING, processes={7: target}))) as port:
        document = (await ask(port, "GET /health")).document
    assert (document["current_env"], document["comfyui"]["pid"]) == ("beta", os.getpid())


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
    async with served(Orchestrator(), public_origin="https://Comfy.example.org/") as port:
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

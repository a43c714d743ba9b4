"""What every end-to-end test gets: a live workspace that agrees with its journal in the end and leaves nothing running."""

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.helpers.bystanders import start_by_hand
from tests.helpers.live_workspace import LiveWorkspace

Maker = Callable[..., LiveWorkspace]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Maker]:
    """Call it with the environments and what each does wrong: `workspace(good=None, bad={"hang": True})`."""
    made: list[LiveWorkspace] = []

    def make(**environments: Mapping[str, object] | None) -> LiveWorkspace:
        live = LiveWorkspace(tmp_path / f"workspace-{len(made)}", environments)
        made.append(live)
        return live

    try:
        yield make
    finally:
        for live in made:
            live.close()
    for live in made:
        assert live.agrees()


@pytest.fixture
def by_hand(workspace: Maker) -> Iterator[Callable[[LiveWorkspace, str], subprocess.Popen[bytes]]]:
    """`by_hand(live, "good")`: a ComfyUI of that environment that nobody supervises."""
    started: list[subprocess.Popen[bytes]] = []

    def start(live: LiveWorkspace, name: str) -> subprocess.Popen[bytes]:
        started.append(start_by_hand(live, name))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def mute_url(tmp_path, monkeypatch) -> Iterator[str]:
    """Where a download begins and never goes on. A uv that is killed leaves a file in TMPDIR: that is the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/demo-1.0-py3-none-any.whl"

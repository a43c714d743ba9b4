"""Targets of a switch that gets stuck on the way, each in the stage that it is named after, for longer than any test waits."""

from collections.abc import Callable

from orchestrator.network.ports import is_port_open
from projections.state import WorkKind, WorkspaceState
from tests.helpers.live_workspace import LiveWorkspace

Arrange = Callable[[LiveWorkspace, str, str], None]
"""Given the workspace, the environment's name, and the URL of a server that accepts and never answers."""

PYPROJECT = """
[project]
name = "slow"
version = "0"
requires-python = ">=3.11"
dependencies = ["demo @ {url}"]
"""
LOCK = """
version = 1
requires-python = ">=3.11"

[[package]]
name = "demo"
version = "1.0"
source = {{ url = "{url}" }}
wheels = [{{ url = "{url}", hash = "sha256:{zeros}" }}]

[[package]]
name = "slow"
version = "0"
source = {{ virtual = "." }}
dependencies = [{{ name = "demo" }}]

[package.metadata]
requires-dist = [{{ name = "demo", url = "{url}" }}]
"""


def preparing(live: LiveWorkspace, name: str, _url: str) -> None:
    """The target's Python never gets anywhere."""
    python = live.root / "environments" / name / ".venv/bin/python"
    python.unlink()
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)


def syncing(live: LiveWorkspace, name: str, url: str) -> None:
    """The target's packages come from a server that does not answer."""
    folder = live.root / "environments" / name
    (folder / "pyproject.toml").write_text(PYPROJECT.format(url=url))
    (folder / "uv.lock").write_text(LOCK.format(url=url, zeros="0" * 64))


def validating(live: LiveWorkspace, name: str, _url: str) -> None:
    """The target accepts the first probe and never answers it."""
    live.order(name, {"mute": True})


def rolling_back(live: LiveWorkspace, name: str, _url: str) -> None:
    """The target dies, and the old one does not come up again."""
    live.order(name, {"die_at_start": 7})
    live.order("good", {"starts": [{}, {"hang": True}]})


def is_under_way(live: LiveWorkspace, state: WorkspaceState, stage: str) -> bool:
    """Whether the switch is in that stage, with a worker at work, a probe waiting or one that has failed."""
    job = state.job
    if job is None or job.public_state != stage:
        return False
    if state.job_process is None:
        return state.worker is not None and state.worker.kind in {WorkKind.PREFLIGHT, WorkKind.SYNC}
    return state.job_process.last_probe is not None or is_port_open("127.0.0.1", live.port, 1.0)

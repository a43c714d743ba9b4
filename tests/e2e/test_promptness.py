"""Nothing in the loop waits: in every stage it says where it is, and an abort or a stop is acted on at once."""

import json
import socket
from collections.abc import Iterator

import pytest

from journal.clock import S, elapsed_ns
from journal.events import (
    AbortRequested,
    LockReleased,
    OrchestratorStopped,
    ProcessIntended,
    ShutdownRequested,
    WorkerCancelled,
)

PROMPT_NS = 8 * S
"""A wide margin for what takes half a second; each stage is made to last 20 s at least."""

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


@pytest.fixture
def mute_url(tmp_path, monkeypatch) -> Iterator[str]:
    """Where a download begins and never goes on. A uv that is killed leaves a file in TMPDIR: that is the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/demo-1.0-py3-none-any.whl"


def preparing(live, _url):
    """The target's Python never gets anywhere."""
    python = live.root / "environments/bad/.venv/bin/python"
    python.unlink()
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)


def syncing(live, url):
    """The target's packages come from a server that does not answer."""
    folder = live.root / "environments/bad"
    (folder / "pyproject.toml").write_text(PYPROJECT.format(url=url))
    (folder / "uv.lock").write_text(LOCK.format(url=url, zeros="0" * 64))


def validating(live, _url):
    """The target never opens its port."""
    live.order("bad", {"hang": True})


def rolling_back(live, _url):
    """The target dies, and the old one does not come up again."""
    live.order("bad", {"die_at_start": 7})
    live.order("good", {"starts": [{}, {"hang": True}]})


def in_that_stage(workspace, arrange, url):
    """A workspace whose switch from good to bad stands in the stage that `arrange` is named after."""
    live = workspace(good=None, bad=None)
    live.configure(health_check_timeout_s=60)
    arrange(live, url)
    process = live.serve("good")
    live.control_port()
    live.cli("switch", "bad")
    live.until(lambda state: is_under_way(state, arrange.__name__))
    return live, process


def is_under_way(state, stage):
    job = state.job
    if job is None or job.public_state != stage:
        return False
    return state.worker is not None or (state.job_process is not None and state.job_process.last_probe is not None)


def check_that_it_says(live, stage):
    assert live.ask("/status", port=live.control_port())["state"] == stage
    assert live.ask("/health", port=live.control_port())["status"] == "alive"
    assert json.loads(live.cli("status", "--json").stdout)["switch"]["state"] == stage
    assert live.status()["state"] == stage


@pytest.mark.scenario("B-33")
@pytest.mark.parametrize("arrange", [preparing, syncing, validating])
def test_an_abort_is_acted_on_before_the_stage_would_end(workspace, mute_url, arrange):
    live, _ = in_that_stage(workspace, arrange, mute_url)
    check_that_it_says(live, arrange.__name__)
    assert live.cli("abort").returncode == 0
    assert live.until_over().serving == "good"
    (asked,), (ended,) = live.recorded(AbortRequested), live.recorded(LockReleased)
    assert elapsed_ns(asked.at, ended.at) < PROMPT_NS
    assert "aborted" in live.shown("rolled_back")["error"]
    assert len(live.starts("good")) == (2 if arrange is validating else 1)
    assert bool(live.of(WorkerCancelled)) is (arrange is not validating)


@pytest.mark.scenario("B-33")
@pytest.mark.parametrize("arrange", [preparing, syncing, validating, rolling_back])
def test_a_stop_is_acted_on_before_the_stage_would_end(workspace, mute_url, arrange):
    live, process = in_that_stage(workspace, arrange, mute_url)
    check_that_it_says(live, arrange.__name__)
    assert live.cli("stop").returncode == 0
    assert process.wait(10) == 0
    (asked,), (ended,) = live.recorded(ShutdownRequested), live.recorded(OrchestratorStopped)
    assert elapsed_ns(asked.at, ended.at) < PROMPT_NS
    assert live.names()[-3:] == ["switch.aborted", "lock.released", "orchestrator.stopped"]
    assert live.state().lock is None


@pytest.mark.scenario("B-33")
def test_an_abort_while_the_old_one_is_being_stopped_never_starts_the_target(workspace):
    live = workspace(good={"ignore_sigint": True}, bad=None)
    live.configure(stop_timeout_s=2)
    live.serve("good")
    live.control_port()
    live.cli("switch", "bad")
    live.until(lambda state: state.main_process is not None and state.main_process.stopping is not None)
    assert live.ask("/status", port=live.control_port())["state"] == "starting"
    live.command(command="abort_switch")
    assert live.until_over().serving == "good"
    asked, stopped = live.recorded(AbortRequested)[0], live.names().index("process.exited") + 1
    assert asked.seq < stopped
    assert [event.environment for event in live.of(ProcessIntended)] == ["good", "good"]


@pytest.mark.scenario("B-33")
@pytest.mark.parametrize("how", ["hangs", "is parked"])
def test_a_stop_outside_a_switch_is_prompt_too(workspace, how):
    live = workspace(bad={"hang": True} if how == "hangs" else {"die_at_start": 7})
    live.configure(crash_retry_max=0, health_check_timeout_s=60)
    process = live.start("bad")
    live.until(lambda state: state.parked is not None or (how == "hangs" and state.main_process is not None))
    assert live.cli("stop").returncode == 0
    assert process.wait(10) == 0
    (asked,), (ended,) = live.recorded(ShutdownRequested), live.recorded(OrchestratorStopped)
    assert elapsed_ns(asked.at, ended.at) < PROMPT_NS

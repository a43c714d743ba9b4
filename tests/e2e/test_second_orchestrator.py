"""A second orchestrator of the same workspace: it leaves at once, names the first one, and has changed nothing."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from journal.events import OrchestratorStarted, SwitchRefused

NOISE = {"orchestrator.log"}
"""Where whoever starts one detached has its output go: its own words are in there, and nothing else."""
HOW = {
    "as a panel starts it": ["-m", "orchestrator", "--environment", "other", "--args", "--port", "1"],
    "in the foreground": ["-m", "orchestrator", "run", "--environment", "other"],
    "without an environment": ["-m", "orchestrator", "run"],
    "for an environment that is none": ["-m", "orchestrator", "run", "--environment", "nowhere"],
}


def listing(metadata: Path) -> dict[str, tuple[object, ...]]:
    """Every file, what is in it, and when it was last written, changed or put in another one's place."""
    return {
        str(path.relative_to(metadata)): (
            path.stat().st_mtime_ns,
            path.stat().st_ctime_ns,
            path.stat().st_ino,
            path.stat().st_mode,
            path.stat().st_nlink,
            path.read_bytes() if path.is_file() else sorted(path.iterdir()),
        )
        for path in [metadata, *metadata.rglob("*")]
        if path.name not in NOISE
    }


def changes(before, after):
    """What differs, by file: what was there and what is there now."""
    return {name: (before.get(name), after.get(name)) for name in before | after if before.get(name) != after.get(name)}


def second(live, arguments):
    """It runs, and has ended."""
    command = [sys.executable, *arguments[:2], "--workspace", str(live.root), *arguments[2:]]
    if "run" in arguments:
        command = [sys.executable, *arguments, "--workspace", str(live.root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def first(live):
    """The pid that the first one's journal names, and its address."""
    state = live.state()
    return state.orchestrator.pid, f"http://127.0.0.1:{live.control_port()}"


@contextlib.contextmanager
def standing_still(pid):
    """That process does nothing, however long it takes."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def at_rest(live):
    """Nothing is written by itself any more: its probation is over, its content kept, its outcome not shown."""
    live.until(lambda state: state.probation is None and state.outcome is None and state.control is not None)


@pytest.mark.scenario("B-21")
@pytest.mark.parametrize("how", HOW)
def test_it_leaves_names_the_first_ones_pid_and_url_and_has_changed_no_file(workspace, how):
    live = workspace(good=None, other=None)
    live.configure(probation_s=0.1)
    live.serve_kept("good")
    at_rest(live)
    (pid, url), journal = first(live), live.names()
    before = listing(live.metadata)  # after the last look into the journal: SQLite may touch its files for any reader
    done = second(live, HOW[how])
    assert done.returncode == 1
    for said in (f"pid {pid}, {url}", "comfygit-orchestrator stop"):
        assert said in done.stderr
    assert changes(before, listing(live.metadata)) == {}
    assert live.names() == journal
    assert len(live.of(OrchestratorStarted)) == 1
    assert live.state().serving == "good"


@pytest.mark.scenario("B-21")
def test_it_leaves_to_the_first_one_what_is_asked_for_at_that_moment(workspace):
    live = workspace(good=None, slow={"start_delay_s": 2}, other=None)
    live.configure(source_grace_s=0)
    live.serve("good")
    live.control_port()
    live.request("slow", "good")
    live.until(lambda state: state.job is not None and state.job.stage == "validating")
    live.request("other", "good")
    done = second(live, HOW["as a panel starts it"])
    assert done.returncode == 1
    assert f"pid {first(live)[0]}" in done.stderr
    assert live.until_over().serving == "slow"
    assert len(live.of(OrchestratorStarted)) == 1
    assert [event.target for event in live.of(SwitchRefused)] == ["other"]


@pytest.mark.scenario("B-21")
def test_a_request_that_the_first_one_has_not_taken_in_yet_stays_as_it_lies_there(workspace):
    live = workspace(good=None, other=None)
    live.configure(probation_s=0.1)
    live.serve_kept("good")
    at_rest(live)
    pid, url = first(live)
    with standing_still(pid):
        live.request("other", "good")
        before = listing(live.metadata)
        done = second(live, HOW["as a panel starts it"])
        assert done.returncode == 1
        assert f"pid {pid}, {url}" in done.stderr
        assert changes(before, listing(live.metadata)) == {}
    assert live.until_over().serving == "other"

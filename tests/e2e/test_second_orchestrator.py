"""A second orchestrator of the same workspace: it leaves at once, names the first one, and has changed nothing."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from journal.codec import Draft, own_actor
from journal.events import OrchestratorLost, OrchestratorStarted, ProcessExited, SwitchRefused
from journal.identity import identify, is_alive
from orchestrator.alone import only_one
from orchestrator.ledger import Ledger
from orchestrator.running import start_as_meant
from orchestrator.starting import StartOptions
from orchestrator.workspace import Workspace
from tests.helpers.waiting import until

NOISE = {"orchestrator.log"}
"""Where whoever starts one detached has its output go: its own words are in there, and nothing else."""
LOCK_FILE = ".orchestrator.lock"
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


@pytest.mark.scenario("B-21")
@pytest.mark.parametrize("gone", [(LOCK_FILE,), (LOCK_FILE, ".orchestrator.pid", ".control_port")], ids=["it", "all"])
@pytest.mark.parametrize("how", HOW)
def test_with_the_lock_file_deleted_it_leaves_all_the_same(workspace, how, gone):
    live = workspace(good=None, other=None)
    live.configure(probation_s=0.1)
    live.serve_kept("good")
    at_rest(live)
    (pid, url), journal = first(live), live.names()
    with standing_still(pid):  # it would make them anew
        for name in gone:
            (live.metadata / name).unlink()
        before = listing(live.metadata)
        done = second(live, HOW[how])
        assert done.returncode == 1
        assert f"{live.root} is supervised already: orchestrator pid {pid}, {url}" in done.stderr
        # with no file left that names it the journal has to be read, and SQLite touches its files for any reader
        touched = {"journal.db-shm", "journal.db-wal"} if len(gone) > 1 else set()
        assert changes(before, listing(live.metadata)).keys() <= touched
        assert live.names() == journal
    assert live.state().serving == "good"


@pytest.mark.scenario("B-21")
def test_a_lock_file_that_somebody_put_in_place_of_the_first_ones_helps_nobody(workspace):
    live = workspace(good=None)
    live.serve_kept("good")
    pid, _ = first(live)
    with standing_still(pid):
        (live.metadata / LOCK_FILE).unlink()
        (live.metadata / LOCK_FILE).touch(0o600)
        done = second(live, HOW["in the foreground"])
    assert done.returncode == 1
    assert f"pid {pid}" in done.stderr
    assert len(live.of(OrchestratorStarted)) == 1


@pytest.mark.scenario("B-21")
def test_the_first_one_makes_its_deleted_lock_file_anew_and_says_so(workspace):
    live = workspace(good=None)
    live.serve_kept("good")
    (live.metadata / LOCK_FILE).unlink()
    until((live.metadata / LOCK_FILE).exists)
    until(lambda: LOCK_FILE in live.log())
    assert second(live, HOW["in the foreground"]).returncode == 1
    assert len(live.of(OrchestratorStarted)) == 1


@pytest.mark.scenario("B-21")
def test_a_copy_of_a_workspace_is_not_refused_because_of_the_originals_orchestrator(workspace, tmp_path):
    live = workspace(good=None)
    live.serve_kept("good")
    shutil.copytree(live.metadata, tmp_path / "copy" / ".metadata")
    copy = Workspace(tmp_path / "copy")
    only_one(copy).release()
    assert start_as_meant(copy, StartOptions()) == StartOptions()


@pytest.mark.scenario("B-21")
def test_one_that_finds_another_in_the_journal_leaves_with_its_guard_and_touches_nothing(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    before, other = live.state(), subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    now = identify(other.pid)
    assert now is not None
    taken_over = OrchestratorStarted(identity=now, release="", environment="", arguments=None, manual=False)
    with Ledger.open(Workspace(live.root), own_actor("test")) as ledger:
        ledger.ask(lambda _: (Draft(OrchestratorLost(identity=before.orchestrator)), Draft(taken_over)))
    assert guard.wait(10) == 0
    assert not is_alive(before.orchestrator)
    assert f"another orchestrator, pid {now.pid}, has taken over; what runs goes on" in live.log()
    state = live.state()
    assert state.orchestrator == now
    assert state.main_process == before.main_process
    assert is_alive(before.main_process.identity)
    assert not live.of(ProcessExited)
    os.kill(before.main_process.identity.pid, signal.SIGKILL)
    other.kill()
    other.wait()

"""A switch that is asked for inside a ComfyUI that nobody supervises: it has its time, it is replaced, it comes back."""

import subprocess
import sys

import pytest

from journal.clock import S, elapsed_ns
from journal.events import (
    Evidence,
    GenerationRecorded,
    JournalCreated,
    LockAcquired,
    OrchestratorStopped,
    ProcessExited,
    ProcessIntended,
    ProcessSignalled,
    RollbackTried,
    SourceSeen,
    SwitchFailed,
    SwitchPreflighted,
    SwitchRequested,
    SwitchRolledBack,
    SyncFinished,
)
from journal.identity import identify
from orchestrator.config import Config
from tests.helpers.bystanders import SteadyCaller


@pytest.mark.scenario("B-12")
def test_a_source_that_stays_has_its_time_is_stopped_and_only_then_the_target_starts(workspace, by_hand):
    live = workspace(good=None, other=None)
    live.configure(source_grace_s=1.5)
    source = by_hand(live, "good")
    expected = identify(source.pid)
    live.request("other", "good")
    live.start("other")
    state = live.until_over()
    assert state.serving == "other"
    assert source.wait(5) == 0  # as after Ctrl-C
    requested, seen = live.recorded(SwitchRequested)[0], live.recorded(SourceSeen)[0]
    assert seen.event.identity == expected
    signalled, gone = live.recorded(ProcessSignalled)[0], live.recorded(ProcessExited)[0]
    assert (signalled.event.spawn, signalled.event.signal) == (seen.seq, "SIGINT")
    assert 1.5 * S <= elapsed_ns(requested.at, signalled.at) < 6 * S
    preflighted, synced = live.recorded(SwitchPreflighted)[0], live.recorded(SyncFinished)[0]
    started = live.recorded(ProcessIntended)[0]
    assert requested.seq < preflighted.seq < synced.seq < signalled.seq < gone.seq < started.seq
    assert live.of(LockAcquired)[0].foreign
    assert live.of(LockAcquired)[0].holder == expected


@pytest.mark.scenario("B-12")
def test_a_source_that_does_not_heed_signals_is_gone_too_before_the_target_starts(workspace, by_hand):
    live = workspace(good={"ignore_sigint": True, "ignore_sigterm": True}, other=None)
    live.configure(source_grace_s=0.5, stop_timeout_s=0.5)
    source = by_hand(live, "good")
    live.request("other", "good")
    live.start("other")
    assert live.until_over().serving == "other"
    assert source.wait(5) == -9
    sent = [event.signal for event in live.of(ProcessSignalled)]
    assert sent == ["SIGINT", "SIGTERM", "SIGKILL"]
    gone, started = live.recorded(ProcessExited)[0], live.recorded(ProcessIntended)[0]
    assert (gone.event.spawn, started.event.environment) == (live.recorded(SourceSeen)[0].seq, "other")
    assert gone.seq < started.seq


@pytest.mark.scenario("B-12")
def test_unless_told_otherwise_a_source_has_5_seconds():
    assert Config().source_grace_s == 5


@pytest.mark.scenario("B-12")
def test_a_source_that_leaves_by_itself_in_its_time_is_never_signalled(workspace, by_hand):
    live = workspace(good=None, other=None)
    source = by_hand(live, "good")
    live.request("other", "good")
    live.start("other")
    live.until(lambda state: state.source_process is not None)
    live.leave(43)
    assert source.wait(5) == 43
    assert live.until_over().serving == "other"
    assert not live.of(ProcessSignalled)
    requested, started = live.recorded(SwitchRequested)[0], live.recorded(ProcessIntended)[0]
    assert elapsed_ns(requested.at, started.at) < 5 * S


@pytest.mark.scenario("B-12")
def test_a_stranger_on_the_port_is_named_and_never_signalled(workspace):
    live = workspace(good=None, other=None)
    live.configure(port_free_timeout_s=0.5)
    stranger = listen(live.port)
    try:
        live.request("other", "good")
        live.start("other")
        live.until_over()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert live.of(SwitchFailed)[0].reason == "port"
    assert f"pid {stranger.pid}" in live.of(SwitchFailed)[0].error
    assert "marked-stranger" in live.shown("critical_failure")["error"]
    assert not live.of(ProcessSignalled)
    assert not live.of(ProcessIntended)


def listen(port):
    """A program that has nothing to do with us, on that port."""
    code = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); print(flush=True); time.sleep(300)"
    stranger = subprocess.Popen([sys.executable, "-c", code, "marked-stranger"], stdout=subprocess.PIPE)
    stranger.stdout.readline()
    stranger.stdout.close()
    return stranger


@pytest.mark.scenario("B-42")
@pytest.mark.parametrize("broken", ["dies at start", "has no main.py"])
def test_the_very_first_switch_fails_after_its_source_has_left_and_the_source_serves_again(workspace, by_hand, broken):
    live = workspace(good=None, bad={"die_at_start": 7})
    if broken == "has no main.py":
        (live.comfyui("bad") / "main.py").unlink()
    source = by_hand(live, "good")
    live.request("bad", "good")
    live.leave(43)
    assert source.wait(5) == 43
    assert not (live.metadata / "journal.db").exists()
    live.start("bad")
    state = live.until_over()
    assert state.serving == "good"
    live.shown("rolled_back")
    assert live.ask("/stand_in/environ")["cwd"] == str(live.comfyui("good"))
    recorded = live.of(GenerationRecorded)[0]
    assert (recorded.environment, recorded.evidence) == ("good", Evidence.REQUESTER)
    assert [event.environment for event in live.of(RollbackTried)] == ["good"]
    assert not live.of(SwitchRolledBack)[0].nothing_stopped
    assert live.of(JournalCreated)


@pytest.mark.scenario("B-42")
def test_a_first_source_that_still_answers_is_probed_before_it_is_stopped_and_serves_again(workspace, by_hand):
    live = workspace(good=None, bad={"die_at_start": 7})
    live.configure(source_grace_s=3)
    source = by_hand(live, "good")
    live.request("bad", "good")
    live.start("bad")
    state = live.until_over()
    assert source.wait(5) == 0
    assert state.serving == "good"
    recorded = live.recorded(GenerationRecorded)[0]
    assert (recorded.event.environment, recorded.event.evidence) == ("good", Evidence.PROBED)
    assert recorded.event.spawn == live.recorded(SourceSeen)[0].seq
    assert recorded.seq < live.recorded(ProcessSignalled)[0].seq


def test_a_source_whose_switch_failed_before_anything_was_stopped_goes_on_and_we_leave_it_alone(workspace, by_hand):
    live = workspace(good=None, bad=None)
    live.configure(source_linger_s=0.5)
    (live.comfyui("bad") / "main.py").unlink()
    source = by_hand(live, "good")
    with SteadyCaller(live.port) as caller:
        live.request("bad", "good")
        process = live.start("bad")
        assert process.wait(20) == 0
    assert not caller.failures
    assert source.poll() is None
    assert live.of(SwitchRolledBack)[0].nothing_stopped
    assert not live.of(ProcessSignalled)
    assert f"pid {source.pid}" in live.of(OrchestratorStopped)[0].why


def test_a_source_that_leaves_with_43_after_its_switch_has_failed_is_started_again(workspace, by_hand):
    live = workspace(good=None, bad=None)
    (live.comfyui("bad") / "main.py").unlink()
    source = by_hand(live, "good")
    live.request("bad", "good")
    live.start("bad")
    live.until_over()
    assert live.of(SwitchRolledBack)[0].nothing_stopped
    live.leave(43)
    assert source.wait(5) == 43
    live.until(lambda state: state.serving == "good")
    assert not live.starts("bad")

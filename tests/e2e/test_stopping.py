"""How ComfyUI is stopped, rung by rung, and what its exit then means."""

import os
import signal

import psutil
import pytest

from journal.clock import S, elapsed_ns
from journal.events import (
    ExitCause,
    Ladder,
    OrchestratorStopped,
    ProcessExited,
    ProcessSignalled,
    ProcessSpawned,
    ProcessStopAsked,
    ShutdownRequested,
    SwitchAborted,
)
from journal.identity import identify, is_alive
from tests.helpers.waiting import until

STUBBORN = {"ignore_sigint": True, "ignore_sigterm": True, "fork_session": True}
MARGIN_NS = 1 * S
"""How much later than due a rung may be journaled on a busy machine."""


def rungs(live, asked):
    """(signal, whole tree, nanoseconds after the event `asked`) of each signal that was sent after it."""
    return [
        (recorded.event.signal, recorded.event.whole_tree, elapsed_ns(asked.at, recorded.at))
        for recorded in live.recorded(ProcessSignalled)
        if recorded.seq > asked.seq
    ]


def check_rungs(found, expected):
    """`expected`: (signal, whole tree, seconds)."""
    assert [rung[:2] for rung in found] == [rung[:2] for rung in expected]
    for (_, _, after_ns), (_, _, due_s) in zip(found, expected, strict=True):
        assert due_s * S <= after_ns < due_s * S + MARGIN_NS


def left_of(live, name):
    """The stand-in of that environment and the child that left its session, as far as they live."""
    pids = [start["pid"] for start in live.starts(name)]
    escaped = live.comfyui(name) / "fork_session.pid"
    pids += [int(escaped.read_text())] if escaped.exists() else []
    return [pid for pid in pids if identify(pid) is not None]


@pytest.mark.scenario("B-28")
def test_a_planned_stop_asks_then_terminates_then_kills_the_whole_tree(workspace):
    live = workspace(stubborn=STUBBORN, other=None)
    live.configure(stop_timeout_s=0.5)
    live.serve("stubborn")
    assert len(left_of(live, "stubborn")) == 2
    assert live.switch("other").serving == "other"
    (asked,) = live.recorded(ProcessStopAsked)
    assert asked.event.ladder is Ladder.PLANNED
    expected = [("SIGINT", False, 0), ("SIGTERM", True, 0.5), ("SIGKILL", True, 5.5)]
    check_rungs(rungs(live, asked), expected)
    gone = live.of(ProcessExited)[0]
    assert (gone.signal, gone.cause) == ("SIGKILL", ExitCause.STOPPED)
    assert not left_of(live, "stubborn")


@pytest.mark.scenario("B-28")
def test_our_own_end_is_over_before_whoever_signalled_us_loses_patience(workspace):
    live = workspace(stubborn=STUBBORN)
    process = live.serve("stubborn")
    process.send_signal(signal.SIGHUP)
    assert process.wait(10) == 0
    (asked,), (ended,) = live.recorded(ShutdownRequested), live.recorded(OrchestratorStopped)
    assert asked.event.urgent
    assert live.of(ProcessStopAsked)[0].ladder is Ladder.URGENT
    check_rungs(rungs(live, asked), [("SIGINT", False, 0), ("SIGTERM", True, 1.5), ("SIGKILL", True, 2.2)])
    assert elapsed_ns(asked.at, ended.at) < 2.5 * S + MARGIN_NS
    assert not left_of(live, "stubborn")


@pytest.mark.scenario("B-28")
def test_one_that_was_never_healthy_has_nothing_to_clean_up_and_a_second_to_go(workspace):
    live = workspace(good=None, bad={**STUBBORN, "hang": True})
    live.configure(source_grace_s=0)
    live.serve("good")
    live.request("bad", "good")
    live.until(lambda state: state.job is not None and len(left_of(live, "bad")) == 2)
    live.command(command="abort_switch")
    assert live.until_over().serving == "good"
    asked = next(r for r in live.recorded(ProcessStopAsked) if r.event.ladder is Ladder.DRAINED)
    assert asked.event.why == "the switch is given up"
    check_rungs(rungs(live, asked), [("SIGTERM", True, 0), ("SIGKILL", True, 1)])
    assert not left_of(live, "bad")


@pytest.mark.scenario("B-28")
def test_a_signal_to_us_in_the_middle_of_a_planned_stop_takes_the_fast_ladder_from_there(workspace):
    live = workspace(stubborn=STUBBORN)
    live.configure(stop_timeout_s=60)
    process = live.serve("stubborn")
    live.command(command="restart")
    live.until(lambda state: bool(live.of(ProcessSignalled)))
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert [event.ladder for event in live.of(ProcessStopAsked)] == [Ladder.PLANNED, Ladder.URGENT]
    asked = live.recorded(ShutdownRequested)[0]
    check_rungs(rungs(live, asked), [("SIGTERM", True, 1.5), ("SIGKILL", True, 2.2)])
    assert not left_of(live, "stubborn")


@pytest.mark.scenario("B-28")
def test_a_signal_to_us_during_a_switch_ends_both_and_says_how_to_go_on(workspace):
    live = workspace(good=None, bad={"hang": True})
    process = live.serve("good")
    live.request("bad", "good")
    live.leave(43)
    live.until(lambda state: state.job is not None and state.job.stage == "validating")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    names = live.names()
    assert names[-3:] == ["switch.aborted", "lock.released", "orchestrator.stopped"]
    status = live.status()
    assert status["state"] == "critical_failure"
    assert status["recovery_command"] == live.of(SwitchAborted)[0].recovery_command
    assert not (live.metadata / ".switch.lock").exists()
    assert not left_of(live, "bad")


@pytest.mark.scenario("B-28")
def test_what_comfyui_leaves_behind_when_it_ends_by_itself_is_ended_too(workspace):
    live = workspace(good={"double_fork": True})
    process = live.serve("good")
    orphan = int((live.comfyui("good") / "fork_session.pid").read_text())
    assert psutil.pid_exists(orphan)
    live.leave(0)
    assert process.wait(10) == 0
    assert identify(orphan) is None


@pytest.mark.scenario("B-22")
def test_sigint_to_comfyui_itself_is_a_clean_end_of_supervision(workspace):
    live = workspace(good=None)
    process = live.serve("good")
    os.kill(live.starts("good")[0]["pid"], signal.SIGINT)
    assert process.wait(10) == 0
    (gone,) = live.of(ProcessExited)
    assert (gone.code, gone.cause) == (0, ExitCause.CLEAN)
    assert not live.of(ProcessStopAsked)
    assert len(live.starts("good")) == 1
    assert live.of(OrchestratorStopped)[0].exit_status == 0


@pytest.mark.scenario("B-22")
def test_a_stop_that_we_asked_for_is_no_clean_end_even_if_somebody_adds_a_sigint(workspace):
    live = workspace(good={"stop_delay_s": 0.5})
    process = live.serve("good")
    first = live.of(ProcessSpawned)[0].identity
    assert live.cli("restart").returncode == 0
    live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    second = live.of(ProcessSpawned)[1].identity
    live.command(command="restart")
    live.until(lambda state: len(live.of(ProcessSignalled)) == 2)
    until(lambda: not is_listening(live))
    os.kill(second.pid, signal.SIGINT)
    live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 3)
    assert not is_alive(first)
    assert not is_alive(second)
    one, two = live.of(ProcessExited)
    assert (one.code, one.cause, two.cause) == (0, ExitCause.STOPPED, ExitCause.STOPPED)
    assert process.poll() is None


def is_listening(live):
    """Whether ComfyUI answers."""
    try:
        live.ask("/system_stats")
    except OSError:
        return False
    return True

"""Somebody sets the clock an hour back or ahead: no time-out is early or never, and no lock is broken for it."""

import os
import signal

import pytest

from journal.clock import S, elapsed_ns
from journal.events import (
    HealthFailed,
    LockBroken,
    OrchestratorLost,
    ProcessSignalled,
    ProcessSpawned,
    SwitchCompleted,
    SwitchRequested,
    WorkerCancelled,
)
from journal.identity import is_alive
from projections.switching import Stage
from tests.helpers.stepped_clock import HOUR_NS, SteppedClock
from tests.helpers.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.scenario("B-15")]

both_ways = pytest.mark.parametrize("step_ns", [HOUR_NS, -HOUR_NS], ids=["ahead", "back"])
MARGIN_NS = 8 * S
"""How late something may be on a machine that is busy with other tests; an hour is far beyond."""


@pytest.fixture
def machine(tmp_path):
    return SteppedClock(tmp_path)


def serving(workspace, machine, **environments):
    """A live workspace on that machine, with `one` serving."""
    live = workspace(**environments)
    live.configure(status_linger_s=2)
    live.start("one", **machine.environ)
    live.until(lambda state: state.serving == "one" and all(g.kept or g.not_kept for g in state.generations))
    return live


def switching(live, machine, stage):
    """A switch to `two` in that stage."""
    assert live.cli("switch", "two", **machine.environ).returncode == 0
    live.until(lambda state: state.job is not None and state.job.stage is stage)


def assert_stepped(live, step_ns):
    """The clock of the orchestrator was set."""
    stamps = [recorded.at for recorded in live.events()]
    offsets = [stamp.wall_ns - stamp.monotonic_ns for stamp in stamps]
    assert abs(offsets[-1] - offsets[0] - step_ns) < S


@pytest.mark.parametrize(
    ("stage", "step_ns"),
    [(Stage.PREPARING, HOUR_NS), (Stage.CLEARING, HOUR_NS), (Stage.CLEARING, -HOUR_NS), (Stage.VALIDATING, -HOUR_NS)],
)
def test_a_switch_takes_no_notice_of_a_clock_that_is_set(workspace, machine, stage, step_ns):
    live = serving(workspace, machine, one={"stop_delay_s": 0.7}, two={"start_delay_s": 0.7})
    slow_down_its_python(live, "two")
    switching(live, machine, stage)
    machine.step(step_ns)
    live.until_over()

    assert_stepped(live, step_ns)
    assert [event.environment for event in live.of(SwitchCompleted)] == ["two"]
    for unwanted in (HealthFailed, WorkerCancelled, LockBroken, OrchestratorLost):
        assert live.of(unwanted) == []
    (asked,), (done,) = live.recorded(SwitchRequested), live.recorded(SwitchCompleted)
    assert elapsed_ns(asked.at, done.at) < 20 * S
    assert {event.signal for event in live.of(ProcessSignalled)} == {"SIGINT"}
    live.until(lambda state: state.outcome is None, 20)  # the status is taken off the screen in its time
    assert live.agrees()


def slow_down_its_python(live, name):
    """So that its preflight can be seen."""
    python = live.root / "environments" / name / ".venv/bin/python"
    python.rename(python.with_name("quick"))
    python.write_text('#!/bin/sh\nsleep 0.7\nexec "${0%/*}/quick" "$@"\n')
    python.chmod(0o755)


@both_ways
def test_a_target_that_hangs_is_given_up_when_its_time_is_over_and_no_sooner(workspace, machine, step_ns):
    live = workspace(one=None, two={"hang": True})
    live.configure(health_check_timeout_s=4)
    live.start("one", **machine.environ)
    live.until(lambda state: state.serving == "one")
    switching(live, machine, Stage.VALIDATING)
    machine.step(step_ns)
    assert live.until_over().serving == "one"

    assert_stepped(live, step_ns)
    spawned = live.recorded(ProcessSpawned)[1]
    (failed,) = live.recorded(HealthFailed)
    assert failed.event.why == "timeout"
    assert 4 * S <= elapsed_ns(spawned.at, failed.at) < 4 * S + MARGIN_NS


@both_ways
def test_a_comfyui_that_ignores_the_first_signal_gets_the_second_when_its_time_is_over(workspace, machine, step_ns):
    live = serving(workspace, machine, one={"ignore_sigint": True}, two=None)
    switching(live, machine, Stage.CLEARING)
    live.until(lambda _: live.of(ProcessSignalled))
    machine.step(step_ns)
    assert live.until_over().serving == "two"

    first, second = live.recorded(ProcessSignalled)[:2]
    assert (first.event.signal, second.event.signal) == ("SIGINT", "SIGTERM")
    assert 3 * S <= elapsed_ns(first.at, second.at) < 3 * S + MARGIN_NS


@both_ways
def test_a_lock_of_others_is_taken_away_when_it_is_old_and_no_sooner(workspace, machine, step_ns):
    live = workspace(one=None, two=None)
    live.configure(lock_timeout_s=4)
    live.start("one", **machine.environ)
    live.until(lambda state: state.serving == "one")
    lock = live.metadata / ".switch.lock"
    before = live.events()[-1].at
    machine.touch(lock)
    refused = live.cli("switch", "two", **machine.environ)  # it wakes the orchestrator, which sees the lock
    assert refused.returncode == 1
    machine.step(step_ns)
    still = live.cli("switch", "two", **machine.environ)
    assert still.returncode == 1
    assert "another program touched .switch.lock" in still.stderr
    until(lambda: not lock.exists(), 20)

    assert_stepped(live, step_ns)
    (broken,) = live.recorded(LockBroken)
    assert broken.event.why == "foreign_stale"
    assert 4 * S <= elapsed_ns(before, broken.at) < 4 * S + MARGIN_NS
    assert live.cli("switch", "two", "--wait", **machine.environ).returncode == 0


@both_ways
def test_a_command_believes_no_clock_that_was_set_about_the_age_of_a_lock(workspace, machine, step_ns):
    """With no orchestrator alive, it has what the journal's last event says of the clocks."""
    live = serving(workspace, machine, one=None, two=None)
    live.stop()
    live.orchestrators.clear()
    machine.touch(live.metadata / ".switch.lock")
    machine.step(step_ns)

    refused = live.cli("switch", "two", **machine.environ)

    assert refused.returncode == 1
    assert "another program touched .switch.lock" in refused.stderr
    assert live.of(LockBroken) == []
    (live.metadata / ".switch.lock").unlink()


@both_ways
def test_an_orchestrator_that_is_killed_when_the_clock_is_set_is_followed_by_one_that_goes_on(
    workspace, machine, step_ns
):
    live = serving(workspace, machine, one=None, two={"start_delay_s": 1})
    comfyui = live.state().main_process.identity
    killed = live.state().orchestrator
    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: not is_alive(killed))
    machine.step(step_ns)
    live.start("one", **machine.environ)
    adopted = live.until(lambda state: state.orchestrator not in {None, killed} and state.serving == "one")
    assert adopted.main_process.identity == comfyui
    live.switch("two")
    assert live.state().serving == "two"
    assert_stepped(live, step_ns)

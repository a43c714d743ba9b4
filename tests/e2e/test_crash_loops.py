"""A ComfyUI that does not stay up: so many starts and no more, then it is left alone, and somebody is told what to do."""

import shlex
import subprocess

import pytest

from journal.clock import S, elapsed_ns
from journal.events import (
    ExitCause,
    HealthConfirmed,
    ProcessExited,
    ProcessIntended,
    StartKind,
    StartPlanned,
    SupervisionCalm,
    SupervisionParked,
    SwitchFailed,
    SwitchKind,
    SwitchRequested,
)
from orchestrator.config import Config
from orchestrator.deciding.situation import BREAKER_WINDOW_NS
from projections.state import STARTS_KEPT, OutcomeState

MOST_STARTS = 8
TOO_MANY = "7 starts within a minute that nobody had asked for"
AT_IMPORT = {code: f"exit code {code}" for code in (7, 42, 43)}
ONCE_HEALTHY = {7: "exit code 7", 42: TOO_MANY, 43: "exit code 43"}
"""How a ComfyUI leaves, again and again, and what has to be said when it is left alone. 43: nobody has asked for anything."""


def until_parked(live):
    return live.until(lambda state: state.parked is not None, timeout_s=60)


def assert_it_answers_and_says_what_to_do(live, *why):
    """The control server and the command line, of a parked orchestrator."""
    parked = live.state().parked
    port = live.control_port()
    assert live.ask("/health", port=port)["status"] == "alive"
    message = live.ask("/status", port=port)["message"]
    shown = live.cli("status")
    assert shown.returncode == 0
    for said in (message, shown.stdout):
        assert parked.advice in said
        for words in why:
            assert words in said
    command = parked.advice.partition("run: ")[2].partition(";")[0]
    assert shlex.split(command)[1:] == ["restart", "--workspace", str(live.root)]
    return command


def test_what_is_counted_is_a_minute_and_eight_starts():
    assert (BREAKER_WINDOW_NS, STARTS_KEPT + 1) == (60 * S, MOST_STARTS)
    assert Config().calm_after_s == 60


def leaves_whenever_it_is_healthy(live, code, times, before=0):
    """So many times in a row, of starts that become healthy after the first `before`."""
    for number in range(before + 1, before + times + 1):
        live.until(lambda state, number=number: bool(state.serving) and len(live.of(HealthConfirmed)) == number)
        live.leave(code)


def assert_it_was_left_alone_after_eight_starts(live, why):
    """And that it can be mended, by pasting what it says."""
    until_parked(live)
    starts = live.recorded(ProcessIntended)
    assert elapsed_ns(starts[0].at, starts[-1].at) < 60 * S  # else this machine was too slow to tell anything
    assert len(starts) == len(live.starts("bad")) == MOST_STARTS
    assert len(live.of(SupervisionParked)) == 1
    command = assert_it_answers_and_says_what_to_do(live, why)
    live.order("bad", None)
    pasted = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert pasted.returncode == 0, pasted.stderr
    live.until(lambda state: state.serving == "bad" and state.parked is None)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.scenario("B-23", "B-31")
@pytest.mark.parametrize("code", AT_IMPORT)
def test_one_that_leaves_at_import_makes_eight_starts_in_its_first_minute_then_it_is_left_alone(workspace, code):
    live = workspace(bad={"die_at_start": code})
    live.configure(crash_retry_max=100, crash_retry_delay_s=0.05)
    live.start("bad")
    assert_it_was_left_alone_after_eight_starts(live, AT_IMPORT[code])


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.scenario("B-23", "B-31")
@pytest.mark.parametrize("code", ONCE_HEALTHY)
def test_one_that_leaves_as_soon_as_it_is_healthy_does_not_go_on_for_ever_either(workspace, code):
    live = workspace(bad=None)
    live.configure(crash_retry_max=100, crash_retry_delay_s=0.05, probe_interval_s=0.02)
    live.start("bad")
    leaves_whenever_it_is_healthy(live, code, MOST_STARTS)
    assert_it_was_left_alone_after_eight_starts(live, ONCE_HEALTHY[code])


@pytest.mark.scenario("B-23")
def test_a_healthy_minute_forgets_the_crashes_and_the_starts_before_it(workspace):
    dies = {"die_at_start": 7}
    live = workspace(good={"starts": [dies, dies, {}, dies, {}]})
    live.configure(crash_retry_max=2, calm_after_s=0.5)
    live.start("good")
    live.until(lambda state: state.serving == "good" and state.crashes == 0)
    (calm,), healthy = live.recorded(SupervisionCalm), live.recorded(HealthConfirmed)[0]
    assert elapsed_ns(healthy.at, calm.at) >= 0.5 * S
    assert live.state().starts == ()

    live.leave(7)  # the first of two again, where two retries are allowed
    live.until(lambda state: len(live.of(SupervisionCalm)) == 2)
    assert live.state().serving == "good"
    retries = [event.attempt for event in live.of(StartPlanned) if event.kind is StartKind.RETRY]
    assert retries == [1, 2, 1, 2]
    assert not live.of(SupervisionParked)


@pytest.mark.scenario("B-23")
def test_without_that_minute_they_add_up_although_it_is_healthy_in_between(workspace):
    live = workspace(bad=None)
    live.configure(crash_retry_max=2)
    live.start("bad")
    leaves_whenever_it_is_healthy(live, 7, 3)
    until_parked(live)
    assert len(live.of(HealthConfirmed)) == len(live.starts("bad")) == 3
    assert_it_answers_and_says_what_to_do(live, "3 times in a row", "exit code 7")


@pytest.mark.scenario("B-31")
def test_one_43_without_a_request_is_a_crash_and_started_again(workspace):
    live = workspace(good=None)
    live.serve("good")
    live.leave(43)
    live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    (left,) = live.of(ProcessExited)
    assert (left.code, left.cause, live.state().crashes) == (43, ExitCause.CRASH, 1)
    planned = live.of(StartPlanned)[-1]
    assert (planned.kind, planned.asked) == (StartKind.RETRY, False)
    assert not live.of(SwitchRequested)


@pytest.mark.scenario("B-31")
@pytest.mark.parametrize(("code", "starts"), [(42, 4), (43, 1)])
def test_a_target_that_leaves_at_import_is_rolled_back(workspace, code, starts):
    live = workspace(good=None, bad={"die_at_start": code})
    live.serve("good")
    state = live.switch("bad")
    assert (state.serving, state.switches[-1].state) == ("good", OutcomeState.ROLLED_BACK)
    assert len(live.starts("bad")) == starts
    assert f"exit code {code}" in live.of(SwitchFailed)[0].error


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.scenario("B-31")
def test_a_target_that_restarts_itself_again_and_again_after_complete_is_given_up_for_what_served_before(workspace):
    live = workspace(good=None, bad=None)
    live.configure(probe_interval_s=0.02)
    live.serve("good")
    assert live.switch("bad").switches[-1].state is OutcomeState.COMPLETE
    leaves_whenever_it_is_healthy(live, 42, MOST_STARTS, before=1)
    state = live.until_over(2)
    assert (state.serving, state.switches[-1].state) == ("good", OutcomeState.ROLLED_BACK)
    assert len(live.starts("bad")) == MOST_STARTS
    recovery = live.recorded(SwitchRequested)[-1]
    assert recovery.event.kind is SwitchKind.RECOVER
    assert recovery.cause == live.recorded(ProcessExited)[-1].seq

"""The time after a switch in which a crash undoes it, and what ends that time without proving anything."""

import os
import signal

import pytest

from journal.clock import S, elapsed_ns
from journal.events import (
    ExitCause,
    GenerationDisproved,
    GenerationProven,
    GenerationRecorded,
    LockAcquired,
    Origin,
    ProcessExited,
    RollbackTried,
    StartKind,
    StartPlanned,
    SwitchKind,
    SwitchRequested,
)
from projections.state import OutcomeState


def switched(workspace, **settings):
    """A workspace in which `other` serves, just after a switch from `good`, which is proven."""
    live = workspace(good=None, other=None, third=None)
    live.configure(probation_s=0.1)
    live.serve("good")
    live.until(lambda state: state.generations != () and state.generations[0].proven)
    live.configure(source_grace_s=0, **settings)
    assert live.switch("other").switches[-1].state is OutcomeState.COMPLETE
    state = live.until(lambda state: state.probation is not None and state.probation.of_switch)
    assert (state.serving, state.probation.environment) == ("other", "other")
    return live


def evidence(live, environment="other"):
    """What became of that environment's generation."""
    (recorded,) = [r.seq for r in live.recorded(GenerationRecorded) if r.event.environment == environment]
    if recorded in [event.generation for event in live.of(GenerationProven)]:
        return "proven"
    return "disproved" if recorded in [event.generation for event in live.of(GenerationDisproved)] else "unproven"


@pytest.mark.scenario("B-08")
@pytest.mark.parametrize("how", ["exit code 7", "signal SIGKILL"])
def test_a_crash_goes_back_by_itself_as_a_switch_of_its_own_that_names_the_exit_as_its_cause(workspace, how):
    live = switched(workspace)
    if how == "exit code 7":
        live.leave(7)
    else:
        os.kill(live.starts("other")[0]["pid"], signal.SIGKILL)
    state = live.until_over(2)
    assert (state.serving, state.lock) == ("good", None)
    assert [outcome.state for outcome in state.switches] == [OutcomeState.COMPLETE, OutcomeState.ROLLED_BACK]

    crash = live.recorded(ProcessExited)[-1]
    assert crash.event.cause is ExitCause.CRASH
    first, recovery = live.recorded(SwitchRequested)
    assert recovery.seq != first.seq == state.switches[0].switch
    assert (recovery.event.kind, recovery.event.origin) == (SwitchKind.RECOVER, Origin.SUPERVISOR)
    disproved, taken = live.recorded(GenerationDisproved)[0], live.recorded(LockAcquired)[-1]
    assert {recovery.cause, disproved.cause, taken.cause} == {crash.seq}
    assert recovery.switch == taken.switch == recovery.seq
    assert [event.environment for event in live.of(RollbackTried)] == ["good"]
    assert len(live.starts("other")) == 1
    assert evidence(live) == "disproved"
    assert how in live.shown("rolled_back")["error"]
    told = live.cli("explain", tool="journal").stdout
    assert f"event {crash.seq}, process.exited" in told
    assert how in told


@pytest.mark.scenario("B-08")
def test_exit_0_ends_it_unproven_and_the_next_start_is_of_the_same_environment(workspace):
    live = switched(workspace)
    live.leave(0)
    assert live.orchestrators[-1].wait(15) == 0
    assert (evidence(live), live.state().probation) == ("unproven", None)
    live.start()
    live.until(lambda state: state.serving == "other")
    live.leave(7)  # which is no crash in the probation of a switch any more
    live.until(lambda state: state.serving == "other" and len(live.starts("other")) == 3)
    assert len(live.of(SwitchRequested)) == 1


@pytest.mark.scenario("B-08")
@pytest.mark.parametrize(("code", "kind"), [(42, StartKind.RESTART), (43, StartKind.RETRY)])
def test_exits_42_and_43_end_it_unproven_and_a_crash_after_them_does_not_go_back(workspace, code, kind):
    live = switched(workspace)
    live.leave(code)
    live.until(lambda state: state.serving == "other" and len(live.starts("other")) == 2)
    assert live.of(StartPlanned)[-1].kind is kind
    assert evidence(live) == "unproven"
    live.leave(7)
    live.until(lambda state: state.serving == "other" and len(live.starts("other")) == 3)
    assert live.of(StartPlanned)[-1].kind is StartKind.RETRY
    assert len(live.of(SwitchRequested)) == 1
    assert evidence(live) == "unproven"


@pytest.mark.scenario("B-08")
@pytest.mark.parametrize("how", ["by command", "by file, and it leaves with 43"])
def test_a_new_request_ends_it_unproven(workspace, how):
    live = switched(workspace)
    if how == "by command":
        assert live.switch("third").serving == "third"
    else:
        live.request("third", "other")
        live.leave(43)
        assert live.until_over(2).serving == "third"
    assert evidence(live) == "unproven"
    assert not live.of(GenerationDisproved)
    state = live.state()
    assert (state.probation.environment, state.probation.of_switch) == ("third", True)


@pytest.mark.scenario("B-08")
def test_after_its_time_a_crash_is_retried(workspace):
    live = switched(workspace, probation_s=1)
    live.until(lambda state: state.probation is None)
    assert evidence(live) == "proven"
    live.leave(7)
    live.until(lambda state: state.serving == "other" and len(live.starts("other")) == 2)
    assert len(live.of(SwitchRequested)) == 1


@pytest.mark.scenario("B-08", "B-22")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_an_end_of_the_session_that_comfyui_hears_first_leaves_the_switch_as_it_was(workspace, name):
    live, number = switched(workspace), signal.Signals[name]
    os.kill(live.state().main_process.identity.pid, number)
    state = live.until(lambda state: state.last_exit is not None and state.last_exit.signal == name)
    os.kill(state.orchestrator.pid, number)
    assert live.orchestrators[-1].wait(15) == 0
    state = live.state()
    assert (evidence(live), state.outcome, state.parked) == ("unproven", None, None)
    assert [outcome.state for outcome in state.switches] == [OutcomeState.COMPLETE]
    live.start()
    live.until(lambda state: state.serving == "other")


@pytest.mark.scenario("B-08", "B-22")
def test_where_only_comfyui_is_ended_it_is_a_crash_all_the_same_a_second_later(workspace):
    live = switched(workspace)
    os.kill(live.state().main_process.identity.pid, signal.SIGTERM)
    assert live.until_over(2).serving == "good"
    crash, recovery = live.recorded(ProcessExited)[-1], live.recorded(SwitchRequested)[-1]
    assert crash.event.cause is ExitCause.CRASH
    assert S <= elapsed_ns(crash.at, recovery.at) < 2 * S
    assert evidence(live) == "disproved"

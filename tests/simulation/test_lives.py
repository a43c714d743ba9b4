"""Whole stories in virtual time: what people ask, what ComfyUIs do, and what comes of it. Invariants are checked on the way."""

import math

import attrs
import pytest

from journal.clock import S, elapsed_ns
from journal.events import (
    AbortRequested,
    Evidence,
    ExitCause,
    GenerationDisproved,
    GenerationRecorded,
    HealthFailed,
    HealthProbed,
    HealthResponsive,
    HealthUnresponsive,
    Origin,
    ProcessExited,
    ProcessIntended,
    ProcessSignalled,
    RefusalReason,
    RollbackTried,
    RollbackTryFailed,
    StartPlanned,
    SupervisionParked,
    SwitchAborted,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchFailed,
    SwitchKind,
    SwitchRefused,
    SwitchRequested,
    SwitchRolledBack,
    SyncFinished,
    SyncSkipped,
    SyncStarted,
)
from orchestrator.config import Config
from orchestrator.world import AskKind
from projections.state import OutcomeState
from projections.switching import Stage
from projections.views import LOCK, PID, REQUEST, STATUS, status_document, views
from tests.helpers.simulated_comfyui import (
    DEAF,
    DIES_AT_START,
    HANGS,
    HEALTHY,
    Answer,
    Script,
    SimulatedEnvironment,
    Work,
    leaves_with,
)
from tests.helpers.simulated_world import BrokenInvariantError, SimulatedWorld

# slow when measured, and what it runs has unit tests of its own
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

A_MINUTE_AND_MORE = 75


def serving(*environments: SimulatedEnvironment | str, config: Config | None = None) -> SimulatedWorld:
    """`a` serves, proven; the other environments as given."""
    world = SimulatedWorld("a", *environments, config=config)
    world.run_orchestrator("a")
    world.run_to_rest()
    world.run(A_MINUTE_AND_MORE)
    assert world.state.serving == "a"
    return world


def switched(world: SimulatedWorld, target: str) -> OutcomeState:
    """How a switch by command ends."""
    world.ask_switch(target)
    world.run_until(lambda w: w.state.job is None)
    return OutcomeState(world.state.outcome.state)


def starts(world: SimulatedWorld) -> list[str]:
    """The environments that were started, in order."""
    return [event.environment for event in world.events(ProcessIntended)]


def shown(world: SimulatedWorld) -> list[str]:
    """The states that a page sees, replayed event by event."""
    from projections.evolve import evolve
    from projections.state import WorkspaceState

    state, seen = WorkspaceState(), ["idle"]
    for recorded in world.journal:
        state = evolve(state, recorded)
        document = status_document(state)
        name = "idle" if document is None else document["state"]
        if name != seen[-1]:
            seen.append(name)
    return seen


# ----------------------------------------------------------- start and end


@pytest.mark.scenario("OL-01", "OL-02", "OL-11")
def test_it_starts_its_environment_serves_and_ends():
    world = SimulatedWorld("a")
    world.run_orchestrator("a", arguments=["--cpu"])
    assert views(world.state)[PID] is not None
    world.run_to_rest()

    assert world.events(ProcessIntended)[0].command == ("/workspace/a/python", "main.py", "--cpu")
    world.ask_shutdown()
    world.run_until(lambda w: w.orchestrator is None)
    assert (world.exit_status, world.machine.alive()) == (0, [])
    assert views(world.state)[PID] is None


@pytest.mark.scenario("OL-05")
def test_a_comfyui_that_leaves_with_0_ends_supervision():
    world = SimulatedWorld(SimulatedEnvironment("a", [leaves_with(0)]))
    world.run_orchestrator("a")
    world.run_until(lambda w: w.orchestrator is None)

    assert (world.exit_status, starts(world)) == (0, ["a"])


@pytest.mark.scenario("OL-12", "OL-13", "B-28")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_to_us_ends_even_a_deaf_comfyui_within_two_and_a_half_seconds(name):
    world = SimulatedWorld(SimulatedEnvironment("a", [Script(ends_in_s=DEAF)]))
    world.run_orchestrator("a")
    world.run_to_rest()
    world.signal_orchestrator(name)
    world.run(2.5)

    assert (world.orchestrator, world.exit_status, world.machine.alive()) == (None, 0, [])
    assert [event.signal for event in world.events(ProcessSignalled)] == ["SIGINT", "SIGTERM", "SIGKILL"]


@pytest.mark.scenario("RF-02", "RF-04", "OL-03", "RF-03", "OL-07")
def test_two_restarts_then_a_clean_end_are_three_starts_of_the_same_environment():
    world = SimulatedWorld(SimulatedEnvironment("a", [leaves_with(42), leaves_with(42), leaves_with(0)]))
    world.run_orchestrator("a")
    world.run_until(lambda w: w.orchestrator is None)

    assert starts(world) == ["a", "a", "a"]
    assert len(world.events(SyncStarted)) + len(world.events(SyncSkipped)) == 3
    assert len(world.events(SyncStarted)) == 1


@pytest.mark.scenario("B-29")
def test_an_edited_environment_is_synced_before_it_is_started_again():
    world = SimulatedWorld(SimulatedEnvironment("a", [leaves_with(42), leaves_with(0)]))
    world.run_orchestrator("a")
    world.run_to_rest()
    world["a"].fingerprint = "edited"
    world.run_until(lambda w: w.orchestrator is None)

    assert (len(world.events(SyncStarted)), len(world.events(SyncSkipped))) == (2, 0)


def test_what_a_comfyui_leaves_behind_is_gone_before_the_next_start():
    world = SimulatedWorld(SimulatedEnvironment("a", [Script(exits_after_s=5, code=42, survivors=3), HEALTHY]))
    world.run_orchestrator("a")
    world.run_until(lambda w: len(starts(w)) == 2)

    assert world.machine.started[min(world.machine.started)].survivors == 0


# --------------------------------------------------------------- health


@pytest.mark.scenario("HC-01", "HC-09")
def test_healthy_is_three_journaled_successes_in_a_row():
    world = SimulatedWorld("a")
    world.run_orchestrator("a")
    world.run_to_rest()

    assert [probe.ok for probe in world.events(HealthProbed)][-4:] == [False, True, True, True]


@pytest.mark.scenario("HC-03")
@pytest.mark.parametrize("answer", [Answer.READY, Answer.ERROR, Answer.MUTE])
@pytest.mark.parametrize("timeout_s", [10.0, 60.0])
def test_never_ready_is_unhealthy_within_an_interval_of_the_deadline(answer, timeout_s):
    never = math.inf if answer is Answer.READY else 1.0
    script = Script(serves_after_s=never, answer=answer)
    config = Config(health_check_timeout_s=timeout_s, crash_retry_max=0)
    world = SimulatedWorld(SimulatedEnvironment("a", [script]), config=config)
    world.run_orchestrator("a")
    world.run_until(lambda w: w.events(HealthFailed), within_s=timeout_s + 5)

    (began_s,), (ended_s,) = world.times_s(ProcessIntended), world.times_s(HealthFailed)
    assert timeout_s <= ended_s - began_s <= timeout_s + 0.5


@pytest.mark.scenario("HC-04")
def test_alternating_answers_never_add_up():
    config = Config(health_check_timeout_s=20, crash_retry_max=0)
    world = SimulatedWorld(SimulatedEnvironment("a", [Script(answer=Answer.FLAPPING)]), config=config)
    world.run_orchestrator("a")
    world.run_to_rest()

    assert max(probe.successes for probe in world.events(HealthProbed)) == 2
    assert world.state.parked is not None


def test_somebody_else_on_the_port_is_never_healthy():
    world = SimulatedWorld("a", config=Config(health_check_timeout_s=20, crash_retry_max=0))
    world.run_orchestrator("a")
    world.run_until(lambda w: w.state.main is not None)
    world.machine.stranger = "pid 9 (nginx)"
    world.run_until(lambda w: w.events(HealthFailed))

    assert {probe.ok for probe in world.events(HealthProbed)} == {False}
    assert "nginx" in world.events(HealthProbed)[-1].error


# --------------------------------------------------------------- switches


@pytest.mark.scenario("OL-04")
def test_a_good_switch():
    world = serving("b")

    assert switched(world, "b") is OutcomeState.COMPLETE
    assert world.state.serving == "b"
    assert shown(world) == ["idle", "preparing", "syncing", "starting", "validating", "complete"]
    assert [process.environment for process in world.machine.alive()] == ["b"]
    world.check_replay()


def test_its_outcome_is_shown_for_ten_seconds():
    world = serving("b")
    switched(world, "b")
    world.run(9.9)
    assert views(world.state)[STATUS] is not None
    world.run(0.2)
    assert views(world.state)[STATUS] is None


def test_its_generation_is_proven_after_a_minute():
    world = serving("b")
    switched(world, "b")
    world.run(60.1)

    assert [(generation.environment, generation.proven) for generation in world.state.generations] == [
        ("a", True),
        ("b", True),
    ]


@pytest.mark.scenario("OL-04", "B-12")
@pytest.mark.parametrize("leaves_after_s", [0.5, 2.0, 4.9])
def test_a_switch_asked_by_the_page_waits_for_the_old_one_to_leave(leaves_after_s):
    world = serving("b")
    world["b"].syncs = [Work(takes_s=0)]
    world.write_request("b", "a")
    old = world.machine.alive()[0]
    world.at(leaves_after_s, lambda: old.end(world.machine.now_ns, 43))
    world.at(leaves_after_s, lambda: None)
    world.run_until(lambda w: w.state.job is None and w.state.serving == "b")

    assert world.events(ProcessSignalled) == []
    assert world.events(ProcessExited)[0].cause is ExitCause.SWITCH
    assert world.state.outcome.state is OutcomeState.COMPLETE


@pytest.mark.scenario("B-12")
def test_an_old_one_that_does_not_leave_is_stopped_five_seconds_after_the_request():
    world = serving("b")
    world.write_request("b", "a")
    world.run_until(lambda w: w.state.job is None and w.state.serving == "b")

    (asked_s,), (signalled_s,) = world.times_s(SwitchRequested), world.times_s(ProcessSignalled)
    assert signalled_s - asked_s == pytest.approx(5.0)


@pytest.mark.scenario("B-05")
@pytest.mark.parametrize("broken", ["preflights", "syncs"])
def test_a_target_that_breaks_before_its_start_costs_nothing(broken):
    world = serving("b")
    setattr(world["b"], broken, [Work(ok=False, problem="no main.py")])

    assert switched(world, "b") is OutcomeState.ROLLED_BACK
    assert starts(world) == ["a"]
    assert world.events(ProcessSignalled) == []
    assert world.events(SwitchRolledBack)[0].nothing_stopped
    assert "no main.py" in world.state.outcome.error


@pytest.mark.scenario("B-06")
@pytest.mark.parametrize(
    "script",
    [
        DIES_AT_START,
        HANGS,
        Script(serves_after_s=1, exits_after_s=1.9, code=1),
        Script(answer=Answer.ERROR),
        Script(answer=Answer.MUTE),
        Script(answer=Answer.FLAPPING),
        leaves_with(43, 0.4),
        leaves_with(42, 0.4),
        leaves_with(0, 0.4),
        Script(exits_after_s=1, code=None, signal="SIGSEGV"),
        Script(error="no such file"),
        Script(serves_after_s=math.inf, ends_in_s=DEAF, survivors=2),
    ],
    ids=[
        "dies",
        "hangs",
        "opens and dies",
        "500",
        "mute",
        "flaps",
        "43",
        "42 for ever",
        "0",
        "segv",
        "no exec",
        "deaf",
    ],
)
def test_a_target_that_breaks_is_rolled_back_and_the_old_one_validated(script):
    world = serving(SimulatedEnvironment("b", [script]), config=Config(health_check_timeout_s=20))

    assert switched(world, "b") is OutcomeState.ROLLED_BACK
    assert (world.state.serving, starts(world)[-1]) == ("a", "a")
    assert [process.environment for process in world.machine.alive()] == ["a"]
    assert shown(world)[-2:] == ["rolling_back", "rolled_back"]
    assert world.state.outcome.error
    world.check_replay()


@pytest.mark.scenario("B-06")
def test_a_target_that_opens_its_port_and_dies_three_seconds_later_is_rolled_back_by_a_switch_of_its_own():
    world = serving(SimulatedEnvironment("b", [Script(serves_after_s=1, exits_after_s=4, code=1)]))
    switched(world, "b")
    world.run_until(lambda w: w.state.serving == "a")

    assert world.state.outcome.state is OutcomeState.ROLLED_BACK
    assert world.events(SwitchRequested)[-1].kind is SwitchKind.RECOVER


@pytest.mark.scenario("B-07")
def test_the_healthy_generation_before_it_is_tried_when_the_old_one_is_broken_too():
    world = serving("b", SimulatedEnvironment("c", [DIES_AT_START]))
    switched(world, "b")
    world.run(A_MINUTE_AND_MORE)
    world["b"].scripts = [DIES_AT_START]

    assert switched(world, "c") is OutcomeState.ROLLED_BACK
    assert [tried.environment for tried in world.events(RollbackTried)] == ["b", "a"]
    assert world.state.serving == "a"


@pytest.mark.scenario("B-07")
def test_when_none_is_left_it_is_critical_and_its_command_works():
    world = serving(SimulatedEnvironment("b", [DIES_AT_START]))
    world["a"].scripts = [DIES_AT_START, HEALTHY]

    assert switched(world, "b") is OutcomeState.CRITICAL_FAILURE
    assert world.machine.alive() == []
    command = world.events(SwitchCriticallyFailed)[0].recovery_command
    assert command == "comfygit-orchestrator switch --workspace /workspace a"
    world.run(3600)
    assert views(world.state)[STATUS] is not None
    assert switched(world, command.split()[-1]) is OutcomeState.COMPLETE


def test_the_rollback_needs_no_sync_of_what_has_just_ended_well():
    world = serving(SimulatedEnvironment("b", [DIES_AT_START]))
    switched(world, "b")

    assert [event.environment for event in world.events(SyncSkipped)] == ["a"]


def test_a_failed_sync_of_a_target_that_was_healthy_as_it_is_is_tolerated():
    world = serving(SimulatedEnvironment("b", [Script(ends_in_s={"SIGTERM": 0.1})]))
    switched(world, "b")
    switched(world, "a")
    world["b"].syncs = [Work(ok=False, problem="no network")]

    assert switched(world, "b") is OutcomeState.COMPLETE
    assert world.events(SyncFinished)[-1].tolerated


# ------------------------------------------------------------ first switch


def first_switch(*, target: list[Script], leaves_after_s: float | None) -> SimulatedWorld:
    """A page of an unsupervised ComfyUI of `a` asks for `b`, starts us, and leaves with 43 (or not)."""
    world = SimulatedWorld("a", SimulatedEnvironment("b", target))
    source = world.start_foreign("a")
    world.run(30)
    world.write_request("b", "a", takes_s=0.3)
    if leaves_after_s is not None:
        world.at(leaves_after_s, lambda: source.end(world.machine.now_ns, 43))
    world.run_orchestrator("b")
    return world


@pytest.mark.scenario("B-42", "B-12")
@pytest.mark.parametrize("leaves_after_s", [0.0, 0.4, 2.0, None])
def test_the_very_first_switch_goes_through(leaves_after_s):
    world = first_switch(target=[HEALTHY], leaves_after_s=leaves_after_s)
    world.run_until(lambda w: w.state.serving == "b")

    assert world.state.outcome.state is OutcomeState.COMPLETE
    assert starts(world) == ["b"]


@pytest.mark.scenario("B-42")
@pytest.mark.parametrize(
    ("leaves_after_s", "evidence"), [(0.0, Evidence.REQUESTER), (2.0, None), (None, Evidence.PROBED)]
)
def test_the_very_first_switch_to_a_broken_target_brings_the_source_back(leaves_after_s, evidence):
    world = first_switch(target=[DIES_AT_START], leaves_after_s=leaves_after_s)
    world.run_until(lambda w: w.state.serving == "a")

    assert world.state.outcome.state is OutcomeState.ROLLED_BACK
    made = world.events(GenerationRecorded)[0]
    assert made.environment == "a"
    assert evidence is None or made.evidence is evidence


@pytest.mark.parametrize("leaves_after_s", [2.0, None])
def test_a_first_switch_that_fails_before_its_source_has_left(leaves_after_s):
    world = first_switch(target=[HEALTHY], leaves_after_s=leaves_after_s)
    world["b"].preflights = [Work(ok=False, problem="no main.py")]
    world.run_until(lambda w: w.state.outcome is not None)
    assert world.events(SwitchRolledBack)[0].nothing_stopped
    world.run(60)

    if leaves_after_s is None:
        assert (world.orchestrator, world.exit_status) == (None, 0)  # it serves without us
        assert len(world.machine.alive()) == 1
    else:
        assert world.state.serving == "a"


# -------------------------------------------------------- asked in between


@pytest.mark.scenario("B-14")
def test_of_two_requests_at_once_one_wins_and_the_other_is_told():
    world = serving("b", "c")
    world.ask_switch("b")
    refused = world.ask_switch("c")
    assert isinstance(refused, SwitchRefused)
    assert refused.why is RefusalReason.SWITCH_OPEN
    world.write_request("c", "a")
    world.run_to_rest()

    assert world.state.serving == "b"
    assert [event.why for event in world.events(SwitchRefused)] == [RefusalReason.SWITCH_OPEN] * 2
    assert world.machine.files == {}


def test_asking_for_what_serves_is_no_switch():
    world = serving()
    world.write_request("a", "a")
    world.run(1)

    assert world.events(SwitchRefused)[0].why is RefusalReason.ALREADY_SERVING
    assert shown(world)[-1] == "complete"


def test_a_43_that_follows_a_refused_request_starts_the_same_again():
    world = serving()
    world.write_request("nowhere", "a")
    world.at(2, lambda: world.machine.alive()[0].end(world.machine.now_ns, 43))
    world.run(2)
    assert world.machine.foreign_lock is None
    world.run_until(lambda w: w.state.serving == "a" and len(starts(w)) == 2)

    assert world.events(ProcessExited)[0].cause is ExitCause.SWITCH
    assert world.state.crashes == 0


@pytest.mark.scenario("B-33", "B-10")
@pytest.mark.parametrize("stage", [Stage.PREPARING, Stage.SYNCING, Stage.CLEARING, Stage.STARTING, Stage.VALIDATING])
def test_an_abort_in_any_stage_leaves_the_old_one_serving(stage):
    world = serving("b")
    world.ask_switch("b")
    world.run_until(lambda w: w.state.job.stage is stage)
    world.ask_abort()
    world.run_until(lambda w: w.state.job is None)

    assert (world.state.outcome.state, world.state.serving) == (OutcomeState.ROLLED_BACK, "a")
    assert world.state.outcome.error == "aborted by cli"
    assert (views(world.state)[LOCK], views(world.state)[REQUEST]) == (None, None)


@pytest.mark.scenario("B-33")
@pytest.mark.parametrize(
    "stage", [Stage.PREPARING, Stage.SYNCING, Stage.CLEARING, Stage.STARTING, Stage.VALIDATING, Stage.CHOOSING]
)
@pytest.mark.parametrize("by", ["command", "signal"])
def test_a_shutdown_in_any_stage_ends_with_nothing_running(stage, by):
    world = serving(
        SimulatedEnvironment("b", [Script(serves_after_s=math.inf, exits_after_s=2, code=7, ends_in_s=DEAF)])
    )
    world.ask_switch("b")
    if stage is Stage.CHOOSING:
        world.run_until(lambda w: w.state.job.rolling_back)
    else:
        world.run_until(lambda w: w.state.job.stage is stage)
    began_s = world.machine.now_ns / S
    world.ask_shutdown() if by == "command" else world.signal_orchestrator()
    world.run_until(lambda w: w.orchestrator is None)

    assert (world.exit_status, world.machine.alive()) == (0, [])
    assert len(world.events(SwitchAborted)) == 1
    assert world.state.outcome.state is OutcomeState.CRITICAL_FAILURE
    assert by == "command" or world.machine.now_ns / S - began_s <= 2.5


@pytest.mark.scenario("B-33", "B-28")
def test_a_worker_that_takes_its_time_to_die_does_not_keep_comfyui_waiting():
    world = serving("b")
    world["b"].syncs = [Work(takes_s=60, dies_in_s=2.0)]
    world.ask_switch("b")
    world.run_until(lambda w: w.state.job.stage is Stage.SYNCING)
    world.run(1)
    began_s = world.machine.now_ns / S
    world.signal_orchestrator()
    world.run_until(lambda w: w.orchestrator is None)

    assert world.times_s(ProcessSignalled)[0] == began_s
    assert world.machine.now_ns / S - began_s == pytest.approx(2.0, abs=0.06)


def test_a_signal_that_cannot_be_journaled_ends_it_all_the_same_and_the_next_one_takes_up_what_runs():
    world = serving("b")
    world.machine.full = True
    world.signal_orchestrator()
    world.run(1.5)
    assert world.orchestrator is not None
    world.run(2.5)
    assert world.exit_status == 1
    assert [process.environment for process in world.machine.alive()] == ["a"]
    world.machine.full = False
    world.run_orchestrator()
    world.run_to_rest()

    assert (world.state.serving, starts(world)) == ("a", ["a"])


def test_a_manual_start_in_the_middle_of_a_switch_ends_us_and_is_still_shown():
    world = serving("b")
    world.ask_switch("b")
    world.run_until(lambda w: w.state.job.stage is Stage.SYNCING)
    world.write_command(AskKind.ABORT, pid=4711)
    world.run_until(lambda w: w.orchestrator is None, within_s=20)

    assert (world.exit_status, world.state.lock) == (0, None)
    assert shown(world)[-1] == "aborted"
    assert world.events(AbortRequested)[0].manual_pid == 4711


def test_a_restart_during_a_plain_start_begins_anew():
    world = SimulatedWorld("a")
    world.run_orchestrator("a")
    world.run_until(lambda w: w.state.main is not None)
    world.ask_restart()
    world.run_to_rest()

    assert starts(world) == ["a", "a"]
    assert len(world.machine.alive()) == 1


def test_a_restart_that_is_asked_before_the_target_starts_is_answered_by_that_start():
    world = serving("b")
    world.ask_switch("b")
    world.run(0.5)
    world.ask_restart()
    world.run_to_rest()

    assert (starts(world), world.state.restart_asked) == (["a", "b"], None)


def test_a_restart_that_is_asked_after_it_comes_on_top():
    world = serving("b")
    world.ask_switch("b")
    world.run_until(lambda w: w.state.job.stage is Stage.VALIDATING)
    world.ask_restart()
    world.run_to_rest()

    assert starts(world) == ["a", "b", "b"]


def test_a_switch_takes_the_place_of_a_start_under_way():
    world = SimulatedWorld("a", "b")
    world.run_orchestrator("a")
    world.run_until(lambda w: w.state.main is not None)
    world.ask_switch("b")
    world.run_to_rest()

    assert (starts(world), world.state.serving) == (["a", "b"], "b")


# ---------------------------------------------------------------- crashes


@pytest.mark.scenario("OL-06")
@pytest.mark.parametrize(("retries", "expected"), [(0, 1), (1, 2), (3, 4)])
def test_a_crash_is_retried_and_then_it_parks_and_says_why(retries, expected):
    world = SimulatedWorld(SimulatedEnvironment("a", [DIES_AT_START]), config=Config(crash_retry_max=retries))
    world.run_orchestrator("a")
    world.run_to_rest()
    world.run(3600)

    assert starts(world) == ["a"] * expected
    assert "exit code 7" in world.events(SupervisionParked)[0].why
    assert world.orchestrator is not None
    assert [plan.attempt for plan in world.events(StartPlanned)] == list(range(expected))


def test_it_answers_when_it_is_parked():
    world = SimulatedWorld(SimulatedEnvironment("a", [DIES_AT_START] * 4 + [HEALTHY]))
    world.run_orchestrator("a")
    world.run_until(lambda w: w.state.parked is not None)
    world.ask_restart()
    world.run_to_rest()

    assert (world.state.serving, world.state.parked) == ("a", None)


@pytest.mark.scenario("B-23")
def test_a_healthy_minute_forgets_the_crashes_before_it():
    world = SimulatedWorld(SimulatedEnvironment("a", [leaves_with(7, 10), leaves_with(7, 10), HEALTHY]))
    world.run_orchestrator("a")
    world.run_until(lambda w: len(starts(w)) == 3 and w.state.serving)
    assert world.state.crashes == 2
    world.run(61)
    assert world.state.crashes == 0


@pytest.mark.scenario("B-31")
@pytest.mark.parametrize("code", [42, 43])
@pytest.mark.parametrize("after_s", [0.1, 4.0])
def test_a_fast_loop_of_42_or_43_makes_no_more_than_eight_starts_in_its_first_minute(code, after_s):
    world = SimulatedWorld(SimulatedEnvironment("a", [leaves_with(code, after_s)], syncs=[Work(takes_s=0)]))
    world.run_orchestrator("a")
    world.run(60)

    assert 2 <= len(starts(world)) <= 8
    world.run_until(lambda w: w.state.parked is not None)
    assert world.orchestrator is not None


@pytest.mark.scenario("B-08")
def test_a_crash_in_probation_goes_back_by_itself():
    world = serving(SimulatedEnvironment("b", [leaves_with(7, 30)]))
    switched(world, "b")
    world.run_until(lambda w: w.state.serving == "a")

    recovery = world.events(SwitchRequested)[-1]
    assert (recovery.kind, recovery.origin) == (SwitchKind.RECOVER, Origin.SUPERVISOR)
    assert world.state.generations[-1].disproved


def ended_by(name: str) -> Script:
    """Healthy, until somebody who is none of us ends it."""
    return Script(exits_after_s=30, code=None, signal=name)


@pytest.mark.scenario("B-08", "B-22")
@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.015, 0.99])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_an_end_of_the_session_in_probation_that_comfyui_hears_first_is_no_broken_switch(name, after_s):
    world = serving(SimulatedEnvironment("b", [ended_by(name), HEALTHY]))
    switched(world, "b")
    world.run_until(lambda w: w.state.last_exit is not None and w.state.last_exit.signal == name)
    world.run(after_s)
    world.signal_orchestrator(name)
    world.run_until(lambda w: w.orchestrator is None)

    assert world.exit_status == 0
    assert not world.events(GenerationDisproved)
    assert len(world.events(SwitchRequested)) == 1
    assert [outcome.state for outcome in world.state.switches] == [OutcomeState.COMPLETE]
    assert status_document(world.state) is None
    world.run_orchestrator()
    world.run_to_rest()
    assert world.state.serving == "b"


@pytest.mark.scenario("B-08", "B-22")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_where_none_comes_to_us_within_a_second_it_is_a_crash_like_any_other(name):
    world = serving(SimulatedEnvironment("b", [ended_by(name)]))
    switched(world, "b")
    world.run_until(lambda w: w.state.serving == "a")

    crash, recovery = world.state.last_exit, world.state.switches[-1]
    assert (recovery.state, recovery.target) == (OutcomeState.ROLLED_BACK, "b")
    assert world.state.generations[-1].disproved
    asked = [one for one in world.journal if isinstance(one.event, SwitchRequested)][-1]
    assert S <= elapsed_ns(crash.at, asked.at) < 1.01 * S


@pytest.mark.scenario("B-22")
@pytest.mark.parametrize("comes", [True, False])
def test_an_end_of_the_session_on_the_way_back_aborts_it_and_is_no_contents_fault(comes):
    world = serving(SimulatedEnvironment("b", [DIES_AT_START]))
    world["a"].scripts = [Script(serves_after_s=math.inf, exits_after_s=0.5, code=None, signal="SIGTERM"), HEALTHY]
    world.ask_switch("b")
    world.run_until(lambda w: bool(w.events(RollbackTryFailed)))
    world.run(0.9)
    if comes:
        world.signal_orchestrator()
    world.run_until(lambda w: w.state.job is None)

    assert len(world.events(SwitchCriticallyFailed)) == (0 if comes else 1)
    assert len(world.events(SwitchAborted)) == (1 if comes else 0)
    assert not world.events(GenerationDisproved)


def test_nobody_goes_back_twice_by_himself():
    world = serving(SimulatedEnvironment("b", [leaves_with(7, 20)]))
    world["a"].scripts = [DIES_AT_START]
    switched(world, "b")
    world.run_until(lambda w: w.state.parked is not None)

    assert len([event for event in world.events(SwitchRequested) if event.kind is SwitchKind.RECOVER]) == 1


# ----------------------------------------------------- a world that changes


@pytest.mark.scenario("B-35")
def test_an_environment_that_vanishes_before_its_start_is_said_so_and_others_work():
    world = serving("b", "c")
    world["b"].problem = "its folder is gone"
    refused = world.ask_switch("b")
    assert isinstance(refused, SwitchRefused)
    assert "its folder is gone" in refused.message

    assert switched(world, "c") is OutcomeState.COMPLETE


@pytest.mark.scenario("B-35")
@pytest.mark.parametrize("stage", [Stage.PREPARING, Stage.SYNCING, Stage.CLEARING])
def test_a_target_that_vanishes_in_the_middle_is_rolled_back(stage):
    world = serving("b")
    world.ask_switch("b")
    world.run_until(lambda w: w.state.job.stage is stage)
    world["b"].problem = "its folder is gone"
    world["b"].preflights = [Work(ok=False, problem="its folder is gone")]
    world.run_until(lambda w: w.state.job is None)

    assert world.state.outcome.state is OutcomeState.ROLLED_BACK or stage is Stage.PREPARING
    assert world.state.serving in {"a", "b"}


@pytest.mark.scenario("B-35")
def test_the_serving_environments_folder_vanishes_and_another_one_can_be_switched_to():
    world = serving("b")
    world["a"].problem = "its folder is gone"
    world.machine.alive()[0].end(world.machine.now_ns, 7)
    world.machine.schedule(world.machine.now_ns)
    world.run_until(lambda w: w.state.parked is not None)
    assert "its folder is gone" in world.state.parked.why

    assert switched(world, "b") is OutcomeState.COMPLETE


def test_a_stranger_on_the_port_parks_a_plain_start_and_is_named():
    world = SimulatedWorld("a", config=Config(crash_retry_max=1))
    world.machine.stranger = "pid 9 (nginx)"
    world.run_orchestrator("a")
    world.run_to_rest()

    assert "port 8188 is held by pid 9 (nginx)" in world.state.parked.why
    assert starts(world) == []


def test_a_stranger_that_takes_the_port_in_the_middle_of_a_switch_costs_no_candidate():
    world = serving("b")
    world.ask_switch("b")
    world.run_until(lambda w: w.state.job.stage is Stage.CLEARING)
    world.machine.stranger = "pid 9 (nginx)"
    world.run_until(lambda w: w.state.job is None)

    assert world.state.outcome.state is OutcomeState.CRITICAL_FAILURE
    assert [event.reason for event in world.events(SwitchFailed)] == ["port"]
    assert len(world.events(RollbackTried)) == 1
    assert not any(generation.disproved for generation in world.state.generations)
    world.machine.stranger = ""
    assert switched(world, "b") is OutcomeState.COMPLETE


@pytest.mark.parametrize("step_s", [-3600, 3600])
@pytest.mark.parametrize("stage", [Stage.SYNCING, Stage.VALIDATING])
def test_a_clock_that_steps_changes_nothing(stage, step_s):
    def ended_after_s(stepped: bool) -> float:
        world = serving("b")
        world.ask_switch("b")
        world.run_until(lambda w: w.state.job.stage is stage)
        world.machine.wall_step_ns += step_s * S if stepped else 0
        world.run_until(lambda w: w.state.job is None)
        assert world.state.outcome.state is OutcomeState.COMPLETE
        return world.times_s(SwitchCompleted)[0]

    assert ended_after_s(stepped=True) == ended_after_s(stepped=False)


def test_a_sync_that_takes_too_long_is_ended_at_its_limit():
    world = serving("b", config=Config(sync_timeout_s=60))
    world["b"].syncs = [Work(takes_s=7200)]

    assert switched(world, "b") is OutcomeState.ROLLED_BACK
    assert world.events(SyncFinished)[-1].error == "sync did not end within 60 s"


def test_a_power_failure_is_nobodys_fault():
    world = serving("b")
    world.ask_switch("b")
    world.run_until(lambda w: w.state.job.stage is Stage.VALIDATING)
    world.lose_power()
    world.run(20)
    world.run_orchestrator()
    world.run_until(lambda w: w.state.job is None)

    assert world.state.outcome.state is OutcomeState.COMPLETE
    assert world.state.crashes == 0


# ----------------------------------------------------------- the simulation


def test_the_simulation_tells_when_an_invariant_is_broken():
    world = serving("b")
    world.ask_switch("b")
    world.run_until(lambda w: w.state.job.stage is Stage.VALIDATING)
    world.machine.start("a", None, spawn=99_999)

    with pytest.raises(BrokenInvariantError, match="alive and forgotten"):
        world.run_to_rest()


def test_the_simulation_gives_up_on_what_never_happens():
    world = serving()

    with pytest.raises(BrokenInvariantError, match="not within 5 s"):
        world.run_until(lambda w: w.state.serving == "b", within_s=5)


def test_the_simulation_is_deterministic():
    one, two = serving("b"), serving("b")
    switched(one, "b")
    switched(two, "b")

    assert one.journal == two.journal


# ------------------------------------------------------------- liveness


@pytest.mark.scenario("B-46")
def test_one_that_hangs_after_complete_is_told_of_once_left_alone_and_forgiven_when_it_answers():
    world = serving("b")
    switched(world, "b")
    process = world.machine.alive()[0]
    process.script = attrs.evolve(HEALTHY, answer=Answer.MUTE)
    began_s = world.machine.now_ns / S
    world.run(300)

    assert (len(world.events(HealthUnresponsive)), world.events(HealthResponsive)) == (1, [])
    (told_s,) = world.times_s(HealthUnresponsive)
    assert 30 <= told_s - began_s <= 51
    assert world.state.serving == "b"
    assert len(world.events(SwitchRequested)) == 1

    process.script = HEALTHY
    world.run(20)
    assert len(world.events(HealthResponsive)) == 1


@pytest.mark.scenario("B-46")
def test_a_real_exit_after_that_is_handled_as_ever():
    world = serving()
    process = world.machine.alive()[0]
    process.script = attrs.evolve(HEALTHY, answer=Answer.MUTE)
    world.run(100)
    assert world.state.main_process.unresponsive is not None
    process.end(world.machine.now_ns, 42)
    world.run_to_rest()

    assert (world.state.serving, world.state.main_process.unresponsive) == ("a", None)

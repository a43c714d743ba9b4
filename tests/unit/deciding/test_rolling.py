"""Giving up on a target, and the way back."""

import attrs
import pytest

from journal.events import (
    AbortRequested,
    Evidence,
    ExitCause,
    GenerationDisproved,
    Ladder,
    Origin,
    ProcessStopAsked,
    RestartRequested,
    RollbackTried,
    RollbackTryFailed,
    SwitchCriticallyFailed,
    SwitchFailed,
    SwitchRolledBack,
    SwitchRollingBack,
    SyncStarted,
)
from orchestrator.world import WorkFacts
from projections.generations import Candidate, Generation
from projections.jobs import JobKind
from projections.rollback import TRIES_MAX
from projections.switching import Stage
from tests.helpers.histories import (
    History,
    acted,
    decided,
    done,
    events_of,
    exited,
    gone,
    in_stage,
    names_of,
    only,
    seen,
    source_seen,
    stamp,
    waits_s,
)

FAILED = SwitchFailed(reason="sync", error="it broke")
ABORT = AbortRequested(origin="cli")


def known(*environments: str) -> tuple[Generation, ...]:
    """A generation of each, oldest first."""
    return tuple(
        Generation(number, environment, f"content of {environment}", Evidence.PROBED, stamp(number), ())
        for number, environment in enumerate(environments, start=900)
    )


# ------------------------------------------------------ nothing was stopped


@pytest.mark.scenario("B-05")
@pytest.mark.parametrize("stage", [Stage.PREPARING, Stage.SYNCING])
@pytest.mark.parametrize(("event", "error"), [(FAILED, "it broke"), (ABORT, "aborted by cli")])
def test_as_long_as_the_old_one_serves_there_is_nothing_to_undo(stage, event, error):
    history = in_stage(stage)
    history.add(event)

    act = acted(history)

    assert names_of(act) == ["switch.rolled_back", "lock.released"]
    assert only(act, SwitchRolledBack) == SwitchRolledBack(environment="a", error=error, nothing_stopped=True)
    assert done(history, act).state.serving == "a"


def test_a_source_that_was_never_signalled_serves_on():
    history = History().begun("b").switching("b", source="a", origin=Origin.FILE)
    history.add(source_seen("a"), FAILED)

    ended = only(acted(history), SwitchRolledBack)

    assert (ended.environment, ended.nothing_stopped) == ("a", True)


@pytest.mark.parametrize("stage", [Stage.PREPARING, Stage.SYNCING, Stage.CLEARING])
def test_an_old_one_that_died_in_the_meantime_has_to_come_back(stage):
    history = in_stage(stage)
    history.add(exited(history.state.main, 7, ExitCause.CRASH), FAILED)

    assert names_of(acted(history)) == ["switch.rolling_back"]


def test_a_worker_still_at_work_is_waited_for():
    history = in_stage(Stage.SYNCING)
    worker = history.add(SyncStarted(environment="b", fingerprint=""))
    history.add(ABORT)
    done(history, acted(history))
    assert history.state.worker.worker == worker

    assert waits_s(decided(history), history) == 0.05
    assert names_of(acted(history, seen(history, work=WorkFacts(alive=False)))) == ["worker.lost"]


# -------------------------------------------------------- something was


def test_an_old_one_that_was_asked_to_stop_is_stopped_to_its_end():
    history = in_stage(Stage.CLEARING)
    done(history, acted(history))
    history.add(ABORT)

    assert waits_s(decided(history), history) == 10
    history.add(*events_of(acted(history, gone(history, history.state.main, 0))))
    assert names_of(acted(history)) == ["switch.rolling_back"]


def test_a_source_that_was_signalled_no_longer_serves():
    history = History().begun("b").switching("b", source="a", origin=Origin.FILE)
    spawn = history.add(source_seen("a"))
    history.add(ProcessStopAsked(spawn=spawn, why="", ladder=Ladder.PLANNED), FAILED)

    assert names_of(acted(history)) == ["switch.rolling_back"]


@pytest.mark.parametrize("event", [FAILED, ABORT])
def test_a_target_that_is_given_up_is_ended_quickly_for_it_never_was_healthy(event):
    history = in_stage(Stage.VALIDATING)
    history.add(event)

    asked = only(acted(history), ProcessStopAsked)

    assert (asked.spawn, asked.ladder, asked.why) == (history.state.main, Ladder.DRAINED, "the switch is given up")


@pytest.mark.parametrize("stage", [Stage.CLEARING, Stage.VALIDATING])
def test_when_all_is_stopped_the_way_back_begins(stage):
    history = in_stage(stage).cleared()
    history.add(FAILED)

    act = acted(history)

    assert events_of(act) == (SwitchRollingBack(error="it broke"),)
    assert done(history, act).stage is Stage.CHOOSING


def test_a_process_that_neither_serves_nor_is_the_target_is_stopped_first():
    history = in_stage(Stage.VALIDATING, JobKind.START)
    stray = history.state.main
    history.add(RestartRequested(origin="cli"))
    history.switching("b").add(FAILED)

    assert only(acted(history), ProcessStopAsked).spawn == stray


# ---------------------------------------------------------------- choosing


def choosing(*environments: str, served: Candidate | None = None) -> History:
    history = in_stage(Stage.CHOOSING)
    job = attrs.evolve(history.state.job, served=served, source="")
    history.state = attrs.evolve(history.state, generations=known(*environments), job=job)
    return history


def failed(history: History, reason: str = "exited") -> History:
    job = history.state.job
    history.add(RollbackTryFailed(environment=job.rolling.environment, reason=reason, error="no"))
    return history


@pytest.mark.scenario("B-07")
def test_what_served_is_tried_first():
    history = choosing("c", "d", served=Candidate("a", None))

    act = acted(history)

    assert events_of(act) == (RollbackTried(environment="a", generation=None, attempt=1),)
    assert done(history, act).stage is Stage.SYNCING


@pytest.mark.scenario("B-07")
def test_then_the_healthy_generations_before_it_newest_first():
    history = choosing("b", "c", "d", served=Candidate("a", None))
    tried = []
    for _ in range(TRIES_MAX):
        tried.append(only(acted(history), RollbackTried))
        failed(done(history, acted(history)))

    assert [(one.environment, one.generation, one.attempt) for one in tried] == [
        ("a", None, 1),
        ("d", 902, 2),
        ("c", 901, 3),
    ]


@pytest.mark.scenario("B-07")
def test_when_none_is_left_it_is_critical_and_says_what_to_paste():
    history = choosing("b", served=Candidate("a", None))
    failed(done(history, acted(history)))

    act = acted(history)

    assert names_of(act) == ["switch.critically_failed", "lock.released", "supervision.parked"]
    critical = only(act, SwitchCriticallyFailed)
    assert critical.error == "it broke; went back to a in vain"
    assert critical.recovery_command == "comfygit-orchestrator switch --workspace /workspace b"
    state = done(history, act).state
    assert (state.lock, state.job, state.parked is not None) == (None, None, True)


def test_the_command_brings_back_what_served():
    history = in_stage(Stage.CHOOSING)
    history.state = attrs.evolve(history.state, generations=(), job=attrs.evolve(history.state.job, served=None))
    world = seen(history, launcher=("/opt/my tools/orchestrator",), workspace="/home/me/my workspace")

    critical = only(acted(history, world), SwitchCriticallyFailed)

    assert critical.error == "it broke; there was no healthy environment to go back to"
    assert critical.recovery_command == "'/opt/my tools/orchestrator' switch --workspace '/home/me/my workspace' a"


def test_more_than_three_are_never_tried():
    history = choosing("c", "d", "e", "f", served=Candidate("a", None))
    for _ in range(TRIES_MAX):
        failed(done(history, acted(history)))

    assert "switch.critically_failed" in names_of(acted(history))


def test_the_target_itself_is_no_way_back():
    assert "switch.critically_failed" in names_of(acted(choosing("b")))


def test_a_candidate_that_failed_is_stopped_before_the_next_one_is_chosen():
    history = in_stage(Stage.VALIDATING, rolling=True)
    spawn = history.job_spawn
    failed(history, "timeout")

    assert only(acted(history), ProcessStopAsked).spawn == spawn


def test_a_candidate_that_did_not_come_up_is_no_longer_believed():
    history = in_stage(Stage.CHOOSING)
    generation = history.state.generations[-1].generation
    history.tried("a", generation).synced().started()

    act = acted(history, gone(history, history.job_spawn, 7))

    assert names_of(act)[-2:] == ["rollback.try_failed", "generation.disproved"]
    assert only(act, GenerationDisproved).generation == generation
    assert done(history, act).stage is Stage.CHOOSING


@pytest.mark.scenario("B-22")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_one_that_somebody_ended_is_still_believed_and_the_next_is_chosen_a_second_later(name):
    history = in_stage(Stage.CHOOSING)
    history.tried("a", history.state.generations[-1].generation).synced().started()

    act = acted(history, gone(history, history.job_spawn, None, name))

    assert names_of(act)[-1] == "rollback.try_failed"
    done(history, act)
    assert waits_s(decided(history), history) == 1
    assert "switch.critically_failed" in names_of(acted(history.after(1)))


def test_a_candidate_that_could_not_even_be_started_is_still_believed():
    history = in_stage(Stage.CHOOSING)
    history.tried("a", history.state.generations[-1].generation)

    act = acted(
        history, seen(history, environments={"a": attrs.evolve(seen(history).environments["a"], problem="gone")})
    )

    assert names_of(act) == ["rollback.try_failed"]


def test_a_source_that_is_still_there_is_stopped_before_anything_is_started():
    history = History().begun("b").switching("b", source="a", origin=Origin.FILE)
    spawn = history.add(source_seen("a"))
    history.add(FAILED, SwitchRollingBack(error="it broke"))

    assert only(acted(history), ProcessStopAsked).spawn == spawn


def test_a_worker_still_at_work_is_waited_for_here_too():
    history = in_stage(Stage.SYNCING, rolling=True)
    history.add(SyncStarted(environment="a", fingerprint=""))
    failed(history, "environment")
    done(history, acted(history))

    assert waits_s(decided(history), history) == 0.05


def test_an_abort_does_not_stop_the_way_back():
    history = in_stage(Stage.SYNCING, rolling=True)
    history.add(ABORT)

    assert names_of(acted(history)) == ["sync.skipped"]

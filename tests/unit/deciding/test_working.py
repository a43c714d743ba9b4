"""Preflights and syncs: watched, cancelled, killed again, taken for what they came to."""

import pytest

from journal.clock import S
from journal.events import (
    AbortRequested,
    LeftBehind,
    PreflightStarted,
    RestartRequested,
    ShutdownRequested,
    StartFailed,
    SwitchFailed,
    SwitchPreflighted,
    SyncFinished,
    SyncStarted,
    WorkerCancelled,
    WorkerLost,
    WorkerSpawned,
)
from journal.identity import Identity
from orchestrator.actions import KillWorker, Took
from orchestrator.config import Config
from orchestrator.deciding.killing import IN_VAIN
from orchestrator.deciding.working import KILLS_MAX
from orchestrator.world import WorkFacts
from projections.jobs import JobKind
from projections.switching import Stage
from tests.helpers.histories import (
    History,
    acted,
    decided,
    done,
    events_of,
    good,
    in_stage,
    names_of,
    only,
    seen,
    waits_s,
)

SOMEBODY = Identity(4000, 4, "boot-1")
GOOD = WorkFacts(alive=False, ended=True, ok=True, summary="3 packages", checks=("python 3.12",))
BAD = WorkFacts(alive=False, ended=True, ok=False, problem="no such package")


def preflighting() -> History:
    history = in_stage(Stage.PREPARING)
    history.add(PreflightStarted(environment="b"))
    return history


def syncing(kind: JobKind = JobKind.SWITCH, *, rolling: bool = False) -> History:
    history = in_stage(Stage.SYNCING, kind, rolling=rolling)
    history.add(SyncStarted(environment=history.job_environment, fingerprint=""))
    return history


def worker_of(history: History) -> int:
    return int(history.state.worker.worker)


# ---------------------------------------------------------------- results


def test_a_good_preflight_leads_on():
    history = preflighting()

    act = acted(history, seen(history, work=GOOD))

    expected = SwitchPreflighted(worker=worker_of(history), ok=True, problem="", checks=("python 3.12",))
    assert events_of(act) == (expected,)
    assert act.took == {Took.WORKER}
    assert done(history, act).stage is Stage.SYNCING


@pytest.mark.scenario("B-05")
def test_a_bad_preflight_is_the_verdict_before_anything_was_stopped():
    history = preflighting()

    act = acted(history, seen(history, work=BAD))

    assert only(act, SwitchFailed) == SwitchFailed(reason="preflight", error="no such package")
    assert done(history, act).state.serving == "a"


def test_a_good_sync_leads_on():
    history = syncing().after(2)

    act = acted(history, seen(history, work=GOOD))

    finished = only(act, SyncFinished)
    assert (finished.ok, finished.tolerated, finished.duration_ns, finished.summary) == (
        True,
        False,
        2 * S,
        "3 packages",
    )
    assert done(history, act).stage is Stage.CLEARING


def test_a_failed_sync_is_the_verdict_on_a_target_that_nothing_speaks_for():
    history = syncing()

    act = acted(history, seen(history, work=BAD))

    assert not only(act, SyncFinished).tolerated
    assert only(act, SwitchFailed) == SwitchFailed(reason="sync", error="syncing b failed: no such package")


@pytest.mark.parametrize(
    ("fingerprint", "tolerated"),
    [("content of b", True), ("edited", False), ("", False), (None, False)],
    ids=["as it was healthy", "edited since", "cannot be told", "not looked at"],
)
def test_it_is_tolerated_for_a_target_that_was_healthy_as_it_is(fingerprint, tolerated):
    history = History().serving("a").switching("b").completed().switching("a").completed()
    history.switching("b").preflighted().add(SyncStarted(environment="b", fingerprint=""))
    environments = {"b": good("b", fingerprint=fingerprint)}

    act = acted(history, seen(history, work=BAD, environments=environments))

    assert only(act, SyncFinished).tolerated is tolerated
    assert done(history, act).stage is (Stage.CLEARING if tolerated else Stage.SYNCING)


@pytest.mark.parametrize("history", [syncing(JobKind.START), syncing(rolling=True)], ids=["plain", "rolling back"])
def test_a_start_and_a_rollback_go_on_with_what_is_there(history):
    act = acted(history, seen(history, work=BAD))

    assert names_of(act) == ["sync.finished"]
    assert only(act, SyncFinished).tolerated


# -------------------------------------------------------------- cancelling


def test_a_worker_of_ours_is_left_alone():
    history = syncing()

    assert waits_s(decided(history), history) == 600


def test_its_process_is_journaled():
    history = syncing()

    act = acted(history, seen(history, work=WorkFacts(alive=True, identity=SOMEBODY)))

    assert events_of(act) == (WorkerSpawned(worker=worker_of(history), identity=SOMEBODY),)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (ShutdownRequested(origin="cli"), "supervision ends"),
        (AbortRequested(origin="cli"), "nobody waits for it any more"),
    ],
)
@pytest.mark.parametrize("make", [preflighting, syncing])
@pytest.mark.scenario("B-33")
def test_a_worker_that_nobody_wants_is_killed(make, event, why):
    history = make()
    history.add(event)

    act = acted(history)

    assert events_of(act) == (WorkerCancelled(worker=worker_of(history), why=why),)
    assert act.effect == KillWorker(worker_of(history))


def test_so_is_one_whose_start_was_superseded():
    history = syncing(JobKind.START)
    history.add(RestartRequested(origin="cli"))

    assert only(acted(history), WorkerCancelled).why == "nobody waits for it any more"


def test_so_is_one_of_a_start_that_a_switch_has_replaced():
    history = syncing(JobKind.START).switching("b")

    assert only(acted(history), WorkerCancelled).why == "nobody waits for it any more"


def test_so_is_an_orphan():
    history = syncing().succeeded_by()

    cancelled = next(event for event in every_event(history) if isinstance(event, WorkerCancelled))

    assert cancelled.why == "the orchestrator that had started it is gone"


def every_event(history: History, steps: int = 5):
    for _ in range(steps):
        act = acted(history)
        yield from events_of(act)
        done(history, act)


@pytest.mark.parametrize(("make", "limit_s"), [(preflighting, 30), (syncing, 600)])
def test_a_worker_that_takes_too_long_is_killed_and_has_failed(make, limit_s):
    history = make().after(limit_s - 0.001)
    assert waits_s(decided(history), history) == pytest.approx(0.001)

    history.after(0.001)
    done(history, acted(history))
    assert history.state.worker.cancelled_why == "timed out"

    act = acted(history, seen(history, work=WorkFacts(alive=False)))
    assert only(act, SwitchFailed).error.endswith(f"did not end within {limit_s} s")


def test_a_killed_worker_is_killed_again_every_two_seconds_until_it_is_gone():
    history = syncing()
    history.add(AbortRequested(origin="cli"))
    done(history, acted(history))

    assert waits_s(decided(history), history) == 0.05
    assert waits_s(decided(history.after(1.95)), history) == 0.05
    act = acted(history.after(0.05))
    assert act.effect == KillWorker(worker_of(history))
    assert names_of(act) == ["worker.cancelled"]
    assert waits_s(decided(done(history, act)), history) == 0.05


def killed_in_vain(history: History) -> History:
    """The worker has been cancelled, and is killed as often as that is done."""
    for _ in range(KILLS_MAX - 1):
        history.after(2)
        act = acted(history)
        assert act.effect == KillWorker(worker_of(history))
        done(history, act)
    assert waits_s(decided(history.after(1.9)), history) == 0.05
    return history.after(0.1)


def test_a_worker_that_cannot_be_ended_is_left_by_name_and_nobody_waits_for_it_any_more():
    history = syncing()
    history.add(AbortRequested(origin="cli"))
    done(history, acted(history))
    killed_in_vain(history)
    lost = only(acted(history, seen(history, work=WorkFacts(alive=True, identity=SOMEBODY))), WorkerLost)

    assert lost.left == (LeftBehind(SOMEBODY, "sync", IN_VAIN),)
    history.add(lost)
    assert (history.state.worker, history.state.left) == (None, lost.left)


def test_a_sync_that_takes_too_long_and_cannot_be_ended_has_failed_and_says_so():
    history = syncing().after(600)
    done(history, acted(history))
    killed_in_vain(history)
    act = acted(history, seen(history, work=WorkFacts(alive=True, identity=SOMEBODY)))

    assert f"did not end within 600 s; its process, pid {SOMEBODY.pid}, is left: " in only(act, SwitchFailed).error


@pytest.mark.parametrize("facts", [GOOD, BAD, WorkFacts(alive=False)])
def test_what_a_cancelled_worker_came_to_is_nobodys_fault(facts):
    history = syncing()
    history.add(AbortRequested(origin="cli"))
    done(history, acted(history))

    assert names_of(acted(history, seen(history, work=facts))) == ["worker.lost"]


@pytest.mark.parametrize("make", [preflighting, syncing])
@pytest.mark.parametrize("facts", [BAD, WorkFacts(alive=False)])
def test_a_worker_that_was_lost_with_its_orchestrator_works_again(make, facts):
    history = make().succeeded_by()
    adopt = acted(history, seen(history, work=facts))
    done(history, adopt)
    first = worker_of(history)

    act = acted(history, seen(history, work=facts))
    assert events_of(act) == (WorkerLost(worker=first),)

    again = acted(done(history, act))
    assert isinstance(events_of(again)[0], PreflightStarted | SyncStarted)


def test_a_worker_that_never_was_is_started_again():
    history = syncing()

    assert names_of(acted(history, seen(history, work=WorkFacts(alive=False)))) == ["worker.lost"]


def test_a_result_that_comes_too_late_to_be_wanted_is_dropped():
    history = syncing(JobKind.START)
    history.add(StartFailed(environment="a", reason="environment", error="it vanished"))

    assert names_of(acted(history, seen(history, work=GOOD))) == ["worker.lost"]


def test_a_worker_that_nobody_looked_at_is_looked_at_again():
    history = syncing()

    assert waits_s(decided(history, seen(history, work=None)), history) == 0.05


def test_a_start_waits_for_the_worker_before_it_to_be_gone():
    history = syncing(JobKind.START)
    history.add(RestartRequested(origin="cli"))
    done(history, acted(history))
    done(history, acted(history))
    assert history.stage is Stage.SYNCING
    assert history.state.worker.cancelled

    assert waits_s(decided(history), history) == 0.05
    assert names_of(acted(history, seen(history, work=WorkFacts(alive=False)))) == ["worker.lost"]


def test_the_limit_is_the_settings():
    history = syncing().after(5)

    assert names_of(acted(history, config=Config(sync_timeout_s=5))) == ["worker.cancelled"]

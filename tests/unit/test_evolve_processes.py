"""What the fold makes of processes, probes and workers."""

import pytest

from journal.events import (
    ExitCause,
    HealthConfirmed,
    Ladder,
    LeftBehind,
    OrchestratorLost,
    PreflightStarted,
    ProcessAdopted,
    ProcessExited,
    ProcessSignalled,
    ProcessSpawned,
    ProcessSpawnFailed,
    ProcessStopAsked,
    ProcessSwept,
    StartFailed,
    StartKind,
    SyncSkipped,
    SyncStarted,
    WorkerCancelled,
    WorkerLost,
    WorkerSpawned,
)
from journal.identity import Identity
from projections.evolve_processes import describe_exit
from projections.jobs import JobKind
from projections.state import LEFT_KEPT, WorkKind
from projections.switching import IllegalEventError, Stage
from tests.helpers.histories import (
    ME,
    SUCCESSOR,
    History,
    content_of,
    exited,
    in_stage,
    intended,
    orchestrator_started,
    planned,
    probed,
    source_seen,
    synced,
)

SOMEBODY = Identity(4000, 4, "boot-1")


def asked_to_stop(spawn: int, ladder: Ladder = Ladder.PLANNED) -> ProcessStopAsked:
    return ProcessStopAsked(spawn=spawn, why="room", ladder=ladder)


def signalled(spawn: int, rung: int) -> ProcessSignalled:
    return ProcessSignalled(spawn=spawn, signal="SIGINT", rung=rung, whole_tree=False)


# ---------------------------------------------------------------- life


def test_an_intended_process_has_no_identity_yet():
    history = in_stage(Stage.STARTING)
    process = history.state.main_process

    assert (process.identity, process.owner, process.fingerprint) == (None, ME, content_of("b"))
    assert history.state.serving == ""


def test_its_deadline_counts_from_when_it_was_spawned():
    history = in_stage(Stage.STARTING).after(4)
    history.add(ProcessSpawned(spawn=history.job_spawn, identity=SOMEBODY))

    assert (history.state.main_process.identity, history.state.main_process.since) == (SOMEBODY, history.now)


def test_a_spawn_that_failed_leaves_nothing_but_a_count():
    history = in_stage(Stage.STARTING)
    spawn = history.job_spawn
    history.add(ProcessSpawnFailed(spawn=spawn, error="no trace", lost=True))

    assert (history.state.main, history.state.processes) == (None, {})
    assert (history.state.job.spawn, history.state.job.lost_spawns, history.stage) == (None, 1, Stage.CLEARING)


def test_a_spawn_that_no_job_waits_for_fails_for_itself():
    history = in_stage(Stage.STARTING, JobKind.START)
    spawn = history.job_spawn
    history.add(StartFailed(environment="a", reason="spawn", error=""))

    history.add(ProcessSpawnFailed(spawn=spawn, error="no such file", lost=False))

    assert history.state.processes == {}


@pytest.mark.parametrize(
    "event",
    [
        ProcessSpawned(spawn=99, identity=SOMEBODY),
        ProcessSpawnFailed(spawn=99, error="", lost=False),
        ProcessAdopted(spawn=99, identity=SOMEBODY),
        ProcessSwept(spawn=99, pids=()),
        asked_to_stop(99),
        signalled(99, 0),
        probed(99, 1),
        exited(99, 0, ExitCause.CLEAN),
        HealthConfirmed(spawn=99, generation=1),
    ],
    ids=lambda event: event.stored_name,
)
def test_an_unknown_process_is_illegal(event):
    with pytest.raises(IllegalEventError, match="no process 99"):
        History().serving().add(event)


def test_an_adopted_process_that_was_not_healthy_yet_begins_anew():
    history = in_stage(Stage.VALIDATING).answered(2).after(3)
    spawn = history.job_spawn
    history.add(OrchestratorLost(identity=ME), orchestrator_started(me=SUCCESSOR))
    history.add(ProcessAdopted(spawn=spawn, identity=SOMEBODY))
    process = history.state.main_process

    assert (process.owner, process.since, process.successes) == (SUCCESSOR, history.now, 0)
    assert (process.last_probe, process.last_probe_ok) == (None, False)


def test_an_adopted_process_that_was_healthy_stays_so():
    history = History().serving("a")
    before = history.state.main_process
    history.add(OrchestratorLost(identity=ME), orchestrator_started(me=SUCCESSOR))
    history.add(ProcessAdopted(spawn=before.spawn, identity=SOMEBODY))

    assert (history.state.main_process.since, history.state.serving) == (before.since, "a")


@pytest.mark.parametrize(("reached", "kept"), [(0, -1), (1, 0), (2, 1)])
def test_a_signal_that_may_never_have_been_sent_is_due_again_after_an_adoption(reached, kept):
    history = History().serving("a")
    spawn = history.state.main
    history.add(asked_to_stop(spawn), *(signalled(spawn, rung) for rung in range(reached + 1)))
    history.add(OrchestratorLost(identity=ME), orchestrator_started(me=SUCCESSOR))
    history.add(ProcessAdopted(spawn=spawn, identity=SOMEBODY))

    assert history.state.main_process.stopping.rung == kept


def test_a_process_that_is_asked_to_stop_no_longer_serves():
    history = History().serving("a")
    spawn = history.state.main
    history.add(asked_to_stop(spawn))
    assert (history.state.serving, history.state.main_process.stopping.rung) == ("", -1)

    history.after(1).add(signalled(spawn, 0))
    stopping = history.state.main_process.stopping
    assert (stopping.rung, stopping.at, stopping.asked) == (0, history.now, history.records[-2].at)


def test_asking_again_more_urgently_begins_another_ladder_above_its_first_rung():
    history = History().serving("a")
    spawn = history.state.main
    history.add(asked_to_stop(spawn), signalled(spawn, 0))
    history.after(1).add(asked_to_stop(spawn, Ladder.URGENT))

    stopping = history.state.main_process.stopping
    assert (stopping.ladder, stopping.rung, stopping.asked) == (Ladder.URGENT, 0, history.now)


def test_nobody_is_signalled_who_was_not_asked_to_stop():
    history = History().serving("a")

    with pytest.raises(IllegalEventError, match="not asked to stop"):
        history.add(signalled(history.state.main, 0))


def test_what_was_left_behind_is_swept_at_a_known_time():
    history = History().serving("a").after(1)
    history.add(ProcessSwept(spawn=history.state.main, pids=(1, 2)))

    assert (history.state.main_process.swept, history.state.main_process.sweeps) == (history.now, 1)
    history.after(1).add(ProcessSwept(spawn=history.state.main, pids=(1,)))
    assert (history.state.main_process.swept, history.state.main_process.sweeps) == (history.now, 2)


def test_what_could_not_be_ended_is_remembered_the_newest_of_it():
    history = History().serving("a")
    left = tuple(LeftBehind(Identity(pid, 1, "boot-1"), "helper", "it hears nothing") for pid in range(LEFT_KEPT + 1))
    history.add(ProcessExited(spawn=history.state.main, code=0, signal="", cause=ExitCause.CLEAN, left=left))

    assert history.state.left == left[1:]


def test_kills_are_counted_also_when_the_ladder_changes():
    history = History().serving("a")
    spawn = history.state.main
    history.add(asked_to_stop(spawn, Ladder.PLANNED))
    for rung, name in enumerate(["SIGINT", "SIGTERM", "SIGKILL", "SIGKILL"]):
        history.add(ProcessSignalled(spawn=spawn, signal=name, rung=min(rung, 2), whole_tree=True))
    history.add(asked_to_stop(spawn, Ladder.URGENT))

    assert history.state.main_process.stopping.kills == 2


# ---------------------------------------------------------------- exits


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (exited(1, 7, ExitCause.CRASH), "exit code 7"),
        (exited(1, None, ExitCause.CRASH, "SIGKILL"), "signal SIGKILL"),
        (exited(1, None, ExitCause.CRASH), "an unknown exit code"),
    ],
)
def test_an_exit_in_words(event, words):
    assert describe_exit(event) == words


def test_the_last_exit_is_remembered_with_what_it_had_been():
    history = History().serving("a")
    process = history.state.main_process
    history.add(exited(process.spawn, 42, ExitCause.RESTART))
    last = history.state.last_exit

    assert (last.spawn, last.environment, last.cause, last.code) == (process.spawn, "a", ExitCause.RESTART, 42)
    assert (last.confirmed, last.at) == (process.confirmed, history.now)
    assert (history.state.main, history.state.processes) == (None, {})


def test_a_crash_is_trouble_and_keeps_the_probation_it_broke():
    history = History().serving("a")
    history.add(exited(history.state.main, 7, ExitCause.CRASH))
    state = history.state

    assert (state.crashes, state.trouble.why, state.trouble.reason) == (1, "exit code 7", "crash")
    assert state.probation is not None


@pytest.mark.parametrize(
    ("code", "signal", "is_adopted", "crashes"),
    [(None, "", False, 0), (None, "", True, 1), (7, "", False, 1), (None, "SIGSEGV", False, 1)],
)
def test_how_something_ended_that_nobody_saw_counts_for_no_retry(code, signal, is_adopted, crashes):
    history = History().serving("a")
    process = history.state.main_process
    history.add(OrchestratorLost(identity=ME), orchestrator_started(me=SUCCESSOR))
    if is_adopted:
        history.add(ProcessAdopted(spawn=process.spawn, identity=process.identity))
    history.add(exited(process.spawn, code, ExitCause.CRASH, signal))

    assert (history.state.crashes, history.state.trouble.reason) == (crashes, "crash")


@pytest.mark.parametrize("cause", set(ExitCause) - {ExitCause.CRASH})
def test_any_other_exit_ends_probation_unproven(cause):
    history = History().serving("a")
    history.add(exited(history.state.main, 0, cause))

    assert (history.state.probation, history.state.trouble, history.state.crashes) == (None, None, 0)
    assert not history.state.generations[-1].proven


def test_a_crash_in_the_middle_of_a_job_is_the_jobs_own_business():
    history = in_stage(Stage.SYNCING)
    history.add(exited(history.state.main, 7, ExitCause.CRASH))

    assert (history.state.crashes, history.state.trouble) == (0, None)
    assert history.state.last_exit.code == 7


@pytest.mark.parametrize(
    ("cause", "restarts"), [(ExitCause.RESTART, 1), (ExitCause.STOPPED, 0)], ids=["asked by 42", "ended by us"]
)
def test_a_start_that_ended_through_no_fault_of_its_own_is_made_again(cause, restarts):
    history = in_stage(Stage.VALIDATING)
    history.add(exited(history.job_spawn, 42, cause))
    job = history.state.job

    assert (job.stage, job.spawn, job.restarts) == (Stage.SYNCING, None, restarts)


def test_restarts_before_health_count_for_the_breaker_outside_a_switch():
    history = in_stage(Stage.VALIDATING, JobKind.START)
    history.add(exited(history.job_spawn, 42, ExitCause.RESTART))
    assert len(history.state.starts) == 1

    history = in_stage(Stage.VALIDATING)
    history.add(exited(history.job_spawn, 42, ExitCause.RESTART))
    assert len(history.state.starts) == 0


@pytest.mark.scenario("B-29")
@pytest.mark.parametrize("code", [0, 42, 43])
def test_an_environment_that_ended_well_after_being_healthy_is_settled(code):
    history = History().serving("a")
    history.add(exited(history.state.main, code, ExitCause.RESTART))

    assert history.state.settled == {"a": content_of("a")}


@pytest.mark.scenario("B-29")
@pytest.mark.parametrize(
    ("code", "cause"), [(7, ExitCause.CRASH), (None, ExitCause.STOPPED), (43, ExitCause.CRASH), (0, ExitCause.CRASH)]
)
def test_after_a_crash_or_an_unknown_end_nothing_is_settled(code, cause):
    history = History().serving("a")
    history.add(exited(history.state.main, 0, ExitCause.STOPPED), planned(kind=StartKind.RESTART))
    history.add(SyncSkipped(environment="a", fingerprint=content_of("a")))
    history.started().confirmed()
    assert history.state.settled

    history.add(exited(history.state.main, code, cause))

    assert history.state.settled == {}


def test_what_was_never_healthy_is_not_settled():
    history = in_stage(Stage.VALIDATING)
    history.add(exited(history.job_spawn, 42, ExitCause.RESTART))

    assert "b" not in history.state.settled


# --------------------------------------------------------------- health


def test_probes_add_up():
    history = in_stage(Stage.VALIDATING)
    history.add(probed(history.job_spawn, 1), probed(history.job_spawn, 2))
    process = history.state.job_process

    assert (process.successes, process.last_probe, process.last_probe_ok) == (2, history.now, True)

    history.add(probed(history.job_spawn, 0))
    assert (history.state.job_process.successes, history.state.job_process.last_probe_ok) == (0, False)


def test_a_confirmed_plain_start_is_over_and_on_probation():
    history = History().serving("a")
    state = history.state

    assert (state.job, state.serving, state.trouble) == (None, "a", None)
    assert (state.probation.environment, state.probation.of_switch) == ("a", False)


def test_the_probation_of_a_switch_is_known_as_such():
    assert History().serving("a").switching("b").completed().state.probation.of_switch


def test_a_confirmed_source_is_no_main_process():
    history = History().begun("b").switching("b", source="a")
    source = history.add(source_seen("a"))
    history.add(probed(source, 1), probed(source, 2), probed(source, 3), HealthConfirmed(spawn=source, generation=1))

    assert (history.state.main, history.state.probation) == (None, None)
    assert history.state.source_process.confirmed == history.now


# -------------------------------------------------------------- workers


def test_a_worker_is_known_by_the_event_that_wanted_it():
    history = in_stage(Stage.PREPARING)
    seq = history.add(PreflightStarted(environment="b"))
    worker = history.state.worker

    assert (worker.worker, worker.kind, worker.environment, worker.owner) == (seq, WorkKind.PREFLIGHT, "b", ME)

    history.add(WorkerSpawned(worker=seq, identity=SOMEBODY), WorkerCancelled(worker=seq, why="superseded"))
    assert (history.state.worker.identity, history.state.worker.cancelled_why) == (SOMEBODY, "superseded")

    history.add(WorkerLost(worker=seq))
    assert history.state.worker is None


def test_a_sync_makes_its_environment_dirty_until_it_ends_well():
    history = in_stage(Stage.SYNCING)
    worker = history.add(SyncStarted(environment="b", fingerprint=""))
    assert history.state.dirty == {"b"}

    history.add(synced(worker, "b"))
    assert (history.state.dirty, history.state.worker) == (frozenset(), None)


def test_a_sync_that_failed_or_was_lost_leaves_it_dirty():
    history = in_stage(Stage.SYNCING)
    history.add(WorkerLost(worker=history.add(SyncStarted(environment="b", fingerprint=""))))
    assert history.state.dirty == {"b"}

    worker = history.add(SyncStarted(environment="b", fingerprint=""))
    history.add(synced(worker, "b", ok=False, tolerated=True))
    assert history.state.dirty == {"b"}


def test_a_sync_unsettles_what_it_touches():
    history = History().serving("a").switching("b").completed().switching("a").preflighted()
    assert history.state.settled == {"a": content_of("a")}

    history.add(SyncStarted(environment="a", fingerprint=""))
    assert history.state.settled == {}


def test_two_workers_at_once_are_illegal():
    history = in_stage(Stage.SYNCING)
    history.add(SyncStarted(environment="b", fingerprint=""))

    with pytest.raises(IllegalEventError, match=r"worker \d+ at work"):
        history.add(SyncStarted(environment="b", fingerprint=""))


@pytest.mark.parametrize(
    "event",
    [
        WorkerLost(worker=99),
        WorkerCancelled(worker=99, why=""),
        WorkerSpawned(worker=99, identity=SOMEBODY),
        synced(99, "b"),
    ],
    ids=lambda event: event.stored_name,
)
def test_an_unknown_worker_is_illegal(event):
    with pytest.raises(IllegalEventError, match="no worker 99"):
        in_stage(Stage.SYNCING).add(event)


def test_an_exit_is_an_event_of_its_own_kind():
    assert ProcessExited(spawn=1, code=0, signal="", cause=ExitCause.CLEAN).log_tail == ()


def test_an_intended_process_is_the_main_one_from_then_on():
    history = in_stage(Stage.CLEARING).cleared()
    seq = history.add(intended("b"))

    assert history.state.main == seq

"""What the fold makes of switches, their lock and their generations."""

import pytest

from journal.events import (
    Evidence,
    ExitCause,
    GenerationDisproved,
    GenerationProven,
    GenerationRecorded,
    LockAcquired,
    LockReleased,
    OrchestratorStopped,
    Origin,
    RefusalReason,
    RestartRequested,
    RollbackTryFailed,
    ShutdownRequested,
    StatusCleared,
    SupervisionParked,
    SwitchAborted,
    SwitchCriticallyFailed,
    SwitchFailed,
    SwitchKind,
    SwitchPreflighted,
    SwitchRefused,
    SwitchRolledBack,
)
from projections.generations import KEPT, Candidate
from projections.jobs import JobKind, Verdict
from projections.locking import Lock
from projections.state import SWITCHES_KEPT, OutcomeState
from projections.switching import IllegalEventError, Stage
from tests.helpers.histories import (
    PERSON,
    History,
    content_of,
    exited,
    in_stage,
    intended,
    planned,
    requested,
    source_seen,
)

CRITICAL = SwitchCriticallyFailed(error="nothing is left", recovery_command="switch a")
ABORTED = SwitchAborted(error="stopped", manual=False, recovery_command="switch a")
ABORTED_BY_HAND = SwitchAborted(error="pid 4711 takes over", manual=True, recovery_command="")


def refused(why: RefusalReason, origin: Origin = Origin.FILE) -> SwitchRefused:
    return SwitchRefused(target="b", source="a", origin=origin, why=why, message="no")


def recorded(environment: str, fingerprint: str = "") -> GenerationRecorded:
    return GenerationRecorded(
        environment=environment,
        fingerprint=fingerprint or content_of(environment),
        evidence=Evidence.PROBED,
        spawn=None,
        arguments=(),
    )


# ------------------------------------------------------------ beginning


def test_a_switch_remembers_what_served_when_it_was_asked_for():
    history = History().serving("a")
    generation = history.state.generations[-1].generation
    history.switching("b", origin=Origin.FILE, requester=PERSON)
    job = history.state.job

    assert (job.kind, job.environment, job.source, job.stage) == (JobKind.SWITCH, "b", "a", Stage.PREPARING)
    assert job.served == Candidate("a", generation)
    assert (job.origin, job.requester, job.verdict, job.is_switch) == (Origin.FILE, PERSON, Verdict.NONE, True)


def test_what_is_being_stopped_does_not_serve():
    history = History().serving("a")
    history.cleared()

    assert history.switching("b").state.job.served is None


def test_a_switch_takes_the_place_of_a_plain_start():
    history = in_stage(Stage.VALIDATING, JobKind.START)

    job = history.switching("b").state.job

    assert (job.kind, job.served) == (JobKind.SWITCH, Candidate("a", None))


def test_a_second_switch_is_illegal():
    with pytest.raises(IllegalEventError, match=r"switch \d+ open"):
        in_stage(Stage.SYNCING).add(requested("c"))


def test_a_recovery_has_its_verdict_from_the_start():
    history = History().serving("a")
    history.add(exited(history.state.main, 1, ExitCause.CRASH))
    crashes = history.state.crashes
    job = history.switching("a", kind=SwitchKind.RECOVER, reason="it crashed").state.job

    assert (job.stage, job.verdict, job.error, job.rolling_back) == (Stage.CHOOSING, Verdict.FAILED, "it crashed", True)
    assert history.state.recovered
    assert history.state.crashes == crashes == 1


def test_a_rollback_by_command_knows_its_generation():
    history = History().serving("a")
    job = history.switching("b", kind=SwitchKind.ROLLBACK, generation=7).state.job

    assert (job.kind, job.generation) == (JobKind.ROLLBACK, 7)


def test_whoever_asks_for_a_switch_is_given_a_clean_slate():
    history = History().serving("a")
    history.add(exited(history.state.main, 1, ExitCause.CRASH), SupervisionParked(why="", advice=""))
    history.add(RestartRequested(origin="cli"))
    state = history.switching("b").state

    assert (state.trouble, state.parked, state.probation, state.crashes, state.starts) == (None, None, None, 0, ())
    assert (state.restart_asked, state.recovered) == (None, False)


@pytest.mark.parametrize(
    ("history", "source", "environment"),
    [
        (History().begun("b"), "a", "a"),  # a panel starts us with the target's name: what served is the source
        (History().serving("a"), "nonsense", "a"),
        (History().begun("a"), "", "a"),
    ],
)
def test_what_is_started_when_a_switch_comes_to_nothing_is_what_served(history, source, environment):
    history.switching("b", source=source)

    assert history.state.environment == environment


# ------------------------------------------------------------------ lock


def test_the_lock_belongs_to_the_switch_in_the_envelope():
    history = in_stage(Stage.PREPARING)
    job = history.state.job

    assert history.state.lock == Lock(job.job, job.requested, PERSON)


def test_the_lock_is_not_taken_twice():
    with pytest.raises(IllegalEventError, match=r"lock held for switch \d+"):
        in_stage(Stage.PREPARING).add(LockAcquired(holder=None))


def test_a_claim_by_nobody_is_no_claim():
    with pytest.raises(IllegalEventError, match="no holder named"):
        History().serving().add(LockAcquired(holder=None))


def test_the_lock_is_not_freed_before_its_switch_has_ended():
    with pytest.raises(IllegalEventError, match="its switch not ended"):
        in_stage(Stage.PREPARING).add(LockReleased())


def test_a_free_lock_cannot_be_freed():
    with pytest.raises(IllegalEventError, match="lock free"):
        History().serving().add(LockReleased())


def test_the_death_of_whoever_asked_frees_nothing():
    history = in_stage(Stage.SYNCING)
    lock = history.state.lock

    assert history.succeeded_by().state.lock == lock


# ------------------------------------------------------------------- end


def test_a_completed_switch_is_shown_until_it_is_cleared():
    history = History().serving("a").switching("b").completed()
    outcome = history.state.outcome

    assert (outcome.state, outcome.target, outcome.source, outcome.serving) == (OutcomeState.COMPLETE, "b", "a", "b")
    assert (history.state.environment, history.state.job, history.state.lock) == ("b", None, None)
    assert history.state.switches == (outcome,)

    history.add(StatusCleared())
    assert history.state.outcome is None
    assert history.state.switches == (outcome,)


def test_a_switch_that_is_rolled_back_says_why_and_what_serves():
    history = History().serving("a").switching("b").preflighted()
    history.add(
        SwitchFailed(reason="sync", error="no such package"),
        SwitchRolledBack(environment="a", error="no such package", nothing_stopped=True),
        LockReleased(),
    )
    outcome = history.state.outcome

    assert (outcome.state, outcome.target, outcome.serving) == (OutcomeState.ROLLED_BACK, "b", "a")
    assert (outcome.error, history.state.environment) == ("no such package", "a")


def test_a_critical_failure_stays_until_something_is_healthy():
    history = in_stage(Stage.CHOOSING)
    history.add(CRITICAL, LockReleased(), StatusCleared(), ShutdownRequested(origin="cli"))
    history.add(OrchestratorStopped(why="", exit_status=0))
    assert history.state.outcome.state is OutcomeState.CRITICAL_FAILURE
    assert history.state.outcome.recovery_command == "switch a"

    history.begun().add(planned())
    history.synced().started().confirmed()
    assert history.state.outcome is None


def test_a_critical_failure_stays_until_the_next_switch():
    history = in_stage(Stage.CHOOSING)
    history.add(CRITICAL, LockReleased())

    assert history.switching("c").state.outcome is None


def test_a_shutdown_in_the_middle_of_a_switch_is_shown_as_critical():
    history = in_stage(Stage.SYNCING)
    history.add(ABORTED, LockReleased())

    assert history.state.outcome.state is OutcomeState.CRITICAL_FAILURE
    assert history.state.outcome.recovery_command == "switch a"


def test_an_abort_for_a_manual_start_is_still_shown_when_we_are_gone():
    history = in_stage(Stage.SYNCING)
    history.add(ABORTED_BY_HAND, LockReleased(), OrchestratorStopped(why="", exit_status=0))

    assert history.state.outcome.state is OutcomeState.ABORTED


def test_only_the_last_switches_are_remembered():
    history = History().serving("a")
    for _ in range(SWITCHES_KEPT + 2):
        history.switching("b").preflighted()
        history.add(SwitchRolledBack(environment="a", error="x", nothing_stopped=True), LockReleased())

    assert len(history.state.switches) == SWITCHES_KEPT


@pytest.mark.parametrize(
    "event",
    [SwitchFailed(reason="sync", error=""), SwitchRolledBack(environment="a", error="", nothing_stopped=True)],
)
def test_a_plain_start_has_no_switch_to_end(event):
    with pytest.raises(IllegalEventError, match="no switch open"):
        in_stage(Stage.SYNCING, JobKind.START).add(event)


# -------------------------------------------------------------- refusals


def test_a_refused_request_by_file_is_shown_to_its_page_as_rolled_back():
    history = History().serving("a")
    history.add(refused(RefusalReason.UNKNOWN))
    outcome = history.state.outcome

    assert (outcome.state, outcome.error, outcome.serving) == (OutcomeState.ROLLED_BACK, "no", "a")
    assert history.state.refused_at == history.now
    assert history.state.switches == ()


def test_a_page_that_asks_for_what_serves_is_told_complete():
    history = History().serving("b")
    history.add(refused(RefusalReason.ALREADY_SERVING))

    assert (history.state.outcome.state, history.state.outcome.error) == (OutcomeState.COMPLETE, "")


def test_a_refusal_to_a_command_line_is_no_status():
    history = History().serving("a")
    history.add(refused(RefusalReason.UNKNOWN, Origin.CLI))

    assert (history.state.outcome, history.state.refused_at) == (None, None)


def test_a_refusal_leaves_the_status_of_an_open_switch_alone():
    history = in_stage(Stage.SYNCING)
    history.add(refused(RefusalReason.SWITCH_OPEN))

    assert history.state.outcome is None


# -------------------------------------------------------------- rollback


def test_the_first_error_is_the_switchs_own():
    history = in_stage(Stage.CLEARING)
    history.add(SwitchFailed(reason="port", error="first"), SwitchFailed(reason="port", error="second"))

    assert history.state.job.error == "first"


def test_a_candidate_is_wanted_in_the_targets_place():
    history = in_stage(Stage.CHOOSING).tried("a", 5)
    job = history.state.job

    assert (job.wanted, job.environment, job.rolling) == ("a", "b", Candidate("a", 5))
    assert (job.is_given_up, job.public_state) == (False, "rolling_back")


def test_a_candidate_that_failed_is_remembered_as_tried():
    history = in_stage(Stage.CHOOSING).tried("a", 5)
    history.add(RollbackTryFailed(environment="a", reason="sync", error="no"))
    job = history.state.job

    assert (job.rolling, job.tried, job.stage) == (None, (Candidate("a", 5),), Stage.CHOOSING)
    assert history.state.dirty == {"a"}


def test_a_new_candidate_starts_counting_anew():
    history = in_stage(Stage.VALIDATING)
    history.add(exited(history.job_spawn, 42, ExitCause.RESTART))
    assert history.state.job.restarts == 1

    history.add(SwitchFailed(reason="exited", error="no"))
    history.rolling_back().tried()
    assert (history.state.job.restarts, history.state.job.lost_spawns) == (0, 0)


def test_a_preflight_that_nobody_started_is_illegal():
    with pytest.raises(IllegalEventError, match="no such worker"):
        in_stage(Stage.PREPARING).add(SwitchPreflighted(worker=1, ok=True, problem=""))


# ----------------------------------------------------------- generations


def test_only_the_last_generations_are_remembered():
    history = History().begun()
    history.add(*(recorded("a", f"f{number}") for number in range(KEPT + 3)))

    assert [generation.fingerprint for generation in history.state.generations][:2] == ["f3", "f4"]
    assert len(history.state.generations) == KEPT


def test_proof_and_disproof_end_probation():
    history = History().serving("a")
    generation = history.state.generations[-1].generation
    assert history.state.probation.generation == generation

    history.add(GenerationProven(generation=generation))
    assert history.state.generations[-1].proven
    assert history.state.probation is None

    history.add(GenerationDisproved(generation=generation, why="it crashed"))
    assert (history.state.generations[-1].proven, history.state.generations[-1].disproved) == (False, "it crashed")


def test_a_forgotten_generation_can_still_be_spoken_of():
    history = History().serving("a")
    generations = history.state.generations

    history.add(GenerationDisproved(generation=9999, why="it crashed"))

    assert history.state.generations == generations


def test_a_source_is_watched_beside_the_job():
    history = History().begun("b").switching("b", source="a", origin=Origin.FILE)
    seq = history.add(source_seen("a"))

    assert history.state.source_process.spawn == seq
    assert history.state.main is None


def test_a_start_belongs_to_its_job():
    history = in_stage(Stage.CLEARING).cleared()
    spawn = history.add(intended("b", generation=3))

    assert (history.state.main, history.state.job.spawn) == (spawn, spawn)
    assert history.state.job_process.generation == 3

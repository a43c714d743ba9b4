"""The fold of switches and their lock."""

from typing import Any, Final

from journal.codec import Recorded
from journal.events import (
    LockAcquired,
    LockBroken,
    LockReleased,
    Origin,
    RefusalReason,
    RollbackTried,
    RollbackTryFailed,
    StatusCleared,
    StatusSet,
    SwitchAborted,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchFailed,
    SwitchKind,
    SwitchPreflighted,
    SwitchRefused,
    SwitchRequested,
    SwitchRolledBack,
    SwitchRollingBack,
)
from projections.evolve_supervision import hide_success
from projections.generations import Candidate
from projections.jobs import Job, JobKind, Verdict
from projections.locking import OWNER_DEAD, Claim, Lock
from projections.posted import PostedStatus
from projections.replacing import replaced
from projections.state import SWITCHES_KEPT, Outcome, OutcomeState, WorkspaceState
from projections.switching import IllegalEventError, Stage


def _requested(state: WorkspaceState, event: SwitchRequested, recorded: Recorded) -> WorkspaceState:
    if state.job is not None and state.job.is_switch:
        raise IllegalEventError(f"switch {state.job.job} open", event.stored_name, recorded.seq)
    recovering = event.kind is SwitchKind.RECOVER
    main = state.main_process
    served = Candidate(main.environment, main.generation) if main and main.stopping is None else None
    job = Job(
        job=recorded.seq,
        kind=JobKind(event.kind.value),
        environment=event.target,
        source=event.source,
        stage=Stage.CHOOSING if recovering else Stage.PREPARING,
        stage_at=recorded.at,
        requested=recorded.at,
        served=served,
        generation=event.generation,
        restores=event.restores,
        requester=event.requester,
        origin=event.origin,
        verdict=Verdict.FAILED if recovering else Verdict.NONE,
        error=event.reason if recovering else "",
        rolling_back=recovering,
        failed=_known_to_fail(state, event) if recovering else frozenset(),
    )
    return replaced(
        state,
        job=job,
        environment=state.serving or event.source or state.environment,
        outcome=None,
        parked=None,
        trouble=None,
        probation=None,
        restart_asked=None,
        crashes=state.crashes if recovering else 0,
        starts=state.starts if recovering else (),
        recovered=recovering,
        bare_spent=False,
    )


def _known_to_fail(state: WorkspaceState, event: SwitchRequested) -> frozenset[tuple[str, str]]:
    """What a recovery recovers from."""
    trouble = state.trouble
    content = trouble.content if trouble is not None and trouble.environment == event.target else ""
    return frozenset({(event.target, content)})


def _refused(state: WorkspaceState, event: SwitchRefused, recorded: Recorded) -> WorkspaceState:
    already = event.why is RefusalReason.ALREADY_SERVING
    if event.origin.leaves_by_itself:
        state = replaced(state, refused_at=recorded.at)
    by_file = event.origin is Origin.FILE  # its page has had its answer already
    is_shown = by_file or (already and event.origin.is_a_page)
    if not is_shown or (state.job is not None and state.job.is_switch):
        return state
    outcome = Outcome(
        switch=recorded.seq,
        state=OutcomeState.COMPLETE if already else OutcomeState.ROLLED_BACK,
        target=event.target,
        source=event.source,
        serving=state.serving or state.environment,
        error="" if already else event.message,
        recovery_command="",
        at=recorded.at,
    )
    return replaced(state, outcome=outcome)


def _lock_acquired(state: WorkspaceState, event: LockAcquired, recorded: Recorded) -> WorkspaceState:
    if state.lock is not None:
        raise IllegalEventError(f"lock held for switch {state.lock.switch}", event.stored_name, recorded.seq)
    if recorded.switch is not None:  # a claim ends in the switch that it was meant for
        return replaced(state, lock=Lock(recorded.switch, recorded.at, event.holder), claim=None)
    if state.claim is not None or event.holder is None:
        stage = "no holder named" if state.claim is None else f"lock claimed by {state.claim.holder.pid}"
        raise IllegalEventError(stage, event.stored_name, recorded.seq)
    return replaced(state, claim=Claim(recorded.seq, recorded.at, event.holder))


def _lock_released(state: WorkspaceState, event: LockReleased, recorded: Recorded) -> WorkspaceState:
    if state.lock is None and state.claim is not None:
        return replaced(state, claim=None)
    if state.lock is None or (state.job is not None and state.job.is_switch):
        stage = "lock free" if state.lock is None else "its switch not ended"
        raise IllegalEventError(stage, event.stored_name, recorded.seq)
    return replaced(state, lock=None)


def _lock_broken(state: WorkspaceState, event: LockBroken, _: Recorded) -> WorkspaceState:
    return replaced(state, claim=None) if event.why == OWNER_DEAD else state


def _preflighted(state: WorkspaceState, event: SwitchPreflighted, recorded: Recorded) -> WorkspaceState:
    if state.worker is None or state.worker.worker != event.worker:
        stage = "no such worker"
        raise IllegalEventError(stage, event.stored_name, recorded.seq)
    return replaced(state, worker=None)


def _open_switch(state: WorkspaceState, recorded: Recorded) -> Job:
    if state.job is None or not state.job.is_switch:
        stage = "no switch open"
        raise IllegalEventError(stage, recorded.event.stored_name, recorded.seq)
    return state.job


def _failed(state: WorkspaceState, event: SwitchFailed, recorded: Recorded) -> WorkspaceState:
    job = _open_switch(state, recorded)
    verdict = job.verdict or Verdict.FAILED
    failed = _with_failed(job, job.environment, event.reason)
    return replaced(state, job=replaced(job, verdict=verdict, error=job.error or event.error, failed=failed))


def _with_failed(job: Job, environment: str, reason: str) -> frozenset[tuple[str, str]]:
    """A restore that failed says nothing about the content that it did not bring about."""
    return job.failed if reason == "restore" else job.failed | {(environment, job.content)}


def _rolling_back(state: WorkspaceState, event: SwitchRollingBack, recorded: Recorded) -> WorkspaceState:
    job = _open_switch(state, recorded)
    return replaced(state, job=replaced(job, rolling_back=True, error=event.error, spawn=None, content=""))


def _tried(state: WorkspaceState, event: RollbackTried, recorded: Recorded) -> WorkspaceState:
    job = _open_switch(state, recorded)
    candidate = Candidate(event.environment, event.generation, event.restores)
    job = replaced(job, rolling=candidate, spawn=None, content="", restarts=0, lost_spawns=0)
    return replaced(state, job=replaced(job, restoring=False, restored=False))


def _try_failed(state: WorkspaceState, event: RollbackTryFailed, recorded: Recorded) -> WorkspaceState:
    job = _open_switch(state, recorded)
    tried = job.tried if job.rolling is None else (*job.tried, job.rolling)
    dirty = state.dirty | {event.environment} if event.reason == "sync" else state.dirty
    failed = _with_failed(job, event.environment, event.reason)
    return replaced(state, dirty=dirty, job=replaced(job, rolling=None, tried=tried, spawn=None, failed=failed))


def _end(
    state: WorkspaceState,
    recorded: Recorded,
    outcome: OutcomeState,
    *,
    serving: str,
    error: str = "",
    command: str = "",
) -> WorkspaceState:
    job = _open_switch(state, recorded)
    ended = Outcome(
        switch=job.job,
        state=outcome,
        target=job.environment,
        source=job.source,
        serving=serving,
        error=error,
        recovery_command=command,
        at=recorded.at,
    )
    return replaced(
        state,
        job=None,
        outcome=ended,
        switches=(*state.switches, ended)[-SWITCHES_KEPT:],
        environment=serving or state.environment,
    )


def _completed(state: WorkspaceState, event: SwitchCompleted, recorded: Recorded) -> WorkspaceState:
    return _end(state, recorded, OutcomeState.COMPLETE, serving=event.environment)


def _rolled_back(state: WorkspaceState, event: SwitchRolledBack, recorded: Recorded) -> WorkspaceState:
    return _end(state, recorded, OutcomeState.ROLLED_BACK, serving=event.environment, error=event.error)


def _critically_failed(state: WorkspaceState, event: SwitchCriticallyFailed, recorded: Recorded) -> WorkspaceState:
    return _end(
        state, recorded, OutcomeState.CRITICAL_FAILURE, serving="", error=event.error, command=event.recovery_command
    )


def _aborted(state: WorkspaceState, event: SwitchAborted, recorded: Recorded) -> WorkspaceState:
    shown = OutcomeState.ABORTED if event.manual else OutcomeState.CRITICAL_FAILURE
    shown = OutcomeState.ROLLED_BACK if event.serving else shown
    return _end(state, recorded, shown, serving=event.serving, error=event.error, command=event.recovery_command)


def _status_set(state: WorkspaceState, event: StatusSet, recorded: Recorded) -> WorkspaceState:
    posted = PostedStatus(event.state, event.progress, event.message, event.fields, recorded.at)
    return replaced(state, posted=posted)


def _cleared(state: WorkspaceState, _event: StatusCleared, _: Recorded) -> WorkspaceState:
    return replaced(hide_success(state), posted=None)


HANDLERS: Final[dict[Any, Any]] = {
    SwitchRequested: _requested,
    SwitchRefused: _refused,
    SwitchPreflighted: _preflighted,
    SwitchFailed: _failed,
    SwitchRollingBack: _rolling_back,
    SwitchCompleted: _completed,
    SwitchRolledBack: _rolled_back,
    SwitchCriticallyFailed: _critically_failed,
    SwitchAborted: _aborted,
    LockAcquired: _lock_acquired,
    LockBroken: _lock_broken,
    LockReleased: _lock_released,
    RollbackTried: _tried,
    RollbackTryFailed: _try_failed,
    StatusSet: _status_set,
    StatusCleared: _cleared,
}

"""Giving up on a target, and the way back: nothing to undo, or candidate after candidate, or a critical failure."""

from journal.events import (
    Event,
    LockReleased,
    RollbackTried,
    RollbackTryFailed,
    SupervisionParked,
    SwitchCriticallyFailed,
    SwitchRolledBack,
    SwitchRollingBack,
)
from orchestrator.actions import Decision
from orchestrator.deciding.advice import recovery_command, restart_advice
from orchestrator.deciding.situation import Situation
from orchestrator.deciding.stopping import stop, stop_all
from projections.jobs import Job
from projections.rollback import remaining
from projections.state import Process


def giving_up(situation: Situation, job: Job) -> Decision:
    """A verdict, and no candidate yet. Was anything stopped for the target? If not, that is the end of it."""
    state = situation.state
    main, source = state.main_process, state.source_process
    waiting = stop_all(situation, "the switch is given up", but=state.main)
    if waiting is not None:
        return waiting
    if state.worker is not None:
        return situation.look_again()
    if main is not None and main.confirmed and main.stopping is None:
        return _nothing_stopped(situation, job, main)
    if main is not None:
        return stop(situation, main, "the switch is given up")
    if source is not None and source.stopping is None:
        return _nothing_stopped(situation, job, source)
    return situation.act(SwitchRollingBack(error=job.error))


def _nothing_stopped(situation: Situation, job: Job, serving: Process) -> Decision:
    ended = SwitchRolledBack(environment=serving.environment, error=job.error, nothing_stopped=True)
    return situation.act(ended, LockReleased())


def choosing(situation: Situation, job: Job) -> Decision:
    """Everything is stopped; then the next candidate is tried, until one serves or none is left."""
    state = situation.state
    waiting = stop_all(situation, "the switch is rolled back")
    if waiting is None and state.source_process is not None:
        waiting = stop(situation, state.source_process, "the switch is rolled back")
    if waiting is not None:
        return waiting
    if state.worker is not None:
        return situation.look_again()
    if situation.end_of_session is not None:
        return situation.end_of_session
    candidates = remaining(state, job)
    if not candidates:
        return _critical(situation, job)
    best = candidates[0]
    tried = RollbackTried(
        environment=best.environment,
        generation=best.generation,
        attempt=len(job.tried) + 1,
        restores=best.restores,
    )
    return situation.act(tried)


def no_way_back(situation: Situation, job: Job, error: str) -> Decision:
    """Nothing can be started as long as somebody else holds the port: no candidate is to blame, and none is spent on it."""
    wanted = job.wanted
    failed = RollbackTryFailed(environment=wanted, reason="port", error=error)
    return situation.act(failed, *_critical_events(situation, wanted, f"{job.error}; going back to {wanted}: {error}"))


def _critical(situation: Situation, job: Job) -> Decision:
    tried = ", ".join(candidate.environment for candidate in job.tried)
    outcome = f"went back to {tried} in vain" if tried else "there was no healthy environment to go back to"
    return situation.act(*_critical_events(situation, job.source or job.environment, f"{job.error}; {outcome}"))


def _critical_events(situation: Situation, environment: str, error: str) -> tuple[Event, ...]:
    return (
        SwitchCriticallyFailed(error=error, recovery_command=recovery_command(situation, environment)),
        LockReleased(),
        SupervisionParked(why=error, advice=restart_advice(situation)),
    )

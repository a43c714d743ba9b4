"""What it means that an attempt failed: it depends on whose attempt it was."""

from journal.events import Event, GenerationDisproved, RollbackTryFailed, StartFailed, SwitchFailed
from projections.generations import find
from projections.state import Job, WorkspaceState


def failure(state: WorkspaceState, job: Job, reason: str, error: str, spawn: int | None = None) -> tuple[Event, ...]:
    """The events that give up what `job` is attempting now.

    A plain start is over; a switch gets its verdict; a candidate of a rollback is spent, and what it was believed for with it.
    `reason` is one word: preflight, environment, sync, port, spawn, exited, restarting or timeout.
    """
    if not job.is_switch:
        return (StartFailed(environment=job.environment, reason=reason, error=error),)
    if job.rolling is None:
        return (SwitchFailed(reason=reason, error=error, spawn=spawn),)
    failed: tuple[Event, ...] = (RollbackTryFailed(environment=job.rolling.environment, reason=reason, error=error),)
    generation = job.rolling.generation
    if generation is not None and spawn is not None and find(state.generations, generation) is not None:
        failed = (*failed, GenerationDisproved(generation=generation, why=error))
    return failed

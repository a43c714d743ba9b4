"""The fold: `evolve(state, recorded)` is the state after one more event.

Pure, and strict: an event that cannot happen in the state is an `IllegalEventError` naming both. Handlers are by theme in
`evolve_supervision`, `evolve_switching`, `evolve_processes`, `evolve_workers` and `evolve_generations`.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from journal.codec import Recorded
from journal.events import CATALOGUE, Event, ProcessExited
from projections import evolve_generations, evolve_processes, evolve_supervision, evolve_switching, evolve_workers
from projections.replacing import replaced
from projections.state import WorkspaceState
from projections.switching import PROGRESS, STAGE_EVENTS, IllegalEventError, Stage, next_stage

Handler = Callable[[WorkspaceState, Any, Recorded], WorkspaceState]

_HANDLERS: Final[dict[type[Event], Handler]] = {
    **evolve_supervision.HANDLERS,
    **evolve_switching.HANDLERS,
    **evolve_processes.HANDLERS,
    **evolve_workers.HANDLERS,
    **evolve_generations.HANDLERS,
}

SILENT: Final = frozenset(
    {
        "spawn.requested",
        "file.drifted",
        "lock.refused",
        "health.failed",
        "guard.reaped",
    }
)
"""Events that explain, and change nothing in the state."""


def evolve(state: WorkspaceState, recorded: Recorded) -> WorkspaceState:
    """The state after `recorded`. Raises IllegalEventError for a gap in the seqs and for an event that cannot happen now."""
    event, before = recorded.event, state
    if recorded.seq != state.seq + 1:
        raise IllegalEventError(f"at seq {state.seq}", event.stored_name, recorded.seq)
    if event.stored_name in STAGE_EVENTS:
        state = _move_job(state, recorded)
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        state = handler(state, event, recorded)
    job = state.job
    if job is not None and job.progress < PROGRESS[job.public_state]:
        job = replaced(job, progress=PROGRESS[job.public_state])
    state = replaced(state, seq=recorded.seq, at=recorded.at, job=job)
    if state.posted is not None and state.posted is before.posted and _shown(state) != _shown(before):
        return replaced(state, posted=None)
    return state


def _shown(state: WorkspaceState) -> tuple[object, ...]:
    """What the status is made of, where nobody has posted another one."""
    job = state.job
    return (state.outcome, None if job is None else (job.job, job.public_state, job.error))


def fold(events: Iterable[Recorded], state: WorkspaceState | None = None) -> WorkspaceState:
    """The state after all of `events`, from `state` or from the very beginning."""
    state = state if state is not None else WorkspaceState()
    for recorded in events:
        state = evolve(state, recorded)
    return state


def unhandled() -> frozenset[str]:
    """Stored names that neither have a handler nor are listed as silent: a catalogue that outgrew the fold."""
    handled = {cls.stored_name for cls in _HANDLERS}
    return frozenset(CATALOGUE) - handled - SILENT


def _move_job(state: WorkspaceState, recorded: Recorded) -> WorkspaceState:
    job, event = state.job, recorded.event
    spawn = getattr(event, "spawn", None)
    if (
        event.stored_name.startswith(("process.", "health."))
        and spawn is not None
        and (job is None or job.spawn != spawn)
    ):
        return state
    if isinstance(event, ProcessExited) and not evolve_processes.is_start_to_repeat(state, event):
        return state
    if job is None:
        stage = "no job"
        raise IllegalEventError(stage, event.stored_name, recorded.seq)
    following = next_stage(job.stage, event, recorded.seq)
    if following is job.stage or following is Stage.OVER:
        return state
    return replaced(state, job=replaced(job, stage=following, stage_at=recorded.at))

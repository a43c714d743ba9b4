"""The fold of generations: what is remembered of them, how their content is kept, and which are pinned."""

from typing import Any, Final

import attrs

from journal.codec import Recorded
from journal.events import (
    CaptureFinished,
    CaptureSkipped,
    GenerationDisproved,
    GenerationPinned,
    GenerationProven,
    GenerationRecorded,
    GenerationUnpinned,
)
from projections.generations import Generation, Kept, find, remembered
from projections.replacing import replaced
from projections.state import WorkspaceState


def _recorded(state: WorkspaceState, event: GenerationRecorded, recorded: Recorded) -> WorkspaceState:
    made = Generation(
        generation=recorded.seq,
        environment=event.environment,
        fingerprint=event.fingerprint,
        evidence=event.evidence,
        recorded=recorded.at,
        arguments=event.arguments,
    )
    return replaced(state, generations=remembered((*state.generations, made), _in_use(state) | {recorded.seq}))


def _in_use(state: WorkspaceState) -> frozenset[int | None]:
    """What must not be forgotten now, however old it is."""
    main, job, worker = state.main_process, state.job, state.worker
    used = {None if main is None else main.generation, None if worker is None else worker.generation}
    if job is not None:
        used |= {job.wanted_generation, *job.saved.values(), None if job.served is None else job.served.generation}
    return frozenset(used)


def _mark(state: WorkspaceState, generation: int, **changes: Any) -> WorkspaceState:
    if find(state.generations, generation) is None:
        return state
    marked = tuple(attrs.evolve(g, **changes) if g.generation == generation else g for g in state.generations)
    return replaced(state, generations=marked)


def seen_healthy(state: WorkspaceState, generation: int, seq: int) -> WorkspaceState:
    """It was found healthy (again) by the event `seq`. What kept its content from being kept may be over."""
    return _mark(state, generation, seen=seq, not_kept="")


def captured(state: WorkspaceState, event: CaptureFinished, seq: int) -> WorkspaceState:
    """Its content is kept from now on, or it is known why not."""
    if event.ok:
        return _mark(state, event.generation, kept=Kept(seq, event.commit), not_kept="")
    return _mark(state, event.generation, not_kept=event.error)


def _capture_skipped(state: WorkspaceState, event: CaptureSkipped, _: Recorded) -> WorkspaceState:
    return _mark(state, event.generation, not_kept=event.why)


def _proven(state: WorkspaceState, event: GenerationProven, _: Recorded) -> WorkspaceState:
    return replaced(_mark(state, event.generation, proven=True, disproved=""), probation=None)


def _disproved(state: WorkspaceState, event: GenerationDisproved, _: Recorded) -> WorkspaceState:
    return replaced(_mark(state, event.generation, proven=False, disproved=event.why), probation=None)


def _pinned(state: WorkspaceState, event: GenerationPinned, _: Recorded) -> WorkspaceState:
    return _mark(state, event.generation, pinned=True, name=event.name)


def _unpinned(state: WorkspaceState, event: GenerationUnpinned, _: Recorded) -> WorkspaceState:
    return _mark(state, event.generation, pinned=False, name="")


HANDLERS: Final[dict[Any, Any]] = {
    GenerationRecorded: _recorded,
    GenerationProven: _proven,
    GenerationDisproved: _disproved,
    GenerationPinned: _pinned,
    GenerationUnpinned: _unpinned,
    CaptureSkipped: _capture_skipped,
}

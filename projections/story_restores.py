"""What a switch brought back: which content, over which, and how that is undone."""

import attrs

from journal.codec import Recorded
from journal.events import CaptureFinished, RestoreFinished, RestoreStarted
from projections.inventory import compare
from projections.story_model import Restored
from projections.story_telling import Telling


def restores_of(telling: Telling) -> tuple[Restored, ...]:
    """Every restore that was begun, in order. One that was interrupted and done again is told once."""
    told: dict[tuple[str, int], Restored] = {}
    for recorded, event in telling.all_of(RestoreStarted):
        key = event.environment, event.generation
        saved = told[key].saved if key in told else event.saved
        told[key] = attrs.evolve(_told(telling, recorded, event, saved), interrupted=key in told)
    return tuple(told.values())


def _told(telling: Telling, started: Recorded, event: RestoreStarted, saved: int) -> Restored:
    finished = next((found for _, found in telling.all_of(RestoreFinished) if found.worker == started.seq), None)
    was, brought = _captured(telling, saved), _captured(telling, event.generation)
    return Restored(
        environment=event.environment,
        generation=event.generation,
        saved=saved,
        seq=started.seq,
        ok=finished is not None and finished.ok,
        written=() if finished is None else finished.written,
        removed=() if finished is None else finished.removed,
        error="" if finished is None else finished.error,
        ref=f"refs/comfygit-journal/{saved}" if was is not None and was.commit else "",
        changed=() if was is None or brought is None else compare(brought.inventory, was.inventory),
    )


def _captured(telling: Telling, generation: int) -> CaptureFinished | None:
    """How that generation is kept, as far as the events tell."""
    for recorded in (*telling.before, *telling.own):
        event = recorded.event
        if isinstance(event, CaptureFinished) and event.generation == generation and event.ok:
            return event
    return None

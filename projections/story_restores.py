"""What a switch brought back: which content, over which, and how that is undone."""

from journal.codec import Recorded
from journal.events import CaptureFinished, RestoreFinished, RestoreStarted
from projections.story_model import Restored
from projections.story_telling import Telling


def restores_of(telling: Telling) -> tuple[Restored, ...]:
    """Every restore that was begun, in order. One that was interrupted and done again is told once."""
    told: dict[tuple[str, int], Restored] = {}
    for recorded, event in telling.all_of(RestoreStarted):
        finished = _end_of(telling, recorded)
        saved = (
            told[event.environment, event.generation].saved if (event.environment, event.generation) in told else None
        )
        told[event.environment, event.generation] = Restored(
            environment=event.environment,
            generation=event.generation,
            saved=event.saved if saved is None else saved,
            seq=recorded.seq,
            ok=finished is not None and finished.ok,
            written=() if finished is None else finished.written,
            removed=() if finished is None else finished.removed,
            error="" if finished is None else finished.error,
            ref=_ref_of(telling, event.saved),
        )
    return tuple(told.values())


def _end_of(telling: Telling, started: Recorded) -> RestoreFinished | None:
    return next((event for _, event in telling.all_of(RestoreFinished) if event.worker == started.seq), None)


def _ref_of(telling: Telling, saved: int) -> str:
    """The ref of the manifest repository that holds what was overwritten; "" where the journal holds it."""
    for recorded in (*telling.before, *telling.own):
        event = recorded.event
        if isinstance(event, CaptureFinished) and event.generation == saved and event.commit:
            return f"refs/comfygit-journal/{saved}"
    return ""

"""One switch as a story: who asked, what was done, what went wrong, what serves. Pure.

A story is told from the events between a switch's request and its end. What lies before may be given too, and is used
where it explains something: the crash behind a recovery, and since when nobody answered. What lies after is ignored.
"""

from collections.abc import Sequence
from typing import Final

from journal.codec import Recorded
from journal.events import (
    Event,
    OrchestratorLost,
    ProcessExited,
    SwitchAborted,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchRefused,
    SwitchRequested,
    SwitchRolledBack,
    WorkerLost,
)
from projections.endings import loss_in_words
from projections.story_cause import cause_of
from projections.story_model import Asker, Cause, Ending, Story
from projections.story_processes import serving_of, signals_of, silence_of, starts_of
from projections.story_restores import restores_of
from projections.story_stages import stages_of, tries_of
from projections.story_telling import ENDS, Telling, between_ns

__all__ = ["ENDS", "Ending", "NoSuchStoryError", "Story", "ending_of", "is_last_of", "story_of"]

_ENDINGS: Final[dict[type[Event], Ending]] = {
    SwitchCompleted: Ending.COMPLETE,
    SwitchRolledBack: Ending.ROLLED_BACK,
    SwitchCriticallyFailed: Ending.CRITICAL_FAILURE,
    SwitchAborted: Ending.ABORTED,
}


_LEAVING: Final = (ProcessExited, WorkerLost)
"""What names processes that could not be ended."""


class NoSuchStoryError(LookupError):
    """The events hold no such switch."""


def ending_of(event: Event) -> Ending:
    """What one of ENDS ends a switch with."""
    return _ENDINGS[type(event)]


def story_of(events: Sequence[Recorded], switch: int | None = None) -> Story:
    """The story of `switch`, or of the newest switch in `events` (ascending; gaps are tolerated).

    `switch` is the seq of a `switch.requested` or of a `switch.refused`. Raises NoSuchStoryError.
    """
    index = _request(events, switch)
    request, wish = events[index], events[index].event
    if isinstance(wish, SwitchRefused):
        return _refused(request, wish)
    assert isinstance(wish, SwitchRequested)  # noqa: S101 - `_request` finds nothing else
    own: list[Recorded] = []
    for recorded in events[index:]:
        if own and isinstance(recorded.event, SwitchRequested):
            break  # the end of this one is missing
        own.append(recorded)
        if is_last_of(recorded, request.seq):
            return _told(Telling(tuple(events[:index]), request, wish, tuple(own), recorded))
    return _told(Telling(tuple(events[:index]), request, wish, tuple(own), None))


def is_last_of(recorded: Recorded, switch: int) -> bool:
    """Whether the story of `switch` ends with this event."""
    if recorded.seq <= switch:
        return recorded.seq == switch and isinstance(recorded.event, SwitchRefused)
    return isinstance(recorded.event, ENDS) and recorded.switch in {None, switch}


def _request(events: Sequence[Recorded], switch: int | None) -> int:
    """The index of the newest request; of a refused one only where no other was ever made."""
    wanted = (SwitchRequested, SwitchRefused)
    found = [n for n, r in enumerate(events) if isinstance(r.event, wanted) and (switch is None or r.seq == switch)]
    if not found:
        message = "there is no switch yet" if switch is None else f"event {switch} is no switch"
        raise NoSuchStoryError(message)
    begun = [n for n in found if isinstance(events[n].event, SwitchRequested)]
    return (begun or found)[-1]


def _asker(recorded: Recorded, origin: str, requester_pid: int | None) -> Asker:
    who = recorded.actor
    return Asker(origin, who.role, who.identity.pid, who.host, requester_pid)


def _told(telling: Telling) -> Story:
    request, wish, end = telling.request, telling.wish, telling.end
    requester_pid = None if wish.requester is None else wish.requester.pid
    cause = cause_of(telling)
    serving, serving_spawn = serving_of(telling)
    last = None if end is None else end.event
    return Story(
        switch=request.seq,
        kind=wish.kind.value,
        target=wish.target,
        source=wish.source,
        asked=_asker(request, wish.origin.value, requester_pid),
        reason=wish.reason,
        at=request.at,
        ending=Ending.OPEN if last is None else ending_of(last),
        ended=None if end is None else end.at,
        ended_seq=None if end is None else end.seq,
        duration_ns=None if end is None else between_ns(request.at, end.at),
        error=getattr(last, "error", "") or ("" if cause is None else cause.error),
        cause=cause,
        stages=stages_of(telling),
        starts=starts_of(telling),
        tries=tries_of(telling),
        restores=restores_of(telling),
        signals=signals_of(telling),
        losses=tuple(loss_in_words(lost) for _, lost in telling.all_of(OrchestratorLost)),
        silence=silence_of(telling),
        serving=serving,
        serving_spawn=serving_spawn,
        nothing_stopped=isinstance(last, SwitchRolledBack) and last.nothing_stopped,
        manual=isinstance(last, SwitchAborted) and last.manual,
        recovery_command=getattr(last, "recovery_command", ""),
        takeovers=tuple(recorded.seq for recorded, _ in telling.all_of(OrchestratorLost)),
        left=tuple(
            one for recorded in telling.own if isinstance(recorded.event, _LEAVING) for one in recorded.event.left
        ),
    )


def _refused(request: Recorded, wish: SwitchRefused) -> Story:
    cause = Cause(seq=request.seq, event=wish.stored_name, reason=wish.why.value, error=wish.message)
    return Story(
        switch=request.seq,
        kind="switch",
        target=wish.target,
        source=wish.source,
        asked=_asker(request, wish.origin.value, None),
        at=request.at,
        ending=Ending.REFUSED,
        ended=request.at,
        ended_seq=request.seq,
        duration_ns=0,
        error=wish.message,
        cause=cause,
        nothing_stopped=True,
    )

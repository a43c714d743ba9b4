"""The stages of a story, and the candidates that its rollback tried."""

import attrs

from journal.codec import Recorded
from journal.events import (
    ExitCause,
    ProcessExited,
    ProcessSpawned,
    RollbackTried,
    RollbackTryFailed,
    SwitchFailed,
    SwitchPreflighted,
    SwitchRequested,
    SwitchRollingBack,
    SyncFinished,
    SyncSkipped,
)
from projections.story_model import Span, Try
from projections.story_telling import Telling, between_ns

ROLLING_BACK = "rolling_back"


def stages_of(telling: Telling) -> tuple[Span, ...]:
    """Every stage in the order of time; each lasts until the next begins."""
    spans: list[Span] = []
    for recorded in telling.own:
        if isinstance(recorded.event, SwitchRollingBack | RollbackTried):
            _roll(spans, recorded, recorded.event)
            continue
        name = _begins(telling, recorded, spans)
        if name:
            environment = "" if name == ROLLING_BACK else telling.wish.target
            spans.append(Span(name, environment, recorded.seq, recorded.at))
        if spans:
            spans[-1] = _noted(spans[-1], recorded)
    end = telling.end
    following = [span.at for span in spans[1:]] + [None if end is None else end.at]
    return tuple(
        span if until is None else attrs.evolve(span, duration_ns=between_ns(span.at, until))
        for span, until in zip(spans, following, strict=True)
    )


def _begins(telling: Telling, recorded: Recorded, spans: list[Span]) -> str:
    """The stage of the target that begins with this event, "" for none."""
    event = recorded.event
    if isinstance(event, SwitchRequested) and recorded.seq == telling.request.seq:
        return ROLLING_BACK if telling.rolling_back_seq == recorded.seq else "preparing"
    if not spans or spans[-1].name == ROLLING_BACK or spans[-1].failed:
        return ""
    match event:
        case SwitchPreflighted(ok=True):
            return "syncing"
        case SyncFinished(ok=True) | SyncFinished(tolerated=True) | SyncSkipped():
            return "starting"
        case ProcessSpawned() if event.spawn in telling.new_spawns:
            return "validating"
        case ProcessExited(cause=ExitCause.RESTART) if event.spawn in telling.new_spawns:
            return "syncing"
        case _:
            return ""


def _roll(spans: list[Span], recorded: Recorded, event: SwitchRollingBack | RollbackTried) -> None:
    """A candidate's stage; the first one's begins with the rollback, when what is left of the target is stopped."""
    if isinstance(event, SwitchRollingBack):
        spans.append(Span(ROLLING_BACK, "", recorded.seq, recorded.at))
    elif spans and spans[-1].name == ROLLING_BACK and not spans[-1].environment:
        spans[-1] = attrs.evolve(spans[-1], environment=event.environment)
    else:
        spans.append(Span(ROLLING_BACK, event.environment, recorded.seq, recorded.at))


def _noted(span: Span, recorded: Recorded) -> Span:
    match recorded.event:
        case SwitchFailed() | RollbackTryFailed():
            return attrs.evolve(span, failed=True)
        case SyncSkipped():
            return attrs.evolve(span, note="no sync: unchanged since it last ended well")
        case SyncFinished(tolerated=True) as event:
            return attrs.evolve(span, note=f"its sync failed and was tolerated: {event.error}")
        case ProcessExited(cause=ExitCause.RESTART) if span.name == "syncing":
            return attrs.evolve(span, note="it asked to be started again (exit code 42)")
        case _:
            return span


def tries_of(telling: Telling) -> tuple[Try, ...]:
    """Every candidate of the rollback, in the order in which they were tried."""
    tries: list[Try] = []
    for recorded in telling.own:
        event = recorded.event
        if isinstance(event, RollbackTried):
            tries.append(Try(event.attempt, event.environment, event.generation, recorded.seq))
        elif isinstance(event, RollbackTryFailed) and tries:
            tries[-1] = attrs.evolve(tries[-1], failure=event.error or event.reason)
    return tuple(tries)

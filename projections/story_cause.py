"""Why a switch failed: the event that decided it, with its evidence."""

from typing import Any

from journal.codec import Recorded
from journal.events import (
    AbortRequested,
    ExitCause,
    HealthFailed,
    ProcessExited,
    ProcessIntended,
    ProcessSpawnFailed,
    ShutdownRequested,
    StartFailed,
    SwitchAborted,
    SwitchCompleted,
    SwitchFailed,
    SwitchPreflighted,
    SyncFinished,
)
from projections.evolve_processes import describe_exit
from projections.story_model import Cause
from projections.story_telling import Telling, exit_of


def cause_of(telling: Telling) -> Cause | None:
    """The cause of failure; None for a switch that has not failed, or not yet."""
    end = telling.end
    if end is not None and isinstance(end.event, SwitchCompleted):
        return None
    if telling.rolling_back_seq == telling.request.seq:
        return _before(telling)
    failed = telling.last_of(SwitchFailed)
    if failed is not None and not (end is not None and isinstance(end.event, SwitchAborted)):
        return _of_failure(telling, *failed)
    return _of_wish(telling) or (None if end is None else _bare(end, "", getattr(end.event, "error", "")))


def _bare(recorded: Recorded, reason: str, error: str) -> Cause:
    return Cause(seq=recorded.seq, event=recorded.event.stored_name, reason=reason, error=error)


def _of_failure(telling: Telling, failed: Recorded, event: SwitchFailed) -> Cause:
    spawn, exited = event.spawn, None if event.spawn is None else exit_of(telling, event.spawn)
    deciding = _deciding(telling, failed, event)
    return Cause(
        seq=deciding.seq,
        event=deciding.event.stored_name,
        reason=event.reason,
        error=event.error,
        spawn=spawn,
        log_tail=() if exited is None else exited.log_tail,
        log="" if spawn is None else telling.log_of(spawn),
        **_exit_words(exited),
    )


def _deciding(telling: Telling, failed: Recorded, event: SwitchFailed) -> Recorded:
    """The observation behind the verdict; the verdict itself where there is none."""
    spawn = event.spawn
    if spawn is not None:
        return (
            telling.last_seen(ProcessExited, spawn, before=failed.seq)
            or telling.last_seen(ProcessSpawnFailed, spawn)
            or telling.last_seen(HealthFailed, spawn)
            or failed
        )
    if event.reason == "sync":
        return telling.last_seen(SyncFinished, before=failed.seq) or failed
    if event.reason == "preflight":
        return telling.last_seen(SwitchPreflighted, before=failed.seq) or failed
    return failed


def _exit_words(exited: ProcessExited | None) -> dict[str, Any]:
    if exited is None or exited.cause is ExitCause.STOPPED:
        return {}
    return {"exit": describe_exit(exited), "code": exited.code, "signal": exited.signal}


def _of_wish(telling: Telling) -> Cause | None:
    """Somebody did not want it any more."""
    recorded = telling.last_seen(ShutdownRequested) or telling.last_seen(AbortRequested)
    if recorded is None or not isinstance(recorded.event, ShutdownRequested | AbortRequested):
        return None
    asked = recorded.event
    what = "the switch was aborted" if isinstance(asked, AbortRequested) else "the orchestrator was stopped"
    reason = f": {asked.reason}" if asked.reason else ""
    return _bare(recorded, "asked", f"{what} by {asked.origin}{reason}")


def _before(telling: Telling) -> Cause:
    """What a recovery recovers from lies before it: a crash, or a start that failed, with the exit behind that."""
    failed: Recorded | None = None
    for recorded in reversed(telling.before):
        event = recorded.event
        if isinstance(event, ProcessExited) and event.cause is ExitCause.CRASH:
            return _of_crash(telling, recorded, event)
        if isinstance(event, ProcessIntended) and failed is not None:
            break  # what ended before this start is not why this one failed
        if isinstance(event, StartFailed) and failed is None:
            failed = recorded
    if failed is not None and isinstance(failed.event, StartFailed):
        return _bare(failed, failed.event.reason, telling.wish.reason or failed.event.error)
    return _bare(telling.request, "recover", telling.wish.reason)


def _of_crash(telling: Telling, recorded: Recorded, event: ProcessExited) -> Cause:
    return Cause(
        seq=recorded.seq,
        event=event.stored_name,
        reason="crash",
        error=telling.wish.reason,
        spawn=event.spawn,
        log_tail=event.log_tail,
        log=telling.log_of(event.spawn),
        **_exit_words(event),
    )

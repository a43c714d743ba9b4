"""The stages of one job as a table: stage x event -> next stage. Every transition there is stands here.

A job is one attempt to have one environment served: a plain start, or a switch with the lock. Two rules:

1. An event that the table does not list for the present stage is illegal, and says so (`IllegalEventError`).
2. The table knows no conditions. Where an event has two outcomes it has two symbols (`symbol_of`).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from journal.events import Event, ExitCause, ProcessExited, SwitchPreflighted, SyncFinished


class Stage(StrEnum):
    """Where a job is. A switch begins in PREPARING (a recovery in CHOOSING), a plain start in SYNCING."""

    PREPARING = "preparing"
    SYNCING = "syncing"
    CLEARING = "clearing"
    STARTING = "starting"
    VALIDATING = "validating"
    CHOOSING = "choosing"
    OVER = "over"


PUBLIC_STAGE: Final[Mapping[Stage, str]] = {
    Stage.PREPARING: "preparing",
    Stage.SYNCING: "syncing",
    Stage.CLEARING: "starting",
    Stage.STARTING: "starting",
    Stage.VALIDATING: "validating",
    Stage.CHOOSING: "rolling_back",
}
"""What the outside calls each stage; every stage of a job that rolls back is `rolling_back`."""

PROGRESS: Final[Mapping[str, int]] = {
    "preparing": 10,
    "syncing": 30,
    "recovering": 50,
    "starting": 60,
    "validating": 80,
    "rolling_back": 90,
    "complete": 100,
    "rolled_back": 100,
    "critical_failure": 100,
    "aborted": 100,
}
"""Per cent shown for each public state; within one switch the figure never falls."""


class IllegalEventError(Exception):
    """An event that cannot happen in this state: a bug in whoever appended it, or a journal that was tampered with."""

    def __init__(self, stage: str, event_name: str, seq: int) -> None:
        """`stage` is the job's stage, or words for the part of the state that forbids it."""
        self.stage = stage
        self.event_name = event_name
        self.seq = seq
        super().__init__(f"event {seq}, {event_name}, is illegal in stage {stage!r}")


_P, _S, _C, _T, _V, _H, _OVER = (
    Stage.PREPARING,
    Stage.SYNCING,
    Stage.CLEARING,
    Stage.STARTING,
    Stage.VALIDATING,
    Stage.CHOOSING,
    Stage.OVER,
)

TRANSITIONS: Final[dict[Stage, dict[str, Stage]]] = {
    _P: {
        "preflight.started": _P,
        "switch.preflighted": _S,
        "switch.preflighted:bad": _P,
        "switch.failed": _P,
        "switch.rolling_back": _H,
        "switch.rolled_back": _OVER,
        "switch.aborted": _OVER,
    },
    _S: {
        "sync.started": _S,
        "sync.finished": _C,
        "sync.finished:bad": _S,
        "sync.skipped": _C,
        "switch.failed": _S,
        "start.failed": _OVER,
        "rollback.try_failed": _H,
        "switch.rolling_back": _H,
        "switch.rolled_back": _OVER,
        "switch.aborted": _OVER,
    },
    _C: {
        "process.intended": _T,
        "switch.failed": _C,
        "start.failed": _OVER,
        "rollback.try_failed": _H,
        "switch.rolling_back": _H,
        "switch.rolled_back": _OVER,
        "switch.aborted": _OVER,
    },
    _T: {
        "process.spawned": _V,
        "process.spawn_failed": _C,
        "switch.failed": _T,
        "start.failed": _OVER,
        "rollback.try_failed": _H,
        "switch.rolling_back": _H,
        "switch.aborted": _OVER,
    },
    _V: {
        "process.exited:again": _S,
        "health.confirmed": _V,
        "switch.failed": _V,
        "start.failed": _OVER,
        "rollback.try_failed": _H,
        "switch.rolling_back": _H,
        "switch.completed": _OVER,
        "switch.rolled_back": _OVER,
        "switch.aborted": _OVER,
    },
    _H: {
        "rollback.tried": _S,
        "switch.critically_failed": _OVER,
        "switch.aborted": _OVER,
    },
}

STAGE_EVENTS: Final = frozenset(symbol.partition(":")[0] for row in TRANSITIONS.values() for symbol in row)
"""Stored names of the events that the table speaks about; all others leave the stage alone."""


def symbol_of(event: Event) -> str:
    """The stored name, with `:bad` or `:again` where one event has two outcomes."""
    match event:
        case SwitchPreflighted(ok=False) | SyncFinished(ok=False, tolerated=False):
            return f"{event.stored_name}:bad"
        case ProcessExited(cause=ExitCause.RESTART | ExitCause.STOPPED):
            return f"{event.stored_name}:again"
        case _:
            return event.stored_name


def next_stage(stage: Stage, event: Event, seq: int) -> Stage:
    """The stage after `event`. Raises IllegalEventError for an event that the table does not list for `stage`."""
    try:
        return TRANSITIONS[stage][symbol_of(event)]
    except KeyError:
        raise IllegalEventError(stage, event.stored_name, seq) from None

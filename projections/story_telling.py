"""The events that one story is told from, and the questions that every part of it asks of them."""

from collections.abc import Iterator
from functools import cached_property
from typing import TypeVar

import attrs

from journal.clock import Stamp, elapsed_ns
from journal.codec import Recorded
from journal.events import (
    Event,
    ProcessExited,
    ProcessIntended,
    SourceSeen,
    SwitchAborted,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchRequested,
    SwitchRolledBack,
    SwitchRollingBack,
)

E = TypeVar("E", bound=Event)

ENDS = (SwitchCompleted, SwitchRolledBack, SwitchCriticallyFailed, SwitchAborted)
"""The events of which one ends every switch."""


@attrs.frozen(slots=False)
class Telling:
    """`own` runs from `request` to `end`, both included, or to the newest event; `before` is what preceded."""

    before: tuple[Recorded, ...]
    request: Recorded
    wish: SwitchRequested
    own: tuple[Recorded, ...]
    end: Recorded | None

    def all_of(self, cls: type[E]) -> Iterator[tuple[Recorded, E]]:
        """Every event of that class between request and end, with its envelope."""
        for recorded in self.own:
            if isinstance(recorded.event, cls):
                yield recorded, recorded.event

    def last_of(self, cls: type[E], spawn: int | None = None, before: int | None = None) -> tuple[Recorded, E] | None:
        """The last event of that class; about `spawn` and with a seq below `before`, where given."""
        found = None
        for recorded, event in self.all_of(cls):
            if spawn is not None and getattr(event, "spawn", None) != spawn:
                continue
            if before is None or recorded.seq < before:
                found = (recorded, event)
        return found

    def last_seen(self, cls: type[Event], spawn: int | None = None, before: int | None = None) -> Recorded | None:
        """As `last_of`, the envelope only."""
        found = self.last_of(cls, spawn, before)
        return None if found is None else found[0]

    @cached_property
    def rolling_back_seq(self) -> int | None:
        """From which event on it was rolled back; a recovery is nothing else."""
        if self.wish.kind == "recover":
            return self.request.seq
        return next((recorded.seq for recorded, _ in self.all_of(SwitchRollingBack)), None)

    @cached_property
    def environments(self) -> dict[int, str]:
        """Which environment a spawn belongs to, as far as the events tell."""
        return {
            recorded.seq: recorded.event.environment
            for recorded in (*self.before, *self.own)
            if isinstance(recorded.event, ProcessIntended | SourceSeen)
        }

    def environment_of(self, spawn: int) -> str:
        """A spawn that nothing is known of is what served when the switch was asked for."""
        return self.environments.get(spawn, self.wish.source)

    @cached_property
    def new_spawns(self) -> frozenset[int]:
        """What this switch has started."""
        return frozenset(recorded.seq for recorded, _ in self.all_of(ProcessIntended))

    def log_of(self, spawn: int) -> str:
        """Where its output is, below `.metadata`; "" for a source, which is not ours."""
        if any(recorded.seq == spawn for recorded, _ in self.all_of(SourceSeen)):
            return ""
        environment = self.environment_of(spawn)
        return f"logs/{environment}/{spawn}.log" if environment else ""


def exit_of(telling: Telling, spawn: int) -> ProcessExited | None:
    """How that start ended, if it did."""
    found = telling.last_of(ProcessExited, spawn)
    return None if found is None else found[1]


def between_ns(since: Stamp, until: Stamp) -> int:
    """Nanoseconds between two events; by the wall clock, at least 0, where the machine was booted in between."""
    if since.boot_id != until.boot_id:
        return max(0, until.wall_ns - since.wall_ns)
    return elapsed_ns(since, until)

"""What serves at present and who supervises it: from the last events, not from a fold of them all."""

from collections.abc import Sequence
from typing import Final

import attrs

from comfygit_journal.reading import Reader
from journal.clock import before, iso
from journal.codec import Recorded
from journal.events import (
    HealthConfirmed,
    HealthResponsive,
    HealthUnresponsive,
    OrchestratorLost,
    OrchestratorStarted,
    OrchestratorStopped,
    ProcessExited,
    ProcessIntended,
    ProcessSpawned,
    ProcessStopAsked,
    SourceSeen,
)
from journal.identity import Identity, is_alive

_TYPES: Final = tuple(
    cls.stored_name
    for cls in (
        HealthConfirmed,
        HealthResponsive,
        HealthUnresponsive,
        OrchestratorLost,
        OrchestratorStarted,
        OrchestratorStopped,
        ProcessExited,
        ProcessIntended,
        ProcessSpawned,
        ProcessStopAsked,
        SourceSeen,
    )
)
_LOOK_BACK: Final = 200
"""Events of these types: more than a healthy start is ever followed by while it serves."""


@attrs.frozen
class Serving:
    """What was last seen healthy and has not been stopped since. `alive`: whether just that process still runs here.

    `unresponsive_since`: ISO 8601; None while it answers.
    """

    environment: str
    spawn: int
    pid: int | None
    alive: bool
    unresponsive_since: str | None = None


@attrs.frozen
class Present:
    """What serves, None when nothing does; the orchestrator's pid, None when none is known to be at work here."""

    serving: Serving | None
    orchestrator_pid: int | None


def present_of(reader: Reader) -> Present:
    """As far as journal and process table tell."""
    tail = reader.newest_of(_TYPES, _LOOK_BACK)
    orchestrator = orchestrator_of(tail)
    return Present(
        serving=serving_of(tail),
        orchestrator_pid=orchestrator.pid if orchestrator is not None and is_alive(orchestrator) else None,
    )


def orchestrator_of(tail: Sequence[Recorded]) -> Identity | None:
    """The orchestrator that has started and not ended, by `tail`."""
    for recorded in reversed(tail):
        if isinstance(recorded.event, OrchestratorStarted):
            return recorded.event.identity
        if isinstance(recorded.event, OrchestratorStopped | OrchestratorLost):
            return None
    return None


def serving_of(tail: Sequence[Recorded]) -> Serving | None:
    """The newest confirmed start that was neither asked to stop nor has ended, by `tail`."""
    over: set[int] = set()
    for recorded in reversed(tail):
        event = recorded.event
        if isinstance(event, ProcessExited | ProcessStopAsked):
            over.add(event.spawn)
        elif isinstance(event, HealthConfirmed) and event.spawn not in over:
            return _serving(tail, event.spawn)
    return None


def _serving(tail: Sequence[Recorded], spawn: int) -> Serving:
    environment, identity, unresponsive_since = "?", None, None
    for recorded in tail:
        event = recorded.event
        if recorded.seq == spawn and isinstance(event, ProcessIntended | SourceSeen):
            environment = event.environment
            identity = event.identity if isinstance(event, SourceSeen) else None
        elif isinstance(event, ProcessSpawned) and event.spawn == spawn:
            identity = event.identity
        elif isinstance(event, HealthUnresponsive) and event.spawn == spawn:
            unresponsive_since = iso(before(recorded.at, event.silent_ns).wall_ns)
        elif isinstance(event, HealthResponsive) and event.spawn == spawn:
            unresponsive_since = None
    return Serving(
        environment=environment,
        spawn=spawn,
        pid=None if identity is None else identity.pid,
        alive=identity is not None and is_alive(identity),
        unresponsive_since=unresponsive_since,
    )

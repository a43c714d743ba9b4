"""One switch from the request to its end, and the lock that belongs to it."""

from enum import StrEnum

from journal.events.registry import Event, event
from journal.identity import Identity


class SwitchKind(StrEnum):
    """Who wanted it: somebody, somebody who goes back, or the supervisor after a crash in probation."""

    SWITCH = "switch"
    ROLLBACK = "rollback"
    RECOVER = "recover"


class Origin(StrEnum):
    """The way a request came in."""

    FILE = "file"
    CLI = "cli"
    CONTROL = "control"
    SIGNAL = "signal"
    SUPERVISOR = "supervisor"


class RefusalReason(StrEnum):
    """Why a switch was not begun."""

    UNKNOWN = "unknown_environment"
    ALREADY_SERVING = "already_serving"
    LOCKED = "locked"
    SWITCH_OPEN = "switch_open"
    STOPPING = "stopping"


@event("switch.requested")
class SwitchRequested(Event):
    """A switch begins; its id is this event's seq. In the same transaction as its `lock.acquired`.

    `source` is "" when nothing served. `generation`: the one to return to, for a rollback by command. `requester` is the
    process that asked, where it is known. `reason` says why, for a recovery.
    """

    target: str
    source: str
    kind: SwitchKind
    origin: Origin
    generation: int | None = None
    requester: Identity | None = None
    reason: str = ""


@event("switch.refused")
class SwitchRefused(Event):
    """A switch was not begun. `already_serving` is reported to whoever asked as success."""

    target: str
    source: str
    origin: Origin
    why: RefusalReason
    message: str


@event("lock.acquired")
class LockAcquired(Event):
    """The switch lock is taken, for the switch in the envelope. `foreign`: a foreign lock file became this one."""

    holder: Identity | None
    foreign: bool = False


@event("lock.released")
class LockReleased(Event):
    """The switch lock is free; in the transaction of its switch's last event, and at no other time."""


@event("lock.broken")
class LockBroken(Event):
    """A foreign lock file without a switch was taken away: `foreign_stale`, or its request was `refused`."""

    why: str
    age_ns: int


@event("switch.preflighted")
class SwitchPreflighted(Event):
    """The target was looked at while the old environment still served. `problem` is "" when it is good."""

    worker: int
    ok: bool
    problem: str
    checks: tuple[str, ...] = ()


@event("switch.failed")
class SwitchFailed(Event):
    """The target is given up. What follows: nothing to undo, or a rollback. `spawn`: the start that failed, if there was one."""

    reason: str
    error: str
    spawn: int | None = None


@event("switch.completed")
class SwitchCompleted(Event):
    """The target serves."""

    environment: str
    spawn: int


@event("switch.rolling_back")
class SwitchRollingBack(Event):
    """The target is given up and something was stopped for it: candidates are tried from here on."""

    error: str


@event("rollback.tried")
class RollbackTried(Event):
    """The next candidate is about to be started. `attempt` counts from 1."""

    environment: str
    generation: int | None
    attempt: int


@event("rollback.try_failed")
class RollbackTryFailed(Event):
    """The candidate did not become healthy either."""

    environment: str
    reason: str
    error: str


@event("switch.rolled_back")
class SwitchRolledBack(Event):
    """The switch ended with another environment than its target serving. `nothing_stopped`: it served all the time."""

    environment: str
    error: str
    nothing_stopped: bool


@event("switch.critically_failed")
class SwitchCriticallyFailed(Event):
    """No candidate came up. `recovery_command` starts the last healthy environment when pasted into a shell."""

    error: str
    recovery_command: str


@event("switch.aborted")
class SwitchAborted(Event):
    """The switch ended because supervision ends. `manual`: for a ComfyUI that was started by hand and goes on."""

    error: str
    manual: bool
    recovery_command: str


@event("status.cleared")
class StatusCleared(Event):
    """The outcome of the last switch has been shown for long enough."""

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
    """The way a request came in: `file`, `function` and `panel` are ways of a ComfyUI's page.

    `file`: the public panel's files. `function`: a function of ours called in its place. `panel`: our own panel.
    """

    FILE = "file"
    FUNCTION = "function"
    PANEL = "panel"
    CLI = "cli"
    CONTROL = "control"
    SIGNAL = "signal"
    SUPERVISOR = "supervisor"

    @property
    def is_a_page(self) -> bool:
        """Whether a ComfyUI asked, which need not be one of ours."""
        return self in {Origin.FILE, Origin.FUNCTION, Origin.PANEL}

    @property
    def leaves_by_itself(self) -> bool:
        """Whether the ComfyUI that asked ends with 43 without being told."""
        return self in {Origin.FILE, Origin.FUNCTION}


class RefusalReason(StrEnum):
    """Why a switch was not begun."""

    UNKNOWN = "unknown_environment"
    ALREADY_SERVING = "already_serving"
    LOCKED = "locked"
    SWITCH_OPEN = "switch_open"
    STOPPING = "stopping"
    ORCHESTRATOR_ACTIVE = "orchestrator_active"


@event("switch.requested")
class SwitchRequested(Event):
    """A switch begins; its id is this event's seq. In the same transaction as its `lock.acquired`.

    `source` is "" when nothing served. `generation`: the one to return to, for a rollback by command. `requester` is the
    process that asked, where it is known. `reason` says why, for a recovery. `restores`: the content of `generation` is
    brought back; else its environment is started as it is on the disk.
    """

    target: str
    source: str
    kind: SwitchKind
    origin: Origin
    generation: int | None = None
    requester: Identity | None = None
    reason: str = ""
    restores: bool = False


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
    """The switch lock is taken, for the switch in the envelope. `foreign`: a foreign lock file became this one.

    Without a switch in the envelope it is a claim: `holder` means to ask for one next. A claim ends with the holder's death.
    """

    holder: Identity | None
    foreign: bool = False


@event("lock.refused")
class LockRefused(Event):
    """`asker` wanted the lock without a switch, and did not get it: `why` names who has it."""

    asker: Identity
    why: str


@event("lock.released")
class LockReleased(Event):
    """The switch lock is free: in the transaction of its switch's last event, or when a claim is given up."""


@event("lock.broken")
class LockBroken(Event):
    """A lock without a switch was taken away.

    Of a foreign file, that is `foreign_stale`, whose request was `refused`, or that somebody asked to have `released`; or of
    a claim whose holder is dead (`owner_dead`).
    """

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
    """The next candidate is about to be started. `attempt` counts from 1.

    `restores`: the content of the generation is written back first; else it is started as it is on the disk.
    """

    environment: str
    generation: int | None
    attempt: int
    restores: bool = False


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
    """The switch ended before its target was reached or given up. `manual`: for a ComfyUI that was started by hand and goes on.

    `serving`: what serves or is about to, for a switch that was withdrawn while no orchestrator lived; else supervision ended.
    """

    error: str
    manual: bool
    recovery_command: str
    serving: str = ""


@event("status.set")
class StatusSet(Event):
    """Somebody outside of the orchestrator wants this status to be shown. `fields`: more of it, a JSON object as text."""

    state: str
    progress: int
    message: str
    fields: str


@event("status.cleared")
class StatusCleared(Event):
    """The outcome of the last switch, or a status that was set, has been shown for long enough."""

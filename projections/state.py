"""What the journal means: the state of one workspace, as data. How it comes about is in `projections.evolve`.

Everything here is frozen and replaced, never changed. Nothing here is measured: it is all from events.
"""

from collections.abc import Mapping
from enum import StrEnum

import attrs

from journal.clock import Stamp
from journal.events import ExitCause, Ladder, LeftBehind, OrchestratorLost, Role, StartupCaptured
from journal.identity import Identity
from projections.generations import Generation, Probation
from projections.jobs import Job
from projections.locking import Claim, Lock
from projections.posted import PostedStatus

SWITCHES_KEPT = 20
"""Switches that the state remembers the outcome of."""
STARTS_KEPT = 7
"""Starts that nobody asked for which the breaker looks back on: with one that was asked for, eight."""
REQUEST_FILE = ".switch_request.json"
"""Where a page asks for a switch, and where the open one is shown."""
LEFT_KEPT = 8
"""Processes that could not be ended which the state remembers, the newest last."""
INBOX_KEYS_KEPT = 16
"""Foreign files that are recognised when they turn up again."""


class Goal(StrEnum):
    """What the orchestrator is there for."""

    IDLE = "idle"
    SERVE = "serve"
    STOP = "stop"


class WorkKind(StrEnum):
    """What a worker does."""

    PREFLIGHT = "preflight"
    SYNC = "sync"
    CAPTURE = "capture"
    RESTORE = "restore"


class OutcomeState(StrEnum):
    """How a switch ended."""

    COMPLETE = "complete"
    ROLLED_BACK = "rolled_back"
    CRITICAL_FAILURE = "critical_failure"
    ABORTED = "aborted"


@attrs.frozen(slots=False)
class Stopping:
    """A stop under way. `rung` is the last one signalled, -1 before the first; `at` when. `kills`: how often with SIGKILL."""

    why: str
    ladder: Ladder
    asked: Stamp
    rung: int
    at: Stamp
    kills: int = 0


@attrs.frozen
class Unresponsive:
    """It serves and does not answer: since when, and what the newest probe found that an event tells of."""

    since: Stamp
    error: str


@attrs.frozen(slots=False)
class Process:
    """One ComfyUI. Without `identity` it is only intended. Its health deadline counts from `since` (spawned or adopted).

    `sweeps`: how often what it left behind was swept, the last time at `swept`.
    """

    spawn: int
    role: Role
    environment: str
    fingerprint: str
    generation: int | None
    port: int
    url: str
    owner: Identity
    since: Stamp
    identity: Identity | None = None
    successes: int = 0
    last_probe: Stamp | None = None
    last_probe_ok: bool = False
    last_probe_error: str = ""
    confirmed: Stamp | None = None
    stopping: Stopping | None = None
    swept: Stamp | None = None
    sweeps: int = 0
    unresponsive: Unresponsive | None = None


@attrs.frozen(slots=False)
class Worker:
    """A preflight, a sync, a capture or a restore under way. `generation`: whose content is kept or brought back.

    `kills`: how often it was, the last time at `cancelled`.
    """

    worker: int
    kind: WorkKind
    environment: str
    owner: Identity
    started: Stamp
    identity: Identity | None = None
    cancelled: Stamp | None = None
    cancelled_why: str = ""
    kills: int = 0
    generation: int | None = None


@attrs.frozen
class Outcome:
    """How the newest switch ended: what `.switch_status.json` shows until it is cleared."""

    switch: int
    state: OutcomeState
    target: str
    source: str
    serving: str
    error: str
    recovery_command: str
    at: Stamp


@attrs.frozen
class LastExit:
    """The newest exit of a main process, in event `seq`; `confirmed`: when it had become healthy, None if it never had."""

    seq: int
    spawn: int
    environment: str
    cause: ExitCause
    code: int | None
    signal: str
    confirmed: Stamp | None
    since: Stamp
    at: Stamp


@attrs.frozen
class Trouble:
    """The newest crash or failed start, until something is healthy or asked for. `reason`: "crash", or as in `start.failed`.

    `content` is what it was started with, "" where it was not. `seq` is that of the event which told of it.
    """

    seq: int
    why: str
    environment: str
    reason: str
    at: Stamp
    content: str = ""


@attrs.frozen
class Parked:
    """Given up, until asked."""

    why: str
    advice: str
    at: Stamp


@attrs.frozen
class Control:
    """Where the control server listens, and where a reverse proxy publishes it ("" without one)."""

    host: str
    port: int
    public_origin: str = ""


@attrs.frozen(slots=False)
class WorkspaceState:
    """One workspace at `seq`.

    `lost` is how the last orchestrator died, since one ended in good order.

    `main` is the spawn that owns the real port, or is on its way to. `settled` maps an environment to the content with which
    it last ended well after being healthy; `dirty` names those whose sync began and did not end well. `recovered`: the one
    automatic way back is spent until somebody asks for something; `bare_spent`: so is the
    last try without `extra_args`. `refused_at`: when a request by file last came to nothing. `left`: what could not be ended.
    """

    seq: int = 0
    at: Stamp | None = None
    journal_id: str = ""
    orchestrator: Identity | None = None
    orchestrator_since: Stamp | None = None
    guard: Identity | None = None
    lost: OrchestratorLost | None = None
    lost_at: Stamp | None = None
    control: Control | None = None
    goal: Goal = Goal.IDLE
    urgent: bool = False
    aborted_for: int | None = None
    environment: str = ""
    arguments: tuple[str, ...] = ()
    main: int | None = None
    processes: Mapping[int, Process] = attrs.Factory(dict)
    job: Job | None = None
    worker: Worker | None = None
    lock: Lock | None = None
    claim: Claim | None = None
    generations: tuple[Generation, ...] = ()
    probation: Probation | None = None
    trouble: Trouble | None = None
    crashes: int = 0
    starts: tuple[Stamp, ...] = ()
    recovered: bool = False
    bare_spent: bool = False
    parked: Parked | None = None
    restart_asked: int | None = None
    refused_at: Stamp | None = None
    outcome: Outcome | None = None
    posted: PostedStatus | None = None
    switches: tuple[Outcome, ...] = ()
    last_exit: LastExit | None = None
    left: tuple[LeftBehind, ...] = ()
    startup: StartupCaptured | None = None
    startup_at: Stamp | None = None
    settled: Mapping[str, str] = attrs.Factory(dict)
    dirty: frozenset[str] = frozenset()
    inbox_keys: tuple[str, ...] = ()

    @property
    def main_process(self) -> Process | None:
        """The process that owns the real port, if there is one."""
        return None if self.main is None else self.processes.get(self.main)

    @property
    def source_process(self) -> Process | None:
        """A ComfyUI that is not ours and is about to make room."""
        return next((p for p in self.processes.values() if p.role is Role.SOURCE), None)

    @property
    def job_process(self) -> Process | None:
        """The process that the job has started."""
        return None if self.job is None or self.job.spawn is None else self.processes.get(self.job.spawn)

    @property
    def serving(self) -> str:
        """The environment of a confirmed main that nobody has asked to stop; "" when there is none."""
        main = self.main_process
        return main.environment if main and main.confirmed and main.stopping is None else ""

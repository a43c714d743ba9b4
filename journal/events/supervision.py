"""The supervisor itself: its life, what it was asked, when it starts ComfyUI unasked and when it gives up."""

from enum import StrEnum

from journal.events.registry import Event, event
from journal.identity import Identity


class StartKind(StrEnum):
    """Why a plain start (no switch) happens. `BARE`: the last try before we park, without `extra_args`."""

    START = "start"
    RESTART = "restart"
    RETRY = "retry"
    BARE = "bare"


@event("journal.created")
class JournalCreated(Event):
    """The first event of every journal. `journal_id` marks the processes of this workspace in their environment."""

    journal_id: str
    workspace: str


@event("orchestrator.started")
class OrchestratorStarted(Event):
    """An orchestrator holds the singleton lock and has read the journal to its end.

    `environment` and `arguments` are what it was started with ("" and None: go on with what the journal says). `manual` is
    False when a guard brought it back: only a start by a person lifts a park.
    """

    identity: Identity
    release: str
    environment: str
    arguments: tuple[str, ...] | None
    manual: bool


@event("orchestrator.stopped")
class OrchestratorStopped(Event):
    """The last event of an orchestrator that ended in an orderly way."""

    why: str
    exit_status: int


@event("orchestrator.lost")
class OrchestratorLost(Event):
    """The next orchestrator found its predecessor dead without an `orchestrator.stopped`.

    `code` is None when a signal did it (`signal`), when nobody could tell, and when nothing did: `became_guard`, in place
    of one that was dead, so that its pid lives on.
    """

    identity: Identity
    code: int | None = None
    signal: str = ""
    became_guard: bool = False


@event("guard.started")
class GuardStarted(Event):
    """The orchestrator that has just started has this parent, which starts another one when it dies."""

    identity: Identity


@event("guard.lost")
class GuardLost(Event):
    """The guard was found dead. Whoever notices it becomes the next one."""

    identity: Identity


@event("guard.reaped")
class GuardReaped(Event):
    """The guard said how a process ended that was no child of this orchestrator. `code` is None when a signal did it."""

    spawn: int
    identity: Identity
    code: int | None
    signal: str


@event("control.listening")
class ControlListening(Event):
    """The control server accepts connections; None when it could not or may not (`why`).

    `public_origin` is where a reverse proxy publishes it, "" without one.
    """

    host: str
    port: int | None
    why: str = ""
    public_origin: str = ""


@event("startup.captured")
class StartupCaptured(Event):
    """How ComfyUI is started at present: the content of `.startup_state.json`."""

    environment: str
    workspace_root: str
    port: int
    python_executable: str
    working_directory: str
    argv: tuple[str, ...]


@event("spawn.requested")
class SpawnRequested(Event):
    """Somebody is about to start an orchestrator in the background."""

    environment: str
    command: tuple[str, ...]


@event("restart.requested")
class RestartRequested(Event):
    """Somebody wants the same environment again."""

    origin: str
    reason: str = ""


@event("shutdown.requested")
class ShutdownRequested(Event):
    """Somebody wants the end of supervision. `urgent`: a signal to us; the fast ladder applies."""

    origin: str
    reason: str = ""
    urgent: bool = False


@event("abort.requested")
class AbortRequested(Event):
    """Somebody wants the open switch to end. `manual_pid`: a ComfyUI started by hand that shall keep the port."""

    origin: str
    reason: str = ""
    manual_pid: int | None = None


@event("start.planned")
class StartPlanned(Event):
    """The present environment is started after `delay_ns`, outside any switch. Opens a job known by this event's seq.

    `attempt` counts retries after crashes from 1; 0 for a start that follows no crash. `asked` is False when nobody asked
    for it: only such starts count for the breaker.
    """

    environment: str
    kind: StartKind
    delay_ns: int
    attempt: int
    asked: bool


@event("start.failed")
class StartFailed(Event):
    """A plain start did not become healthy. Ends its job."""

    environment: str
    reason: str
    error: str


@event("supervision.parked")
class SupervisionParked(Event):
    """We stop trying: alive, answering, starting nothing until asked. `advice` says what to do."""

    why: str
    advice: str


@event("supervision.calm")
class SupervisionCalm(Event):
    """A healthy minute has passed: crashes and starts before it are forgotten."""

    spawn: int

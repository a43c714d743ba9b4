"""Processes of ours and others: ComfyUI from intention to exit, workers, and a source that somebody else started."""

from enum import StrEnum

import attrs

from journal.events.registry import Event, event
from journal.identity import Identity


class Role(StrEnum):
    """What a process is for us. `source`: a ComfyUI that we did not start, about to make room for a switch's target."""

    MAIN = "main"
    SOURCE = "source"


class Ladder(StrEnum):
    """Which signals in which order, and how long between them: see `orchestrator.ladders`."""

    PLANNED = "planned"
    DRAINED = "drained"
    URGENT = "urgent"


class ExitCause(StrEnum):
    """What an exit means, from its code and from what we know."""

    STOPPED = "stopped"
    RESTART = "restart"
    SWITCH = "switch"
    CLEAN = "clean"
    CRASH = "crash"


@attrs.frozen
class LeftBehind:
    """A process that we could not end, or may not. `name` is its program's; `why` is in words."""

    identity: Identity
    name: str
    why: str


@event("process.intended")
class ProcessIntended(Event):
    """A ComfyUI is about to be started; this event's seq names the spawn for ever, and its log file.

    `url` is where it will be probed. `fingerprint` is the environment's content as it is started; `generation` the one that
    a rollback returns to (None: whatever is on disk). `notes`: what was added to the arguments and why, or what is odd
    about the environment, a sentence each.
    """

    role: Role
    environment: str
    generation: int | None
    fingerprint: str
    host: str
    port: int
    url: str
    command: tuple[str, ...]
    working_directory: str
    notes: tuple[str, ...] = ()


@event("process.spawned")
class ProcessSpawned(Event):
    """It runs."""

    spawn: int
    identity: Identity


@event("process.spawn_failed")
class ProcessSpawnFailed(Event):
    """It was not started, or (`lost`) we died in between and found no trace of it."""

    spawn: int
    error: str
    lost: bool


@event("process.adopted")
class ProcessAdopted(Event):
    """This orchestrator watches it from now on: its predecessor, dead by now, had started it."""

    spawn: int
    identity: Identity


@event("process.stop_asked")
class ProcessStopAsked(Event):
    """We want its end. From here on its exit is ours, whatever the code."""

    spawn: int
    why: str
    ladder: Ladder


@event("process.signalled")
class ProcessSignalled(Event):
    """A signal is about to be sent. `rung` counts from 0; `whole_tree`: to every process that descends from it."""

    spawn: int
    signal: str
    rung: int
    whole_tree: bool


@event("process.swept")
class ProcessSwept(Event):
    """It is gone, but not all that it had started: these pids are about to be killed, as far as we may."""

    spawn: int
    pids: tuple[int, ...]


@event("process.exited")
class ProcessExited(Event):
    """It is gone, and so is all that it had started, but for those in `left`, which nothing could end.

    `code` is None when nobody could tell (an adopted process) or a signal ended it (`signal`). `log_tail` holds its last
    lines, at most 20, secrets masked. `given_up`: it is not gone itself, but is among `left`, and is not looked after any
    more; whatever it holds, its port above all, is a stranger's from here on. That is so, too, of one that was never ours,
    but another workspace's, of which this one is a copy.
    """

    spawn: int
    code: int | None
    signal: str
    cause: ExitCause
    log_tail: tuple[str, ...] = ()
    left: tuple[LeftBehind, ...] = ()
    given_up: bool = False


@event("source.seen")
class SourceSeen(Event):
    """A ComfyUI of the source environment answers for the workspace, and is not our child. This event's seq names it."""

    environment: str
    identity: Identity
    url: str
    port: int


@event("preflight.started")
class PreflightStarted(Event):
    """The target is being looked at. This event's seq names the worker."""

    environment: str


@event("sync.started")
class SyncStarted(Event):
    """The environment's packages are being brought in line with its lock file. This event's seq names the worker."""

    environment: str
    fingerprint: str


@event("sync.finished")
class SyncFinished(Event):
    """`tolerated`: it failed, and the start goes on with what is there."""

    worker: int
    environment: str
    ok: bool
    tolerated: bool
    duration_ns: int
    summary: str
    error: str


@event("sync.skipped")
class SyncSkipped(Event):
    """In place of a sync: the content is what it was when this environment last ended well."""

    environment: str
    fingerprint: str


@event("worker.spawned")
class WorkerSpawned(Event):
    """The worker has a process of its own."""

    worker: int
    identity: Identity


@event("worker.cancelled")
class WorkerCancelled(Event):
    """Nobody wants the worker's result any more; it is being killed."""

    worker: int
    why: str


@event("worker.lost")
class WorkerLost(Event):
    """The worker died with our predecessor, or was cancelled and is gone. Its work is done again where it is still wanted.

    `left`: it is not gone, but nothing could end it.
    """

    worker: int
    left: tuple[LeftBehind, ...] = ()

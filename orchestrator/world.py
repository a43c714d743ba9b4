"""What `decide` is told about the world outside the journal: frozen facts, observed just before.

Nothing in here but `Looks` is remembered. What matters after a crash is in the journal.
"""

from collections.abc import Mapping
from enum import StrEnum

import attrs

from journal.clock import Stamp
from journal.events import LeftBehind, Origin, SavedFile
from journal.identity import Identity
from orchestrator.actions import Took
from projections.locking import ForeignLock


class Presence(StrEnum):
    """Whether a process is there. `ABSENT`: intended, and no trace of it.

    `PENDING`: it cannot be told yet, neither whether an intended one is there nor how one that is gone has ended.
    """

    ALIVE = "alive"
    GONE = "gone"
    PENDING = "pending"
    ABSENT = "absent"


@attrs.frozen
class ChildFacts:
    """One process of the state, as it is. `code` and `signal` where the exit could be told.

    `left_behind` is what outlives it when it is gone, and itself with all that came from it when SIGKILL has been in vain; a
    `why` in there says that we may not signal that one. `elsewhere`: it is another workspace's, of which this is a copy.
    `reaped`: it was the guard that told.
    """

    presence: Presence
    identity: Identity | None = None
    code: int | None = None
    signal: str = ""
    left_behind: tuple[LeftBehind, ...] = ()
    log_tail: tuple[str, ...] = ()
    error: str = ""
    reaped: bool = False
    elsewhere: bool = False


@attrs.frozen
class WorkFacts:
    """The worker of the state: `alive` with or without a process of its own, or what it came to (`ended`).

    `summary` is of a sync, `checks` of a preflight, `commit`, `files` and `inventory` of a capture as in `capture.finished`,
    and `content` the half of a fingerprint that stands for what it has kept;
    `written` and `removed` of a restore as in `restore.finished`; `changed`: somebody had worked on what was to be overwritten.
    """

    alive: bool
    identity: Identity | None = None
    ended: bool = False
    ok: bool = False
    problem: str = ""
    summary: str = ""
    checks: tuple[str, ...] = ()
    commit: str = ""
    content: str = ""
    files: tuple[SavedFile, ...] = ()
    inventory: tuple[str, ...] = ()
    changed: bool = False
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@attrs.frozen
class ProbeFacts:
    """The result of one probe that no event tells of yet. `stranger`: who answered in place of the process probed."""

    spawn: int
    ok: bool
    latency_ns: int
    status: int | None
    error: str
    stranger: str = ""


@attrs.frozen
class Looks:
    """What probes of one process have shown so far: when the last one ended, how many in a row have failed, and since when.

    Remembered by the shell, and not across its death: the next orchestrator looks again.
    """

    spawn: int
    at: Stamp
    failures: int = 0
    failing_since: Stamp | None = None


def looks_after(looks: Looks | None, probe: ProbeFacts, now: Stamp) -> Looks:
    """With one more probe, which has just ended."""
    if probe.ok and not probe.stranger:
        return Looks(probe.spawn, now)
    if looks is None or looks.spawn != probe.spawn:
        return Looks(probe.spawn, now, 1, now)
    return Looks(probe.spawn, now, looks.failures + 1, looks.failing_since or now)


@attrs.frozen
class PortFacts:
    """Whether the port can be bound; if not, who holds it, in words."""

    port: int
    free: bool
    holder: str = ""


class AskKind(StrEnum):
    """What a foreign file turned out to be. `UNFINISHED`: somebody may still be writing it."""

    SWITCH = "switch"
    RESTART = "restart"
    SHUTDOWN = "shutdown"
    ABORT = "abort_switch"
    REJECTED = "rejected"
    UNFINISHED = "unfinished"


@attrs.frozen
class InboxItem:
    """A foreign file. `content` is its text, or for a rejected one its bytes in base64; `problem`: why it was rejected.

    `target` is of use only where `kind` is SWITCH; with a rejected request it is merely what its page is shown.
    `pid` is that of a living process that is not ours, or None.
    """

    name: str
    key: str
    kind: AskKind
    sha256: str
    mtime_ns: int
    inode: int
    content: str = ""
    target: str = ""
    source: str = ""
    reason: str = ""
    pid: int | None = None
    problem: str = ""


class TorchBuild(StrEnum):
    """What a torch was built for. `ACCELERATED`: CUDA, HIP, ROCm or XPU."""

    CPU = "cpu"
    ACCELERATED = "accelerated"
    UNKNOWN = "unknown"


@attrs.frozen
class TorchFacts:
    """The torch of an environment. `version` is "" where it does not say; `problem` says why the build is UNKNOWN."""

    build: TorchBuild
    version: str = ""
    problem: str = ""


@attrs.frozen
class EnvironmentFacts:
    """One environment on disk. `problem` is "" when it is there.

    `fingerprint` is None when nobody looked, "" when it cannot be told. `torch` is None when nobody looked, as on macOS.
    """

    name: str
    problem: str
    fingerprint: str | None = None
    python: str = ""
    working_directory: str = ""
    torch: TorchFacts | None = None


@attrs.frozen
class SwitchAsk:
    """Somebody wants another environment. `problem` is what is wrong with its name or folder ("" when nothing is).

    `generation` and `restores` as in `switch.requested`.
    """

    target: str
    origin: Origin
    source: str = ""
    problem: str = ""
    generation: int | None = None
    requester: Identity | None = None
    reason: str = ""
    restores: bool = False


@attrs.frozen
class World:
    """All facts for one decision. `launcher` is the command line that people run us with, before the subcommand.

    `claim_is_dead`: whoever holds the lock without a switch is gone.
    """

    me: Identity
    workspace: str = ""
    launcher: tuple[str, ...] = ("comfygit-orchestrator",)
    signal: str = ""
    processes: Mapping[int, ChildFacts] = attrs.Factory(dict)
    work: WorkFacts | None = None
    probe: ProbeFacts | None = None
    probing: bool = False
    looks: Looks | None = None
    port: PortFacts | None = None
    inbox: tuple[InboxItem, ...] = ()
    source: Identity | None = None
    foreign_lock: ForeignLock | None = None
    claim_is_dead: bool = False
    startup_environment: str = ""
    environments: Mapping[str, EnvironmentFacts] = attrs.Factory(dict)

    @property
    def next_item(self) -> InboxItem | None:
        """The first foreign file that nobody is still writing."""
        return next((item for item in self.inbox if item.kind is not AskKind.UNFINISHED), None)

    @property
    def has_unfinished_item(self) -> bool:
        """Whether a foreign file is still being written: what it will ask for is not known yet."""
        return any(item.kind is AskKind.UNFINISHED for item in self.inbox)

    def without(self, took: frozenset[Took]) -> "World":
        """The world after an action has used up part of it."""
        changes: dict[str, object] = {}
        if Took.SIGNAL in took:
            changes["signal"] = ""
        if Took.PROBE in took:
            changes["probe"] = None
        if Took.INBOX in took:
            changes["inbox"] = tuple(item for item in self.inbox if item is not self.next_item)
        if Took.WORKER in took:
            changes["work"] = None
        return attrs.evolve(self, **changes) if changes else self  # type: ignore[arg-type]

"""Histories of a workspace, as a supervisor would have journaled them: lists of events that fold, for any story."""

import itertools
from pathlib import Path

from journal import Draft, Journal
from journal.clock import MS, S, Stamp
from journal.codec import Actor, Recorded
from journal.events import (
    ControlListening,
    Event,
    Evidence,
    ExitCause,
    GenerationRecorded,
    HealthConfirmed,
    HealthFailed,
    HealthProbed,
    JournalCreated,
    Ladder,
    LockAcquired,
    LockReleased,
    OrchestratorStarted,
    Origin,
    PreflightStarted,
    ProcessExited,
    ProcessIntended,
    ProcessSignalled,
    ProcessSpawned,
    ProcessStopAsked,
    Role,
    RollbackTried,
    RollbackTryFailed,
    StartKind,
    StartPlanned,
    StartupCaptured,
    SwitchCompleted,
    SwitchFailed,
    SwitchKind,
    SwitchPreflighted,
    SwitchRequested,
    SwitchRolledBack,
    SwitchRollingBack,
    SyncFinished,
    SyncStarted,
)
from journal.identity import Identity

BOOT = "11111111-1111-1111-1111-111111111111"
NOON_NS = 1_772_366_400 * S
"""2026-03-01T12:00:00Z: when every history begins."""
SUPERVISOR = Actor("orchestrator", Identity(100, 1, BOOT), "host")
ASKER = Actor("cli", Identity(200, 2, BOOT), "host")
TRACEBACK = (
    "Traceback (most recent call last):",
    '  File "main.py", line 3, in <module>',
    "ImportError: no module torch",
)


class History:
    """Events in a row; each `add` is at the time to which `wait` has moved."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self.now_ns = 0
        self.switch: int | None = None
        self.boot = BOOT
        self.main = 0
        self.add(JournalCreated(journal_id="j" * 32, workspace="/ws"))

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)

    def add(self, event: Event, *, actor: Actor = SUPERVISOR, cause: int | None = None) -> int:
        """Append; the seq."""
        seq = len(self.events) + 1
        at = Stamp(NOON_NS + self.now_ns, self.now_ns, self.boot)
        self.events.append(Recorded(seq, f"{seq:032x}", event, at, actor, self.switch, cause, bytes(32)))
        return seq

    def supervise(self, identity: Identity = SUPERVISOR.identity, port: int | None = None) -> None:
        self.add(OrchestratorStarted(identity=identity, release="1", environment="", arguments=(), manual=True))
        if port is not None:
            self.add(ControlListening(host="127.0.0.1", port=port))

    def start(self, environment: str) -> int:
        """A plain start that becomes healthy; its spawn."""
        self.add(StartPlanned(environment=environment, kind=StartKind.START, delay_ns=0, attempt=0, asked=True))
        self.sync(environment)
        return self.serve(environment)

    def serve(self, environment: str, identity: Identity | None = None) -> int:
        """Started, probed and confirmed within five seconds."""
        spawn = self.spawn(environment, identity)
        self.wait(4)
        self.probe(spawn, ok=False)
        for successes in (1, 2, 3):
            self.wait(0.5)
            self.probe(spawn, successes=successes)
        self.confirm(spawn, environment)
        return spawn

    def spawn(self, environment: str, identity: Identity | None = None, notes: tuple[str, ...] = ()) -> int:
        self.add(
            StartupCaptured(
                environment=environment,
                workspace_root="/ws",
                port=8188,
                python_executable="/ws/python",
                working_directory="/ws",
                argv=("main.py",),
            )
        )
        spawn = self.add(
            ProcessIntended(
                role=Role.MAIN,
                environment=environment,
                generation=None,
                fingerprint=f"f-{environment}",
                host="127.0.0.1",
                port=8188,
                url="http://127.0.0.1:8188",
                command=("python", "main.py"),
                working_directory="/ws",
                notes=notes,
            )
        )
        self.add(ProcessSpawned(spawn=spawn, identity=identity or Identity(1000 + spawn, spawn, self.boot)))
        return spawn

    def probe(self, spawn: int, *, ok: bool = True, successes: int = 0, error: str = "connection refused") -> None:
        status = 200 if ok else None
        said = "" if ok else error
        self.add(HealthProbed(spawn=spawn, ok=ok, latency_ns=3 * MS, status=status, error=said, successes=successes))

    def confirm(self, spawn: int, environment: str) -> None:
        generation = self.add(
            GenerationRecorded(
                environment=environment,
                fingerprint=f"f-{environment}",
                evidence=Evidence.PROBED,
                spawn=spawn,
                arguments=(),
            )
        )
        self.add(HealthConfirmed(spawn=spawn, generation=generation))
        self.main = spawn

    def sync(self, environment: str, *, error: str = "") -> None:
        worker = self.add(SyncStarted(environment=environment, fingerprint=f"f-{environment}"))
        self.wait(0.4)
        self.add(
            SyncFinished(
                worker=worker,
                environment=environment,
                ok=not error,
                tolerated=False,
                duration_ns=400 * MS,
                summary="1 package",
                error=error,
            )
        )

    def ask(self, target: str, source: str, *, kind: SwitchKind = SwitchKind.SWITCH, reason: str = "") -> int:
        """A switch is asked for, with its lock."""
        self.switch = len(self.events) + 1
        recovering = kind is SwitchKind.RECOVER
        wish = SwitchRequested(
            target=target,
            source=source,
            kind=kind,
            origin=Origin.SUPERVISOR if recovering else Origin.CLI,
            requester=None if recovering else ASKER.identity,
            reason=reason,
        )
        self.add(wish, actor=SUPERVISOR if recovering else ASKER)
        self.add(LockAcquired(holder=ASKER.identity), actor=ASKER)
        return self.switch

    def preflight(self, target: str, *, problem: str = "") -> None:
        worker = self.add(PreflightStarted(environment=target))
        self.wait(0.1)
        self.add(SwitchPreflighted(worker=worker, ok=not problem, problem=problem, checks=("main.py",)))

    def stop(self, spawn: int, why: str, tail: tuple[str, ...] = ()) -> None:
        self.add(ProcessStopAsked(spawn=spawn, why=why, ladder=Ladder.PLANNED))
        self.add(ProcessSignalled(spawn=spawn, signal="SIGINT", rung=0, whole_tree=False))
        self.wait(2)
        self.add(ProcessExited(spawn=spawn, code=0, signal="", cause=ExitCause.STOPPED, log_tail=tail))

    def crash(self, spawn: int, *, code: int = 7, tail: tuple[str, ...] = TRACEBACK) -> str:
        """A start of the open switch ends by itself: the exit, and what its job makes of it."""
        error = f"ComfyUI ended with exit code {code} 1.3 s after its start; its last line: {tail[-1]}"
        self.wait(1.3)
        self.add(ProcessExited(spawn=spawn, code=code, signal="", cause=ExitCause.CRASH, log_tail=tail))
        self.add(HealthFailed(spawn=spawn, why="exited", detail=error))
        return error

    def fail(self, error: str, *, reason: str = "exited", spawn: int | None = None) -> None:
        self.add(SwitchFailed(reason=reason, error=error, spawn=spawn))

    def try_candidate(self, environment: str, attempt: int = 1) -> None:
        self.add(RollbackTried(environment=environment, generation=None, attempt=attempt))
        self.sync(environment)

    def end(self, event: Event) -> None:
        """The switch ends, and its lock is free."""
        self.add(event)
        self.add(LockReleased())
        self.switch = None

    def write(self, journal: Journal, after: int = 1) -> None:
        """Append what follows `after` to a journal that stands there, with the times and names of this history."""
        for at, together in itertools.groupby(self.events[after:], key=lambda recorded: recorded.at):
            journal.append([Draft(r.event, r.switch, r.cause) for r in together], at=at)


def serving(environment: str = "old") -> History:
    """A supervised workspace in which `environment` serves."""
    history = History()
    history.supervise(port=5050)
    history.start(environment)
    history.wait(100)
    return history


def completed() -> History:
    """A good switch from old to new."""
    history = serving()
    history.ask("new", "old")
    history.preflight("new")
    history.sync("new")
    history.stop(history.main, "room for new")
    spawn = history.serve("new")
    history.end(SwitchCompleted(environment="new", spawn=spawn))
    return history


def broken_target() -> History:
    """The target dies at its start: up to the verdict."""
    history = serving()
    history.ask("new", "old")
    history.preflight("new")
    history.sync("new")
    history.stop(history.main, "room for new")
    spawn = history.spawn("new")
    error = history.crash(spawn)
    history.fail(error, spawn=spawn)
    history.add(SwitchRollingBack(error=error))
    return history


def rolled_back() -> History:
    """The target dies at its start, and old serves again."""
    history = broken_target()
    error = f"{getattr(history.events[-1].event, 'error', '')}"
    history.try_candidate("old")
    history.serve("old")
    history.end(SwitchRolledBack(environment="old", error=error, nothing_stopped=False))
    return history


def spent_candidate(history: History, environment: str, attempt: int = 1) -> None:
    """A candidate that dies as well."""
    history.try_candidate(environment, attempt)
    error = history.crash(history.spawn(environment))
    history.add(RollbackTryFailed(environment=environment, reason="exited", error=error))


def journal_of(history: History, folder: Path) -> Path:
    """A workspace below `folder` whose journal holds this history; its root. No view is written."""
    path = folder / ".metadata" / "journal.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with Journal.open(path, SUPERVISOR) as journal:
        history.write(journal)
    return folder

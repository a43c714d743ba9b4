"""Tells of events as they are folded: one line each in the log, and for a switch in the log that its page shows."""

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import Any, Final

import attrs

from journal import clock
from journal.codec import Recorded
from journal.events import (
    Event,
    HealthConfirmed,
    LockReleased,
    ProcessExited,
    ProcessIntended,
    ProcessSignalled,
    RollbackTried,
    RollbackTryFailed,
    SwitchAborted,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchFailed,
    SwitchPreflighted,
    SwitchRefused,
    SwitchRequested,
    SwitchRolledBack,
    SwitchRollingBack,
    SyncFinished,
    SyncSkipped,
    SyncStarted,
    WorkerLost,
)
from journal.masking import mask
from orchestrator.ledger import Ledger
from orchestrator.logs.switch_log import LogEntry, OutputMirror, SwitchLog
from orchestrator.workspace import Workspace
from projections.endings import left_in_words
from projections.evolve_processes import describe_exit
from projections.state import WorkKind

_LOG = logging.getLogger(__name__)

SWITCH_LOG: Final = "supervisor-switch.log"
MIRROR_POLL_S: Final = 0.25
"""How often the target's output is mirrored while a switch is open."""

_SENTENCES: Final[dict[type[Event], tuple[str, str]]] = {
    SwitchRequested: ("INFO", "Switching from {source} to {target}"),
    SwitchRefused: ("WARNING", "Not switching to {target}: {message}"),
    SwitchFailed: ("ERROR", "{error}"),
    SwitchRollingBack: ("WARNING", "Rolling back: {error}"),
    RollbackTried: ("INFO", "Going back to {environment}"),
    RollbackTryFailed: ("ERROR", "Going back to {environment} failed: {error}"),
    SwitchCompleted: ("INFO", "Environment {environment} serves; the switch is complete"),
    SwitchRolledBack: ("WARNING", "Rolled back: environment {environment} serves. {error}"),
    SwitchCriticallyFailed: ("CRITICAL", "{error}. To start again: {recovery_command}"),
    SwitchAborted: ("WARNING", "{error}"),
    SyncStarted: ("INFO", "Syncing {environment}"),
    SyncSkipped: ("INFO", "{environment} is unchanged since it last ended well; no sync"),
    ProcessIntended: ("INFO", "Starting ComfyUI of {environment} on port {port}"),
    ProcessSignalled: ("INFO", "Sending {signal} to ComfyUI (start {spawn})"),
    HealthConfirmed: ("INFO", "ComfyUI answers (start {spawn})"),
    LockReleased: ("DEBUG", "The switch lock is free"),
}


def sentence(event: Event) -> tuple[str, str] | None:
    """Level and words for the switch log; None for an event that only matters to us."""
    if isinstance(event, ProcessExited):
        return "INFO", f"ComfyUI (start {event.spawn}) ended: {describe_exit(event)}"
    if isinstance(event, SwitchPreflighted):
        return ("INFO", "The target looks good") if event.ok else ("ERROR", f"The target is no good: {event.problem}")
    if isinstance(event, SyncFinished):
        return ("INFO", f"Synced: {event.summary}") if event.ok else ("ERROR", f"The sync failed: {event.error}")
    if type(event) not in _SENTENCES:
        return None
    level, words = _SENTENCES[type(event)]
    return level, words.format(**fields_of(event))


def fields_of(event: Event) -> dict[str, Any]:
    """The event's fields by name, not recursed into."""
    return {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}


class Narrator:
    """Listens to a ledger."""

    def __init__(self, workspace: Workspace, ledger: Ledger) -> None:
        """Writes into the workspace's switch log."""
        self._workspace = workspace
        self._ledger = ledger
        self._switch_log = SwitchLog(workspace.metadata / SWITCH_LOG)
        self._mirror: OutputMirror | None = None
        self._mirrored: int | None = None
        self._syncs: deque[Path] = deque()
        self._open = asyncio.Event()

    def hear(self, recorded: Recorded) -> None:
        """One more event has been folded."""
        _log(recorded)
        said = sentence(recorded.event)
        in_switch = recorded.switch is not None or isinstance(recorded.event, SwitchRefused)
        if isinstance(recorded.event, SyncStarted) and recorded.switch is not None:
            self._syncs.append(self._sync_log(recorded.event.environment, recorded.seq))
        if said is not None and in_switch and said[0] != "DEBUG":
            self._switch_log.write(*said, recorded.at)
            for note in _notes(recorded.event):
                self._switch_log.write(logging.getLevelName(_level(note)), note, recorded.at)
        if self._ledger.state.lock is not None:
            self._open.set()

    def entries(self) -> list[LogEntry]:
        """The last 80 entries of the switch log."""
        return self._switch_log.entries()

    async def mirror(self) -> None:
        """Copy what syncs and the target print into the switch log while a switch is open; until cancelled."""
        while True:
            await self._open.wait()
            self._step()
            if self._ledger.state.lock is None:
                self.finish()
                self._open.clear()
            else:
                await asyncio.sleep(MIRROR_POLL_S)

    def finish(self) -> None:
        """The switch has ended: nothing more will be mirrored of it."""
        mirror, self._mirror, self._mirrored = self._mirror, None, None
        if mirror is not None:
            mirror.finish()

    def _sync_log(self, environment: str, worker: int) -> Path:
        return self._workspace.worker_log_path(environment, worker, WorkKind.SYNC.value)

    def _step(self) -> None:
        while self._syncs:  # from events: a sync may be over before anybody looks
            self._turn_to(self._syncs.popleft())
        process = self._ledger.state.job_process
        if process is not None and process.spawn != self._mirrored:
            self._mirrored = process.spawn
            self._turn_to(self._workspace.log_path(process.environment, process.spawn))
        if self._mirror is not None:
            self._mirror.step(clock.read())

    def _turn_to(self, log: Path) -> None:
        """One mirror per switch: what it may append is counted over all its starts."""
        if self._mirror is None:
            self._mirror = OutputMirror(log, self._switch_log)
        else:
            self._mirror.step(clock.read())  # what came since the last look
            self._mirror.follow(log)


_QUIET: Final = frozenset({"health.probed", "file.drifted"})
_LONG: Final = frozenset({"log_tail", "command", "content", "content_base64", "notes", "files", "inventory", "left"})


def _notes(event: Event) -> tuple[str, ...]:
    if isinstance(event, ProcessExited | WorkerLost):
        return tuple(f"left: {left_in_words(one)}" for one in event.left)
    return event.notes if isinstance(event, ProcessIntended) else ()


def _level(note: str) -> int:
    """What was done is said; what could not be told, or done, is a warning."""
    return logging.INFO if "was added" in note else logging.WARNING


def _log(recorded: Recorded) -> None:
    event = recorded.event
    if event.stored_name in _QUIET:
        return
    shown = {name: value for name, value in fields_of(event).items() if name not in _LONG}
    facts = mask(" ".join(f"{name}={str(value)[:200]!r}" for name, value in shown.items()))
    _LOG.info("%d %s %s", recorded.seq, event.stored_name, facts, extra={"seq": recorded.seq})
    for note in _notes(event):
        _LOG.log(_level(note), "%s", mask(note), extra={"seq": recorded.seq})

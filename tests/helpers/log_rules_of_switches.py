"""From the log: how a switch begins and ends, what becomes of requests, and in which order candidates are tried."""

from collections.abc import Sequence
from typing import Any, ClassVar

from journal.clock import S, is_over
from journal.codec import Recorded
from journal.events import (
    AbortRequested,
    Event,
    ExitCause,
    FileIngested,
    LockAcquired,
    LockReleased,
    OrchestratorStarted,
    OrchestratorStopped,
    ProcessIntended,
    ProcessSignalled,
    RestartRequested,
    RollbackTried,
    RollbackTryFailed,
    ShutdownRequested,
    StartPlanned,
    SupervisionParked,
    SwitchAborted,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchFailed,
    SwitchKind,
    SwitchRefused,
    SwitchRequested,
    SwitchRolledBack,
    SwitchRollingBack,
)
from projections.evolve_supervision import inbox_key
from projections.generations import Generation, find
from projections.jobs import Verdict
from projections.rollback import TRIES_MAX
from projections.state import WorkspaceState
from projections.views import LOCK, PID, REQUEST, views
from tests.helpers.broken_invariant import must
from tests.helpers.log_rules import LogRules


def is_recovery(event: Event) -> bool:
    """Whether it was caused by how a ComfyUI ended, which nobody asked for."""
    return isinstance(event, SwitchRequested) and event.kind is SwitchKind.RECOVER


def may_end_too(state: WorkspaceState, recorded: Recorded) -> bool:
    """Whether ComfyUI was ended by somebody who may just be about to end its orchestrator, too."""
    last = state.last_exit
    unasked = last is not None and last.cause is ExitCause.CRASH and last.signal in {"SIGTERM", "SIGINT", "SIGHUP"}
    return last is not None and unasked and not is_over(last.at, S, recorded.at)


ANSWERS = (SwitchRequested, SwitchRefused, RestartRequested, ShutdownRequested, AbortRequested)


class SwitchRules(LogRules):
    """One switch at a time, from its request with its lock to its one end; an abort keeps it from its target."""

    def __init__(self, *args: Any) -> None:
        """No switch is open."""
        super().__init__(*args)
        self.open: int | None = None
        self.locked: int | None = None
        self.aborted = False
        self.given_up = False
        self.signalled: set[int] = set()

    def _requested(self, _state: WorkspaceState, recorded: Recorded, event: SwitchRequested) -> None:
        must(self.open is None, "{} while switch {} is open", event, self.open)
        must(recorded.switch == recorded.seq, "{} in the name of switch {}", event, recorded.switch)
        self.open, self.aborted, self.given_up = recorded.seq, False, event.kind is SwitchKind.RECOVER
        self.signalled.clear()

    def _locked(self, _state: WorkspaceState, recorded: Recorded, event: LockAcquired) -> None:
        must(self.locked is None and recorded.switch == self.open, "{} for {}", event, recorded.switch)
        self.locked = recorded.switch

    def _released(self, _state: WorkspaceState, _recorded: Recorded, event: LockReleased) -> None:
        must(self.locked is not None and self.open is None, "{}, but switch {} is open", event, self.open)
        self.locked = None

    def _given_up(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self.given_up = True

    def _abort(self, _state: WorkspaceState, _recorded: Recorded, event: AbortRequested) -> None:
        if self.open is not None and event.manual_pid is None and not self.given_up:
            self.aborted = (
                True  # one for a ComfyUI that was started by hand is an end, until somebody starts us by hand
            )

    def _signalled(self, _state: WorkspaceState, _recorded: Recorded, event: ProcessSignalled) -> None:
        self.signalled.add(event.spawn)

    def _end(self, state: WorkspaceState, recorded: Recorded, event: Event) -> None:
        must(recorded.switch == self.open and self.open is not None, "{} of switch {}", event, recorded.switch)
        self.open = None
        if isinstance(event, SwitchCompleted):
            must(not (self.aborted or self.given_up), "{}, though it was given up", event)
            must(state.job is not None and event.environment == state.job.environment, "{} is not its target", event)
        if isinstance(event, SwitchRolledBack) and event.nothing_stopped:
            serving = state.main if state.main_process is not None else None
            must(serving not in self.signalled, "{}, but spawn {} was signalled", event, serving)

    def after_transaction(self, appended: Sequence[Recorded], state: WorkspaceState) -> None:
        """Where something begins or ends, the files say so."""
        must(self.open == self.locked, "switch {} is open, switch {} has the lock", self.open, self.locked)
        if any(type(recorded.event) in self.CHECKS for recorded in appended):
            shown = views(state)
            must((shown[LOCK] is not None) == (self.open is not None), "switch {}, shown {}", self.open, shown[LOCK])
            must((shown[REQUEST] is None) == (shown[LOCK] is None), "{} beside {}", shown[REQUEST], shown[LOCK])
            pid = None if state.orchestrator is None else str(state.orchestrator.pid).encode()
            must(shown[PID] == pid, "pid {} is shown, not {}", shown[PID], pid)

    def at_rest(self, state: WorkspaceState) -> None:
        """Every switch has ended."""
        must(self.open is None, "at rest, but switch {} has not ended", self.open)

    CHECKS: ClassVar = {
        SwitchRequested: _requested,
        LockAcquired: _locked,
        LockReleased: _released,
        SwitchFailed: _given_up,
        SwitchRollingBack: _given_up,
        AbortRequested: _abort,
        ProcessSignalled: _signalled,
        SwitchCompleted: _end,
        SwitchRolledBack: _end,
        SwitchCriticallyFailed: _end,
        SwitchAborted: _end,
    }


class RequestRules(LogRules):
    """Whatever was asked is answered once, and done unless something later takes its place."""

    def __init__(self, *args: Any) -> None:
        """Nobody has asked for anything."""
        super().__init__(*args)
        self.answered: set[int] = set()
        self.restart: int | None = None
        self.stop: int | None = None

    def _stop(self, state: WorkspaceState, recorded: Recorded, event: Any) -> None:
        if isinstance(event, AbortRequested) and (event.manual_pid is None or state.lock is None):
            return
        self.stop = recorded.seq

    def _orchestrator(self, _state: WorkspaceState, _recorded: Recorded, event: OrchestratorStarted) -> None:
        self.stop = None if event.manual else self.stop

    def _stopped(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self.stop = self.restart = None

    def _restart(self, _state: WorkspaceState, recorded: Recorded, _event: object) -> None:
        self.restart = recorded.seq

    def _begins(self, _state: WorkspaceState, _recorded: Recorded, event: Event) -> None:
        must(self.stop is None, "{} after {} asked for the end", event, self.stop)
        if isinstance(event, ProcessIntended | SwitchRequested):
            self.restart = None

    def _parked(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self.restart = None

    def after_transaction(self, appended: Sequence[Recorded], state: WorkspaceState) -> None:
        """A file that is taken in is the cause of exactly one answer, which is to what it asked."""
        for one in appended:
            if isinstance(one.event, FileIngested):
                answers = [r.event for r in appended if r.cause == one.seq and isinstance(r.event, ANSWERS)]
                must(len(answers) == 1, "{} is answered {} times", one.event, len(answers))
                self._is_the_answer(one.event, answers[0])
                self.answered.add(one.seq)
            elif one.cause is not None and isinstance(one.event, ANSWERS) and not is_recovery(one.event):
                must(one.cause in {r.seq for r in appended}, "{} answers {} again", one.event, one.cause)

    def _is_the_answer(self, event: FileIngested, answer: Event) -> None:
        item = self.machine.written.get(inbox_key(event.name, event.sha256, event.mtime_ns, event.inode))
        if item is None or not isinstance(answer, SwitchRequested | SwitchRefused):
            return
        must(answer.target == item.target, "{} is answered with {}", event, answer)

    def at_rest(self, state: WorkspaceState) -> None:
        """Neither a restart nor an end that was asked for is still due."""
        must(self.restart is None, "at rest, but the restart that {} asked for was not done", self.restart)
        must(self.stop is None, "at rest, but {} asked for the end", self.stop)

    CHECKS: ClassVar = {
        ShutdownRequested: _stop,
        AbortRequested: _stop,
        OrchestratorStarted: _orchestrator,
        OrchestratorStopped: _stopped,
        RestartRequested: _restart,
        StartPlanned: _begins,
        SwitchRequested: _begins,
        RollbackTried: _begins,
        ProcessIntended: _begins,
        SwitchCompleted: _begins,
        SupervisionParked: _parked,
    }


class CandidateRules(LogRules):
    """A rollback goes to what served, then to the rest of that environment, then to the proven, newest first."""

    def __init__(self, *args: Any) -> None:
        """Nothing has failed."""
        super().__init__(*args)
        self.tries = 0
        self.failed: set[str] = set()
        self.contents: set[tuple[str, str]] = set()
        self.served = ""
        self.started: tuple[str, str] | None = None

    def _requested(self, state: WorkspaceState, recorded: Recorded, event: SwitchRequested) -> None:
        must(not is_recovery(event) or not may_end_too(state, recorded), "{} too soon after {}", event, state.last_exit)
        self.tries, self.started = 0, None
        self.failed, self.contents = ({event.target} if event.kind is SwitchKind.RECOVER else set()), set()
        main = state.main_process
        self.served = "" if main is None or main.stopping is not None else main.environment

    def _intended(self, _state: WorkspaceState, _recorded: Recorded, event: ProcessIntended) -> None:
        self.started = (event.environment, event.fingerprint.partition("-")[0])

    def _failed(self, state: WorkspaceState, _recorded: Recorded, event: Any) -> None:
        if event.reason == "restore" or state.job is None:
            return
        self.failed.add(state.job.wanted)
        if self.started is not None and self.started[0] == state.job.wanted:
            self.contents.add(self.started)

    def _tried(self, state: WorkspaceState, recorded: Recorded, event: RollbackTried) -> None:
        must(not may_end_too(state, recorded), "{} too soon after {}", event, state.last_exit)
        self.tries += 1
        must(event.attempt == self.tries <= TRIES_MAX, "{} is try {}", event, self.tries)
        must(event.restores or event.environment not in self.failed, "{} has failed as it is", event)
        known = find(state.generations, event.generation)
        saved = {} if state.job is None else state.job.saved
        if event.restores and known is not None and event.generation not in saved.values():
            must((known.environment, known.content) not in self.contents, "{} has failed with this content", event)
        job = state.job
        if job is None or job.saved or job.verdict is not Verdict.FAILED:
            return
        if self.served and self.served not in self.failed:
            must(event.environment == self.served, "{}, though {!r} served", event, self.served)
        elif event.environment != job.source and known is not None and not event.restores:
            better = [g for g in state.generations if self._is_better(g, known, job.source)]
            must(not better, "{}, though {} is better", event, better)

    def _is_better(self, one: Generation, chosen: Generation, source: str) -> bool:
        if not one.is_good or one.environment in {chosen.environment, *self.failed}:
            return False
        if one.environment == source:
            return True
        return (one.proven, one.age_key) > (chosen.proven, chosen.age_key)

    CHECKS: ClassVar = {
        SwitchRequested: _requested,
        ProcessIntended: _intended,
        SwitchFailed: _failed,
        RollbackTryFailed: _failed,
        RollbackTried: _tried,
    }

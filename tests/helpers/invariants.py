"""What must hold in every history, checked after each transaction and each effect. More of it is in `log_rules`."""

from collections.abc import Sequence

import attrs

from journal.codec import Recorded
from journal.events import (
    CaptureStarted,
    Event,
    FileIngested,
    FileRejected,
    HealthConfirmed,
    LockAcquired,
    LockBroken,
    LockReleased,
    OrchestratorStopped,
    PreflightStarted,
    ProcessExited,
    ProcessIntended,
    ProcessSignalled,
    ProcessSpawned,
    ProcessStopAsked,
    ProcessSwept,
    RestoreStarted,
    RollbackTried,
    SourceSeen,
    SwitchAborted,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchRequested,
    SwitchRolledBack,
    SyncStarted,
    WorkerCancelled,
)
from orchestrator.actions import (
    Effect,
    End,
    KillWorker,
    Probe,
    Signal,
    Spawn,
    StartCapture,
    StartPreflight,
    StartRestore,
    StartSync,
    Sweep,
    TakeFile,
    TakeForeignLock,
)
from orchestrator.config import Config
from projections.evolve_supervision import inbox_key
from projections.generations import Candidate
from projections.rollback import TRIES_MAX
from projections.state import Goal, WorkspaceState
from projections.switching import Stage
from projections.views import status_document
from tests.helpers.broken_invariant import BrokenInvariantError, must
from tests.helpers.log_rules import LogRules
from tests.helpers.log_rules_of_processes import HealthRules, ProcessRules, StartRules
from tests.helpers.log_rules_of_switches import CandidateRules, RequestRules, SwitchRules
from tests.helpers.log_rules_of_the_breaker import BreakerRules
from tests.helpers.simulated_comfyui import NEVER_NS, SimulatedProcess
from tests.helpers.simulated_machine import SimulatedMachine

RULES: tuple[type[LogRules], ...] = (
    HealthRules,
    ProcessRules,
    StartRules,
    BreakerRules,
    SwitchRules,
    RequestRules,
    CandidateRules,
)
TERMINAL = (SwitchCompleted, SwitchRolledBack, SwitchCriticallyFailed, SwitchAborted)


@attrs.define
class Invariants:
    """Watches one history from its beginning."""

    machine: SimulatedMachine
    config: Config
    log: list[Recorded] = attrs.Factory(list)
    taken: set[str] = attrs.Factory(set)
    spawned: set[int] = attrs.Factory(set)
    exited: set[int] = attrs.Factory(set)
    given_up: set[int] = attrs.Factory(set)
    shown: tuple[int, int] = (0, 0)
    rules: tuple[LogRules, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Each group of rules counts for itself."""
        self.rules = tuple(kind(self.machine, self.config) for kind in RULES)

    # ---------------------------------------------------- transactions

    def before_event(self, state: WorkspaceState, recorded: Recorded) -> None:
        """Look at one event and the state that it meets."""
        event = recorded.event
        self.log.append(recorded)
        for rules in self.rules:
            rules.before_event(state, recorded)
        match event:
            case FileIngested() | FileRejected():
                key = inbox_key(event.name, event.sha256, event.mtime_ns, event.inode)
                must(key not in self.taken, "{} is taken in twice", key)
                self.taken.add(key)
            case ProcessSpawned():
                must(event.spawn not in self.spawned, "spawn {} was spawned twice", event.spawn)
                self.spawned.add(event.spawn)
            case ProcessExited():
                must(event.spawn not in self.exited, "spawn {} exited twice", event.spawn)
                self.exited.add(event.spawn)
                found = self.machine.started.get(event.spawn)
                swept = found is None or event.given_up or not found.survivors
                must(swept, "spawn {} is gone, but not its survivors", event.spawn)
                alive = found is not None and found.is_alive(self.machine.now_ns)
                must(event.given_up or not alive, "spawn {} is alive", event.spawn)
                if event.given_up:
                    self.given_up.add(event.spawn)
            case _:
                self._is_allowed(state, event)

    def _is_allowed(self, state: WorkspaceState, event: Event) -> None:
        match event:
            case ProcessStopAsked():
                self._stop_is_due(state, event)
            case RollbackTried():
                self._candidate_is_believed(state, event)
            case RestoreStarted():
                self._present_is_saved(state, event)

    def after_transaction(self, before: WorkspaceState, appended: Sequence[Recorded], after: WorkspaceState) -> None:
        """Look at the state between two transactions."""
        for rules in self.rules:
            rules.after_transaction(appended, after)
        drafts = [recorded.event for recorded in appended]
        switch_is_open = after.job is not None and after.job.is_switch
        must((after.lock is not None) == switch_is_open, "lock {}, job {}", after.lock, after.job)
        if after.lock is not None and after.job is not None:
            must(after.lock.switch == after.job.job, "the lock is another switch's")
        kinds = [type(event) for event in drafts]
        ends = sum(kind in TERMINAL for kind in kinds)
        must(ends == kinds.count(LockReleased), "a switch ends without its lock, or the lock without its switch")
        must(kinds.count(LockAcquired) == kinds.count(SwitchRequested), "a switch begins without its lock")
        if before.job is not after.job or before.outcome is not after.outcome or before.posted is not after.posted:
            self._progress_never_falls(after)
        self._nothing_is_lost(after)
        for event in drafts:
            if isinstance(event, TERMINAL):
                self._end_is_clean(event, drafts, after)
            if isinstance(event, OrchestratorStopped):
                must(not self._started_alive() and after.worker is None, "it leaves something running")

    def at_rest(self, state: WorkspaceState) -> None:
        """Look at the state when nothing is under way."""
        must(state.lock is None, "at rest, but locked")
        for rules in self.rules:
            rules.at_rest(state)

    def _nothing_is_lost(self, state: WorkspaceState) -> None:
        """Whatever of ours is alive, the state knows of; and there is never more than one."""
        alive = self._started_alive()
        strays = [spawn for spawn, process in alive if spawn not in state.processes]
        must(not strays, "alive and forgotten: spawns {}", strays)
        must(len(alive) <= 1, "two are alive at once: {}", alive)
        now_ns = self.machine.now_ns
        at_work = {one.worker for one in self.machine.workers.values() if now_ns < one.ends_ns < NEVER_NS}
        known = set() if state.worker is None else {state.worker.worker}
        must(at_work <= known, "at work and forgotten: {}", at_work - known)

    def _end_is_clean(self, event: Event, drafts: Sequence[Event], state: WorkspaceState) -> None:
        """Where a switch ends, only what is said to serve is alive, and it was validated or never stopped."""
        alive = {process.identity for _, process in self._started_alive()}
        if not isinstance(event, SwitchCompleted | SwitchRolledBack):
            must(not alive, "at {} still alive: {}", event, alive)
            return
        serving = state.main_process or state.source_process
        if serving is None or serving.environment != event.environment:
            message = f"{event}, but {serving} serves"
            raise BrokenInvariantError(message)
        must(alive <= {serving.identity}, "at {} also alive: {}, serving: {}", event, alive, serving)
        must(serving.stopping is None or state.restart_asked, "{} while {} is being stopped", event, serving)
        if isinstance(event, SwitchRolledBack) and event.nothing_stopped:
            served_all_the_time = serving is state.source_process or (
                serving.confirmed is not None and state.outcome is not None and serving.spawn < state.outcome.switch
            )
            must(served_all_the_time, "{}, but {} did not serve before it", event, serving)
        else:
            confirmed = [one.spawn for one in drafts if isinstance(one, HealthConfirmed)]
            must(confirmed == [serving.spawn], "{} without a validation of {}", event, serving)

    def _started_alive(self) -> list[tuple[int, SimulatedProcess]]:
        """All that may not be there besides each other, so not what SIGKILL does not end."""
        alive = [(one.spawn, one) for one in self.machine.alive() if one.spawn is not None]
        return [(spawn, one) for spawn, one in alive if spawn not in self.given_up]

    def _progress_never_falls(self, state: WorkspaceState) -> None:
        document = status_document(state) or {}
        switch, progress = document.get("switch_id", 0), document.get("progress", 0)
        if switch and switch == self.shown[0]:
            must(progress >= self.shown[1], "progress of switch {} fell from {} to {}", switch, self.shown[1], progress)
        if switch:
            self.shown = (switch, progress)

    def _stop_is_due(self, state: WorkspaceState, event: ProcessStopAsked) -> None:
        """Nobody stops a healthy main process but a shutdown, a restart, or a switch that has to make room."""
        process, job = state.processes[event.spawn], state.job
        if process.confirmed is None or event.spawn != state.main:
            return
        makes_room = job is not None and (
            job.stage is Stage.CLEARING
            or (job.stage is Stage.SYNCING and job.wanted == process.environment)
            or (job.is_switch and job.rolling_back)
        )
        must(
            state.goal is Goal.STOP or state.restart_asked is not None or makes_room,
            "{} although nothing wants it: job {}",
            event,
            job,
        )

    def _candidate_is_believed(self, state: WorkspaceState, event: RollbackTried) -> None:
        served = None if state.job is None else state.job.served
        known = event.generation in {generation.generation for generation in state.generations}
        served_before = served is not None and served.environment == event.environment
        must(known or served_before, "{} was never seen healthy", event)
        tried = () if state.job is None else state.job.tried
        candidate = Candidate(event.environment, event.generation, event.restores)
        must(candidate not in tried, "{} was tried before: {}", event, tried)
        as_it_is = {known.environment for known in tried if not known.restores}
        must(event.restores or event.environment not in as_it_is, "{} was tried before: {}", event, tried)
        must(len(tried) < TRIES_MAX, "{} is one too many: {}", event, tried)

    def _present_is_saved(self, state: WorkspaceState, event: RestoreStarted) -> None:
        """Nothing is overwritten that is not kept somewhere, and nothing that nobody asked to be and that has not failed."""
        environment = self.machine.environments[event.environment]
        saved = environment.refs.get(event.saved)
        here = environment.content
        must(event.generation in environment.refs, "{} has nothing to bring back", event)
        job = state.job
        interrupted = job is not None and job.restoring  # then the restore itself looks what it overwrites
        must(here == saved or interrupted, "{} overwrites {!r}, but {!r} is saved", event, here, saved)
        failed = {name for name, _ in job.failed} if job is not None else set()
        asked = job is not None and (job.generation == event.generation or event.environment in job.saved)
        must(asked or event.environment in failed, "{}, though nobody asked for that", event)

    # --------------------------------------------------------- effects

    def before_effect(self, effect: Effect, drafts: Sequence[Event]) -> None:
        """Every effect but a probe has its intention in the journal, and a start has its way clear."""
        if isinstance(effect, Spawn):
            must(not self._started_alive(), "{} while {} lives", effect, self._started_alive())
            must(not self.machine.port_holder(), "{} while the port is taken", effect)
        if isinstance(effect, Signal):
            must(self._is_to_be_signalled(effect), "{} goes to nobody of ours", effect)
        if isinstance(effect, StartSync | StartRestore):
            at_home = [one for _, one in self._started_alive() if one.environment == effect.environment]
            must(not at_home, "{} under the feet of {}", effect, at_home)
        last = drafts[-1] if drafts else None
        must(self._is_intended(effect, last), "{} without an intention; last event {}", effect, last)

    def _is_to_be_signalled(self, effect: Signal) -> bool:
        """Whether it is what that spawn started, or the source that this switch has seen."""
        started, seen = self.machine.started.get(effect.spawn), self._event(effect.spawn)
        if isinstance(seen, SourceSeen):
            return seen.identity == effect.identity
        return started is not None and started.identity == effect.identity

    def _is_intended(self, effect: Effect, last: Event | None) -> bool:
        match effect:
            case Spawn():
                wanted = self._event(effect.spawn)
                return isinstance(wanted, ProcessIntended) and wanted.command == effect.command
            case StartPreflight():
                return isinstance(self._event(effect.worker), PreflightStarted)
            case StartSync():
                return isinstance(self._event(effect.worker), SyncStarted)
            case StartCapture():
                return isinstance(self._event(effect.worker), CaptureStarted)
            case StartRestore():
                return isinstance(self._event(effect.worker), RestoreStarted)
            case TakeFile():
                return effect.key in self.taken
            case Probe():
                return True
            case _:
                return _announces(last, effect)

    def _event(self, seq: int) -> Event | None:
        return self.log[seq - 1].event if 0 < seq <= len(self.log) else None


def _announces(last: Event | None, effect: Effect) -> bool:
    match effect:
        case Signal():
            return isinstance(last, ProcessSignalled) and (last.spawn, last.signal) == (effect.spawn, effect.signal)
        case Sweep():
            return isinstance(last, ProcessSwept) and last.spawn == effect.spawn
        case KillWorker():
            return isinstance(last, WorkerCancelled) and last.worker == effect.worker
        case TakeForeignLock():
            return isinstance(last, LockBroken)
        case End():
            return isinstance(last, OrchestratorStopped) and last.exit_status == effect.exit_status
        case _:
            return False

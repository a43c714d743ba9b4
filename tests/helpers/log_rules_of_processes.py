"""From the log: probes and what follows from them, how processes are stopped, what their exits are taken for, and starts."""

from collections.abc import Sequence
from typing import Any, ClassVar

from journal.clock import S, Stamp, elapsed_ns, seconds
from journal.codec import Recorded
from journal.events import (
    Evidence,
    ExitCause,
    GenerationProven,
    GenerationRecorded,
    HealthConfirmed,
    HealthFailed,
    HealthProbed,
    Ladder,
    OrchestratorLost,
    OrchestratorStarted,
    ProcessAdopted,
    ProcessExited,
    ProcessIntended,
    ProcessSignalled,
    ProcessSpawned,
    ProcessStopAsked,
    ProcessSwept,
    RestartRequested,
    Role,
    RollbackTried,
    SourceSeen,
    StartFailed,
    StartKind,
    StartPlanned,
    SupervisionCalm,
    SupervisionParked,
    SwitchCriticallyFailed,
    SwitchKind,
    SwitchRequested,
    SyncFinished,
    SyncSkipped,
    SyncStarted,
    WorkerCancelled,
    WorkerLost,
)
from journal.identity import Identity
from orchestrator.deciding.idling import FIRST_RETRY_NS
from orchestrator.deciding.killing import SWEEPS_MAX
from orchestrator.deciding.settling import EXIT_SWITCH
from orchestrator.deciding.working import KILLS_MAX as WORKER_KILLS_MAX
from orchestrator.ladders import KILLS_MAX
from projections.state import STARTS_KEPT, WorkspaceState
from tests.helpers.broken_invariant import must
from tests.helpers.log_rules import LogRules


class HealthRules(LogRules):
    """Healthy is what answered so many probes in a row itself, with no orchestrator started in between."""

    def __init__(self, *args: Any) -> None:
        """Nothing was probed."""
        super().__init__(*args)
        self.runs: dict[int, int] = {}
        self.watched: dict[int, Stamp] = {}
        self.failed_at: dict[int, Stamp | None] = {}
        self.confirmed_at: dict[int, Stamp] = {}

    def _nobody_counts(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self.runs.clear()
        self.failed_at.clear()

    def _watched(self, _state: WorkspaceState, recorded: Recorded, event: Any) -> None:
        self.watched[event.spawn] = recorded.at

    def _probed(self, _state: WorkspaceState, recorded: Recorded, event: HealthProbed) -> None:
        must(event.ok == self.machine.honest.get(event.spawn), "{}, but that is not what it answered", event)
        self.runs[event.spawn] = self.runs.get(event.spawn, 0) + 1 if event.ok else 0
        self.failed_at[event.spawn] = None if event.ok else recorded.at
        must(event.successes == self.runs[event.spawn], "{} counts wrongly", event)

    def _confirmed(self, state: WorkspaceState, recorded: Recorded, event: HealthConfirmed) -> None:
        run = self.runs.get(event.spawn, 0)
        must(run >= self.config.required_successes, "{} after {} successes in a row", event, run)
        found = self.machine.find(state.processes[event.spawn].identity)
        must(found is not None and found.has_port(self.machine.now_ns), "{}, but {} does not serve", event, found)
        self.confirmed_at[event.generation] = recorded.at

    def _failed(self, _state: WorkspaceState, _recorded: Recorded, event: HealthFailed) -> None:
        if event.why != "timeout":
            return
        failed = self.failed_at.get(event.spawn)
        must(failed is not None, "{}, but the last probe did not fail, or there was none", event)
        due_ns = seconds(self.config.health_check_timeout_s)
        early = failed is None or elapsed_ns(self.watched[event.spawn], failed) < due_ns
        must(not early, "{} is too early", event)

    def _proven(self, state: WorkspaceState, recorded: Recorded, event: GenerationProven) -> None:
        since = self.confirmed_at.get(event.generation)
        long_enough = since is not None and elapsed_ns(since, recorded.at) >= seconds(self.config.probation_s)
        must(long_enough, "{} after less than its probation", event)
        must(state.main_process is not None, "{}, though nothing serves", event)

    def after_transaction(self, appended: Sequence[Recorded], state: WorkspaceState) -> None:
        """What was probed is recorded together with its being healthy, what asked only once it has left."""
        for number, one in enumerate(appended):
            if not isinstance(one.event, GenerationRecorded):
                continue
            if one.event.evidence is Evidence.PROBED:
                confirmed = [r.event.generation for r in appended[number + 1 :] if isinstance(r.event, HealthConfirmed)]
                must(one.seq in confirmed, "{} before it was healthy", one.event)
            elif one.event.evidence is Evidence.REQUESTER:
                must(state.source_process is None, "{}, though it can be probed", one.event)

    CHECKS: ClassVar = {
        OrchestratorStarted: _nobody_counts,
        OrchestratorLost: _nobody_counts,
        ProcessSpawned: _watched,
        ProcessAdopted: _watched,
        HealthProbed: _probed,
        HealthConfirmed: _confirmed,
        HealthFailed: _failed,
        GenerationProven: _proven,
    }


class ProcessRules(LogRules):
    """A stop goes up its ladder, and an exit is taken for what it was."""

    def __init__(self, *args: Any) -> None:
        """Nothing was asked to stop."""
        super().__init__(*args)
        self.asked: dict[int, Stamp] = {}
        self.rungs: dict[int, int] = {}
        self.interrupted: set[int] = set()
        self.kills: dict[int, int] = {}
        self.adoptions: dict[int, int] = {}
        self.sweeps: dict[int, int] = {}
        self.identities: dict[int, Identity] = {}

    def _started(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self.interrupted.clear()  # whether the last signal of somebody who died was sent, nobody knows

    def _spawned(self, _state: WorkspaceState, recorded: Recorded, event: ProcessSpawned | SourceSeen) -> None:
        self.identities[event.spawn if isinstance(event, ProcessSpawned) else recorded.seq] = event.identity

    def _adopted(self, _state: WorkspaceState, _recorded: Recorded, event: ProcessAdopted) -> None:
        self.adoptions[event.spawn] = self.adoptions.get(event.spawn, 0) + 1

    def _stop_asked(self, state: WorkspaceState, recorded: Recorded, event: ProcessStopAsked) -> None:
        process, job = state.processes[event.spawn], state.job
        must(process.confirmed is None or event.ladder is not Ladder.DRAINED, "{} for what may hold work", event)
        first = event.spawn not in self.asked
        self.asked.setdefault(event.spawn, recorded.at)
        if not first or job is None or job.is_given_up or job.rolling_back or state.goal.value == "stop":
            return
        may_leave = process.role is Role.SOURCE or (job.origin.leaves_by_itself and process.confirmed is not None)
        if may_leave and state.restart_asked is None:
            waited_ns = elapsed_ns(job.requested, recorded.at)
            must(waited_ns >= seconds(self.config.source_grace_s), "{} after {} ns of its grace", event, waited_ns)

    def _signalled(self, state: WorkspaceState, recorded: Recorded, event: ProcessSignalled) -> None:
        found = self.machine.find(state.processes[event.spawn].identity)
        must(event.rung < 1 or found is None or found.received, "{}, but the signal before it was never sent", event)
        asked = self.asked.get(event.spawn)
        must(asked is not None, "{} without a stop", event)
        reached = self.rungs.get(event.spawn, -1)
        must(event.rung <= reached + 1, "{} skips a rung after {}", event, reached)
        self.rungs[event.spawn] = max(event.rung, reached)
        if event.signal == "SIGINT":
            must(event.spawn not in self.interrupted, "{} for the second time", event)
            self.interrupted.add(event.spawn)
        if event.signal == "SIGKILL" and asked is not None:
            self.kills[event.spawn] = self.kills.get(event.spawn, 0) + 1
            most = KILLS_MAX + self.adoptions.get(event.spawn, 0)  # whether the last one was sent, nobody knows then
            must(self.kills[event.spawn] <= most, "{}, and that for ever", event)
            must(elapsed_ns(asked, recorded.at) >= S, "{} without any patience", event)

    def _exited(self, state: WorkspaceState, recorded: Recorded, event: ProcessExited) -> None:
        self._left(recorded, event)
        found = self.machine.started.get(event.spawn)
        if found is None:
            return
        if event.given_up:
            must(event.cause is ExitCause.STOPPED and event.code is None, "{}, though it has not ended", event)
            return
        known = found.reaped or found.parent == state.orchestrator
        must(not known or (event.code, event.signal) == (found.code, found.signal), "{}, but it was {}", event, found)
        ours = event.spawn in self.asked or found.identity.boot_id != recorded.at.boot_id
        must(ours == (event.cause is ExitCause.STOPPED), "{}, but asked to stop: {}", event, ours)
        if ours:
            return
        switch_of_others = state.job is not None and state.job.is_switch and state.job.spawn != event.spawn
        expected = {0: {ExitCause.CLEAN}, 42: {ExitCause.RESTART, ExitCause.CRASH}}.get(event.code or 0)
        if event.code == 43:
            unfinished = [file for file in self.machine.files.values() if file.finished_ns > self.machine.now_ns]
            must(not unfinished, "{} before its request is there: {}", event, unfinished)
            expected = {ExitCause.SWITCH} if switch_of_others else {ExitCause.SWITCH, ExitCause.CRASH}
        elif event.code is None:
            expected = {ExitCause.CRASH} if event.signal else {ExitCause.SWITCH, ExitCause.RESTART, ExitCause.CRASH}
        must(event.cause in (expected or {ExitCause.CRASH}), "{} is taken for the wrong thing", event)

    def _swept(self, _state: WorkspaceState, _recorded: Recorded, event: ProcessSwept) -> None:
        self.sweeps[event.spawn] = self.sweeps.get(event.spawn, 0) + 1
        must(self.sweeps[event.spawn] <= SWEEPS_MAX, "{}, and that for ever", event)

    def _cancelled(self, _state: WorkspaceState, _recorded: Recorded, event: WorkerCancelled) -> None:
        self.kills[event.worker] = self.kills.get(event.worker, 0) + 1
        must(self.kills[event.worker] <= WORKER_KILLS_MAX, "{}, and that for ever", event)

    def _lost(self, _state: WorkspaceState, recorded: Recorded, event: WorkerLost) -> None:
        found = self.machine.workers.get(event.worker)
        alive = found is not None and found.is_alive(recorded.at.monotonic_ns + self.machine.booted_ns)
        must(alive == bool(event.left), "{}, but alive: {}", event, alive)
        must(not alive or self.kills.get(event.worker) == WORKER_KILLS_MAX, "{} too early", event)

    def _left(self, recorded: Recorded, event: ProcessExited) -> None:
        """Who is named is there, who is there is named, and all was tried before."""
        found = self.machine.started.get(event.spawn) or self.machine.find(self.identities.get(event.spawn))
        alive = found is not None and found.is_alive(recorded.at.monotonic_ns + self.machine.booted_ns)
        must(event.given_up == alive, "{}, but alive: {}", event, alive)
        names = [one.name for one in event.left]
        must(all(one.why for one in event.left), "{} does not say why", event)
        if found is not None and found.spawn is not None:
            must(names.count("unkillable") == found.unkillable, "{} does not name all", event)
            must(names.count("untouchable") == found.untouchable, "{} does not name all", event)
        if event.given_up:
            must(self.kills.get(event.spawn, 0) >= KILLS_MAX, "{} too early", event)
        elif "unkillable" in names:
            must(self.sweeps.get(event.spawn, 0) == SWEEPS_MAX, "{} too early", event)

    CHECKS: ClassVar = {
        OrchestratorStarted: _started,
        ProcessSpawned: _spawned,
        SourceSeen: _spawned,
        ProcessAdopted: _adopted,
        ProcessSwept: _swept,
        ProcessStopAsked: _stop_asked,
        ProcessSignalled: _signalled,
        ProcessExited: _exited,
        WorkerCancelled: _cancelled,
        WorkerLost: _lost,
    }


class StartRules(LogRules):
    """Nothing starts without its sync, no retry before its time or beyond its number, and nobody parks without need."""

    def __init__(self, *args: Any) -> None:
        """Nothing was started."""
        super().__init__(*args)
        self.synced = ""
        self.not_before: tuple[Stamp, int] | None = None
        self.failures = 0
        self.unasked: list[Stamp] = []
        self.recovery_due = False
        self.recovered = False
        self.ended_badly: set[str] = set()
        self.completed: dict[int, Stamp | None] = {}
        self.critical = False

    def _attempt(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self.synced = ""

    def _sync_started(self, _state: WorkspaceState, _recorded: Recorded, event: SyncStarted) -> None:
        self.ended_badly.add(event.environment)

    def _sync_skipped(self, _state: WorkspaceState, _recorded: Recorded, event: SyncSkipped) -> None:
        must(event.environment not in self.ended_badly, "{}, but the last one did not end well", event)
        self.synced = event.environment

    def _sync_finished(self, _state: WorkspaceState, _recorded: Recorded, event: SyncFinished) -> None:
        if event.ok:
            self.ended_badly.discard(event.environment)
        if event.ok or event.tolerated:
            self.synced = event.environment

    def _intended(self, _state: WorkspaceState, recorded: Recorded, event: ProcessIntended) -> None:
        must(self.synced == event.environment, "{} without a sync; synced is {!r}", event, self.synced)
        if self.not_before is not None:
            since, delay_ns = self.not_before
            must(elapsed_ns(since, recorded.at) >= delay_ns, "{} before its time", event)

    def _spawned(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self.synced = ""  # the next start needs one of its own; one that was lost does not

    def _planned(self, _state: WorkspaceState, recorded: Recorded, event: StartPlanned) -> None:
        self.synced, self.not_before = "", (recorded.at, event.delay_ns)
        if not event.asked:
            self.unasked.append(recorded.at)
        must(event.asked or not self.recovery_due, "{} after a crash in probation", event)
        if event.kind is not StartKind.RETRY:
            return
        must(event.attempt <= self.config.crash_retry_max, "{} is one too many", event)
        least_ns = min(FIRST_RETRY_NS << max(0, event.attempt - 1), seconds(self.config.crash_retry_delay_s))
        must(event.delay_ns >= least_ns, "{} is too soon", event)
        must(event.attempt == self.failures, "{}, but {} have failed", event, self.failures)

    def _restart_requested(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self._forgive()

    def _switch_requested(self, state: WorkspaceState, _recorded: Recorded, event: SwitchRequested) -> None:
        if state.main is not None:
            self.completed[state.main] = None  # a new request ends the probation, also one that comes to nothing
        self.synced, self.not_before, self.recovery_due = "", None, False
        if event.kind is not SwitchKind.RECOVER:
            self._forgive()
            return
        must(not self.recovered, "{} for the second time by itself", event)
        self.recovered = True

    def _calm(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self._forgive()

    def _orchestrator(self, _state: WorkspaceState, _recorded: Recorded, event: OrchestratorStarted) -> None:
        if event.manual:
            self._forgive()

    def _forgive(self) -> None:
        self.failures, self.recovery_due, self.recovered = 0, False, False
        self.unasked.clear()

    def _start_failed(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self.failures += 1

    def _exited(self, state: WorkspaceState, recorded: Recorded, event: ProcessExited) -> None:
        job = state.job
        if event.cause is ExitCause.RESTART and job is not None and not job.is_switch:
            self.unasked.append(recorded.at)
        if event.cause is not ExitCause.CRASH or event.spawn != state.main or job is not None:
            return
        seen = event.code is not None or event.signal or state.processes[event.spawn].owner == state.orchestrator
        self.failures += bool(seen)  # what was gone before we came, nobody knows how, was no crash of this run
        since = self.completed.get(event.spawn)
        broke = event.code != EXIT_SWITCH  # one that nobody asked for ends the probation unproven, and is retried
        in_probation = broke and since is not None and elapsed_ns(since, recorded.at) < seconds(self.config.probation_s)
        elsewhere = [g for g in state.generations if g.is_good and g.environment != state.environment]
        unasked = state.restart_asked is None  # whoever wants it started again wants no other one
        self.recovery_due = in_probation and bool(elsewhere) and not state.recovered and unasked

    def _critically_failed(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self.critical = True

    def _parked(self, state: WorkspaceState, recorded: Recorded, event: SupervisionParked) -> None:
        recent = [one for one in self.unasked if elapsed_ns(one, recorded.at) < 60 * S]
        spent = self.failures > self.config.crash_retry_max or len(recent) >= STARTS_KEPT
        must(spent or self.critical or not state.environment, "{} after {} failures", event, self.failures)
        self.critical = False

    def after_transaction(self, appended: Sequence[Recorded], state: WorkspaceState) -> None:
        """A switch's end by command or by itself is where its probation begins."""
        ends = any(recorded.event.stored_name in {"switch.completed", "switch.rolled_back"} for recorded in appended)
        if ends and state.main is not None:
            self.completed.setdefault(state.main, appended[-1].at)

    CHECKS: ClassVar = {
        RollbackTried: _attempt,
        SyncStarted: _sync_started,
        SyncFinished: _sync_finished,
        SyncSkipped: _sync_skipped,
        ProcessIntended: _intended,
        ProcessSpawned: _spawned,
        StartPlanned: _planned,
        RestartRequested: _restart_requested,
        SwitchRequested: _switch_requested,
        SupervisionCalm: _calm,
        OrchestratorStarted: _orchestrator,
        StartFailed: _start_failed,
        ProcessExited: _exited,
        SwitchCriticallyFailed: _critically_failed,
        SupervisionParked: _parked,
    }

"""Journals in the making, for tests of single rules: events by short names, legal histories by their phrases, worlds to match.

A `History` folds what it is given, so a test can only stand where the fold allows it to stand.
"""

from typing import Any, TypeVar

import attrs

from journal.clock import S, Stamp, seconds
from journal.codec import Actor, Draft, Recorded
from journal.events import (
    CaptureFinished,
    CaptureStarted,
    Event,
    Evidence,
    ExitCause,
    GenerationRecorded,
    HealthConfirmed,
    HealthProbed,
    JournalCreated,
    Ladder,
    LockAcquired,
    LockReleased,
    OrchestratorLost,
    OrchestratorStarted,
    Origin,
    PreflightStarted,
    ProcessExited,
    ProcessIntended,
    ProcessSignalled,
    ProcessSpawned,
    ProcessSpawnFailed,
    ProcessStopAsked,
    Role,
    RollbackTried,
    RollbackTryFailed,
    SourceSeen,
    StartFailed,
    StartKind,
    StartPlanned,
    SwitchAborted,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchFailed,
    SwitchKind,
    SwitchPreflighted,
    SwitchRequested,
    SwitchRolledBack,
    SwitchRollingBack,
    SyncFinished,
    SyncSkipped,
    SyncStarted,
)
from journal.identity import Identity
from orchestrator.actions import Act, Decision
from orchestrator.config import Config
from orchestrator.decide import decide, plan
from orchestrator.world import ChildFacts, EnvironmentFacts, PortFacts, Presence, WorkFacts, World
from projections.evolve import evolve
from projections.jobs import JobKind
from projections.state import WorkspaceState
from projections.switching import Stage

ME = Identity(100, 1, "boot-1")
SUCCESSOR = Identity(200, 2, "boot-1")
PERSON = Identity(300, 3, "boot-1")
NOON_NS = 1_772_366_400 * S
"""2026-03-01T12:00:00Z, where the wall clock of a history stands at its beginning."""
UNWATCHED = Config(liveness_interval_s=86_400)
"""The settings of a decision unless a test says otherwise: nobody looks whether what serves still answers."""
_E = TypeVar("_E", bound=Event)


def stamp(at_s: float, boot: str = "boot-1") -> Stamp:
    """So many seconds after the beginning; both clocks agree."""
    return Stamp(NOON_NS + seconds(at_s), 1000 * S + seconds(at_s), boot)


def content_of(environment: str) -> str:
    """The fingerprint that an environment has unless a test says otherwise."""
    return f"content of {environment}"


# ---------------------------------------------------------------- events


def orchestrator_started(environment: str = "", me: Identity = ME, **changes: Any) -> OrchestratorStarted:
    fields: dict[str, Any] = {
        "identity": me,
        "release": "1",
        "environment": environment,
        "arguments": None,
        "manual": True,
    }
    return OrchestratorStarted(**fields | changes)


def planned(environment: str = "a", kind: StartKind = StartKind.START, **changes: Any) -> StartPlanned:
    fields: dict[str, Any] = {"environment": environment, "kind": kind, "delay_ns": 0, "attempt": 0, "asked": True}
    return StartPlanned(**fields | changes)


def requested(target: str = "b", source: str = "a", **changes: Any) -> SwitchRequested:
    fields: dict[str, Any] = {"target": target, "source": source, "kind": SwitchKind.SWITCH, "origin": Origin.CLI}
    return SwitchRequested(**fields | changes)


def intended(environment: str = "a", **changes: Any) -> ProcessIntended:
    fields: dict[str, Any] = {
        "role": Role.MAIN,
        "environment": environment,
        "generation": None,
        "fingerprint": content_of(environment),
        "host": "127.0.0.1",
        "port": 8188,
        "url": "http://127.0.0.1:8188",
        "command": ("python", "main.py"),
        "working_directory": "/workspace",
    }
    return ProcessIntended(**fields | changes)


def captured(worker: int, generation: int, *, ok: bool = True, error: str = "") -> CaptureFinished:
    """The end of a capture."""
    return CaptureFinished(
        worker=worker,
        generation=generation,
        ok=ok,
        commit=f"commit of {generation}" if ok else "",
        files=(),
        inventory=(),
        duration_ns=1,
        error=error,
    )


def probed(spawn: int, successes: int) -> HealthProbed:
    """A good probe, the so-manyth in a row; 0 is a failed one."""
    ok = successes > 0
    return HealthProbed(
        spawn=spawn,
        ok=ok,
        latency_ns=5_000_000,
        status=200 if ok else None,
        error="" if ok else "connection refused",
        successes=successes,
    )


def exited(spawn: int, code: int | None, cause: ExitCause, signal: str = "") -> ProcessExited:
    return ProcessExited(spawn=spawn, code=code, signal=signal, cause=cause)


def synced(worker: int, environment: str, *, ok: bool = True, tolerated: bool = False) -> SyncFinished:
    error = "" if ok else "no such package"
    return SyncFinished(
        worker=worker, environment=environment, ok=ok, tolerated=tolerated, duration_ns=S, summary="", error=error
    )


def source_seen(environment: str = "a", pid: int = 700) -> SourceSeen:
    identity = Identity(pid, 7, "boot-1")
    return SourceSeen(environment=environment, identity=identity, url="http://127.0.0.1:8188", port=8188)


# -------------------------------------------------------------- histories


class History:
    """Events in order and the state after them. `now_s` is when the next one happens."""

    def __init__(self) -> None:
        self.records: list[Recorded] = []
        self.state: Any = WorkspaceState()  # a job that is None fails its test well enough
        self.now_s = 0.0
        self.boot = "boot-1"
        self.actor = Actor("orchestrator", ME, "somewhere")

    @property
    def now(self) -> Stamp:
        """When the next event happens."""
        return stamp(self.now_s, self.boot)

    def after(self, passed_s: float) -> "History":
        """The same, later."""
        self.now_s += passed_s
        return self

    def add(self, *events: Event) -> int:
        """Append events in the open switch's name; the seq of the last one."""
        for event in events:
            job = self.state.job
            switch = job.job if job is not None and job.is_switch else None
            if isinstance(event, SwitchRequested):
                switch = self.state.seq + 1
            recorded = Recorded(self.state.seq + 1, "", event, self.now, self.actor, switch, None, b"")
            self.state = evolve(self.state, recorded)
            self.records.append(recorded)
        return int(self.state.seq)

    # ------------------------------------------------------- phrases

    def begun(self, environment: str = "a") -> "History":
        """An orchestrator has started for the first time."""
        self.add(JournalCreated(journal_id="test", workspace="/workspace"), orchestrator_started(environment))
        return self

    def succeeded_by(self, me: Identity = SUCCESSOR, *, manual: bool = True) -> "History":
        """The orchestrator died, and another one has started."""
        before = self.state.orchestrator
        self.actor = Actor("orchestrator", me, "somewhere")
        self.add(OrchestratorLost(identity=before), orchestrator_started(me=me, manual=manual))
        return self

    def serving(self, environment: str = "a") -> "History":
        """A plain start has succeeded, a while ago."""
        if not self.state.journal_id:
            self.begun(environment)
        self.add(planned(environment))
        self.synced().started().confirmed()
        return self.after(10)

    def switching(self, target: str = "b", **changes: Any) -> "History":
        """A switch has been asked for."""
        switch = self.state.seq + 1
        self.add(requested(target, changes.pop("source", self.state.environment), **changes))
        self.add(LockAcquired(holder=PERSON))
        assert self.state.job.job == switch
        return self

    def preflighted(self) -> "History":
        """The preflight was good."""
        worker = self.add(PreflightStarted(environment=self.job_environment))
        self.after(0.2).add(SwitchPreflighted(worker=worker, ok=True, problem=""))
        return self

    def synced(self) -> "History":
        """The sync was good."""
        environment = self.job_environment
        worker = self.add(SyncStarted(environment=environment, fingerprint=content_of(environment)))
        self.after(1).add(synced(worker, environment))
        return self

    def cleared(self) -> "History":
        """What was in the way has been stopped and is gone."""
        for spawn, process in self.state.processes.items():
            ladder = Ladder.PLANNED
            self.add(ProcessStopAsked(spawn=spawn, why="room", ladder=ladder))
            self.add(ProcessSignalled(spawn=spawn, signal="SIGINT", rung=0, whole_tree=False))
            code = None if process.role is Role.SOURCE else 0
            self.after(2).add(exited(spawn, code, ExitCause.STOPPED))
        return self

    def started(self) -> "History":
        """The wanted environment's ComfyUI runs."""
        job = self.state.job
        generation = None if job.rolling is None else job.rolling.generation
        spawn = self.add(intended(job.wanted, generation=generation))
        self.add(ProcessSpawned(spawn=spawn, identity=Identity(1000 + spawn, spawn, self.boot)))
        return self

    def answered(self, successes: int = 3) -> "History":
        """It answers so many probes in a row."""
        for number in range(1, successes + 1):
            self.after(0.5).add(probed(self.job_spawn, number))
        return self

    def confirmed(self) -> "History":
        """It is healthy: three probes, a generation, and the end of a plain start."""
        spawn = self.job_spawn
        self.answered()
        environment = self.state.processes[spawn].environment
        generation = self.add(
            GenerationRecorded(
                environment=environment,
                fingerprint=self.state.processes[spawn].fingerprint,
                evidence=Evidence.PROBED,
                spawn=spawn,
                arguments=(),
            )
        )
        self.add(HealthConfirmed(spawn=spawn, generation=generation))
        return self.kept(generation, environment)

    def kept(self, generation: int, environment: str) -> "History":
        """The content of a generation is kept, as it is soon after it was healthy."""
        worker = self.add(CaptureStarted(generation=generation, environment=environment))
        self.add(captured(worker, generation))
        return self

    def completed(self) -> "History":
        """The open switch went through, from where it stands in `preparing`."""
        target = self.job_environment
        self.preflighted().synced().cleared().started().confirmed()
        self.add(SwitchCompleted(environment=target, spawn=self.state.main), LockReleased())
        return self.after(10)

    def rolling_back(self) -> "History":
        """The open switch has failed, everything is stopped, and a candidate is to be chosen."""
        self.add(SwitchFailed(reason="exited", error="it broke"))
        self.cleared().add(SwitchRollingBack(error="it broke"))
        return self

    def tried(self, environment: str = "a", generation: int | None = None) -> "History":
        """A candidate is being tried."""
        attempt = 1 if self.state.job is None else len(self.state.job.tried) + 1
        self.add(RollbackTried(environment=environment, generation=generation, attempt=attempt))
        return self

    # ------------------------------------------------------- questions

    @property
    def job_environment(self) -> str:
        """What is being brought up."""
        return str(self.state.job.wanted)

    @property
    def job_spawn(self) -> int:
        """The spawn that is being brought up."""
        return int(self.state.job.spawn)

    @property
    def stage(self) -> Stage | None:
        """The open job's stage."""
        return None if self.state.job is None else self.state.job.stage


def in_stage(stage: Stage, kind: JobKind = JobKind.SWITCH, *, rolling: bool = False) -> History:
    """A history that stands in that stage: of a plain start, of a switch, or (`rolling`) of a candidate of its rollback."""
    history = History()
    if kind is JobKind.START:
        history.begun().add(planned())
    else:
        history.serving().switching()
        if stage is Stage.CHOOSING:
            return history.rolling_back()
        if rolling:
            history.rolling_back().tried()
        elif stage is not Stage.PREPARING:
            history.preflighted()
    if stage in {Stage.CLEARING, Stage.STARTING, Stage.VALIDATING}:
        history.synced()
    if stage in {Stage.STARTING, Stage.VALIDATING}:
        history.cleared()
    if stage is Stage.STARTING:
        history.add(intended(history.job_environment))
    if stage is Stage.VALIDATING:
        history.started()
    assert history.stage is stage
    return history


def event_of(symbol: str, history: History) -> Event:
    """An event of the stage table, as it would happen at the end of `history`."""
    state, job = history.state, history.state.job
    spawn = job.spawn or 0
    worker = 0 if state.worker is None else state.worker.worker
    identity = Identity(4000, 4, "boot-1")
    made: dict[str, Event] = {
        "preflight.started": PreflightStarted(environment=job.environment),
        "switch.preflighted": SwitchPreflighted(worker=worker, ok=True, problem=""),
        "switch.preflighted:bad": SwitchPreflighted(worker=worker, ok=False, problem="no main.py"),
        "switch.failed": SwitchFailed(reason="exited", error="it broke"),
        "switch.rolling_back": SwitchRollingBack(error="it broke"),
        "switch.rolled_back": SwitchRolledBack(environment="a", error="it broke", nothing_stopped=True),
        "switch.aborted": SwitchAborted(error="stopped", manual=False, recovery_command=""),
        "switch.completed": SwitchCompleted(environment=job.wanted, spawn=spawn),
        "switch.critically_failed": SwitchCriticallyFailed(error="nothing left", recovery_command="switch a"),
        "sync.started": SyncStarted(environment=job.wanted, fingerprint=""),
        "sync.finished": synced(worker, job.wanted),
        "sync.finished:bad": synced(worker, job.wanted, ok=False),
        "sync.skipped": SyncSkipped(environment=job.wanted, fingerprint=""),
        "start.failed": StartFailed(environment=job.environment, reason="exited", error="it broke"),
        "rollback.tried": RollbackTried(environment="a", generation=None, attempt=1),
        "rollback.try_failed": RollbackTryFailed(environment="a", reason="exited", error="it broke"),
        "process.intended": intended(job.wanted),
        "process.spawned": ProcessSpawned(spawn=spawn, identity=identity),
        "process.spawn_failed": ProcessSpawnFailed(spawn=spawn, error="lost", lost=True),
        "process.exited:again": exited(spawn, 42, ExitCause.RESTART),
        "health.confirmed": HealthConfirmed(spawn=spawn, generation=1),
    }
    return made[symbol]


# ----------------------------------------------------------------- worlds


def seen(history: History, **changes: Any) -> World:
    """A world in which all is as the state says: processes and worker alive, three good environments, the port free."""
    state = history.state
    work = None if state.worker is None else WorkFacts(alive=True, identity=state.worker.identity)
    world = World(
        me=state.orchestrator or ME,
        workspace="/workspace",
        processes={p.spawn: ChildFacts(Presence.ALIVE, p.identity) for p in state.processes.values()},
        work=work,
        port=PortFacts(8188, free=True),
        environments={name: good(name) for name in ("a", "b", "c")},
    )
    return attrs.evolve(world, **changes)


def good(name: str, **changes: Any) -> EnvironmentFacts:
    """An environment in which nothing is wrong."""
    return attrs.evolve(EnvironmentFacts(name, "", content_of(name), f"/{name}/python", f"/{name}/ComfyUI"), **changes)


def gone(history: History, spawn: int, code: int | None = None, signal: str = "", **facts: Any) -> World:
    """The world of `seen`, but that process has ended."""
    identity = history.state.processes[spawn].identity
    ended = ChildFacts(Presence.GONE, identity, code=code, signal=signal, **facts)
    world = seen(history)
    return attrs.evolve(world, processes={**world.processes, spawn: ended})


def decided(history: History, world: World | None = None, config: Config | None = None) -> Decision:
    """What `decide` wants next."""
    return decide(history.state, world or seen(history), history.now, config or UNWATCHED)


def acted(history: History, world: World | None = None, config: Config | None = None) -> Act:
    """The same, where it has to be an action."""
    decision = decided(history, world, config)
    assert isinstance(decision, Act), decision
    return decision


def planned_step(history: History, world: World | None = None, config: Config | None = None) -> Decision:
    """What one step of the loop would do."""
    return plan(history.state, world or seen(history), history.now, config or UNWATCHED, history.actor)


def events_of(decision: Decision) -> tuple[Any, ...]:
    """The events that a decision wants appended."""
    return tuple(draft.event for draft in decision.events) if isinstance(decision, Act) else ()


def names_of(decision: Decision) -> list[str]:
    """Their stored names."""
    return [event.stored_name for event in events_of(decision)]


def only(decision: Decision, kind: type[_E]) -> _E:
    """The one event of that kind."""
    (event,) = (event for event in events_of(decision) if isinstance(event, kind))
    return event


def waits_s(decision: Decision, history: History) -> float:
    """For how long a decision waits, in seconds."""
    assert not isinstance(decision, Act), decision
    assert decision.until is not None
    return (decision.until.monotonic_ns - history.now.monotonic_ns) / S


def done(history: History, decision: Decision) -> History:
    """The history after the decision's events."""
    history.add(*events_of(decision))
    return history


def draft_events(drafts: tuple[Draft, ...]) -> list[Any]:
    """The events of drafts."""
    return [draft.event for draft in drafts]

"""An orchestrator's shell on the simulated machine: what it sees, what its effects do, and what it forgets when it dies."""

from collections.abc import Callable

import attrs

from journal.clock import seconds
from journal.events import LeftBehind, Role
from journal.identity import Identity
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
    Took,
)
from orchestrator.deciding.needs import environments_needed, is_clearing, needs_fingerprint
from orchestrator.ladders import is_unkillable
from orchestrator.world import (
    ChildFacts,
    EnvironmentFacts,
    InboxItem,
    Looks,
    PortFacts,
    Presence,
    ProbeFacts,
    WorkFacts,
    World,
    looks_after,
)
from projections.locking import ForeignLock
from projections.state import Process, WorkspaceState
from tests.helpers.simulated_comfyui import NEVER_NS, SimulatedEnvironment, SimulatedWorker, Work, nothing
from tests.helpers.simulated_machine import SimulatedMachine

PORT = 8188
HALF = "half"
"""Begins the content of an environment in which a restore is under way, or was interrupted."""
SWEPT_AFTER_S = 0.12
"""How long killed survivors take to be gone; nobody is told."""


@attrs.define(eq=False)
class SimulatedOrchestrator:
    """One life of the shell. All its fields but the first two are lost with it."""

    machine: SimulatedMachine
    me: Identity
    signal: str = ""
    signalled_ns: int | None = None
    probe: ProbeFacts | None = None
    probing: bool = False
    looks: Looks | None = None
    failed_starts: dict[int, str] = attrs.Factory(dict)
    exit_status: int | None = None

    # ---------------------------------------------------------- seeing

    def look(self, state: WorkspaceState) -> World:
        """The facts for one decision, and no more of them than the real shell collects."""
        machine, inbox = self.machine, self.machine.inbox()
        processes = {process.spawn: self._child(process) for process in state.processes.values()}
        free = all(facts.presence is Presence.GONE and not facts.left_behind for facts in processes.values())
        next_start = state.environment if free and state.job is None else ""
        return World(
            me=self.me,
            workspace="/workspace",
            signal=self.signal,
            processes=processes,
            work=None if state.worker is None else self._work(state.worker.worker),
            probe=self.probe,
            probing=self.probing,
            looks=self.looks,
            port=self._port() if next_start or (free and is_clearing(state)) else None,
            inbox=inbox,
            source=self._source(state, inbox),
            foreign_lock=None if machine.foreign_lock is None else ForeignLock(machine.foreign_lock),
            environments={
                name: self._environment(name, fingerprint=name == next_start or needs_fingerprint(name, state))
                for name in {*environments_needed(state, inbox), next_start} - {""}
            },
        )

    def _child(self, process: Process) -> ChildFacts:
        machine, identity = self.machine, process.identity
        if identity is None:
            return self._intended(process.spawn)
        found = machine.find(identity)
        if found is not None and found.is_alive(machine.now_ns):
            itself = (LeftBehind(identity, "python", ""), *found.left_behind()) if is_unkillable(process) else ()
            return ChildFacts(Presence.ALIVE, identity, left_behind=itself)
        left = () if found is None or process.role is Role.SOURCE else found.left_behind()
        if found is None or process.role is Role.SOURCE or not (found.reaped or found.parent == self.me):
            return ChildFacts(Presence.GONE, identity, left_behind=left)
        return ChildFacts(Presence.GONE, identity, code=found.code, signal=found.signal, left_behind=left)

    def _intended(self, spawn: int) -> ChildFacts:
        machine = self.machine
        if spawn in self.failed_starts:
            return ChildFacts(Presence.ABSENT, error=self.failed_starts[spawn])
        found = machine.started.get(spawn)
        if found is not None and found.parent == self.me:
            return ChildFacts(Presence.ALIVE, found.identity)
        if found is None or not found.is_alive(machine.now_ns):
            return ChildFacts(Presence.ABSENT)
        if machine.now_ns < found.started_ns + seconds(found.script.found_after_s):
            return ChildFacts(Presence.PENDING)
        return ChildFacts(Presence.ALIVE, found.identity)

    def _work(self, worker: int) -> WorkFacts:
        found = self.machine.workers.get(worker)
        if found is None:
            return WorkFacts(alive=False)
        if found.is_alive(self.machine.now_ns):
            return WorkFacts(alive=True, identity=found.identity)
        if found.parent != self.me:
            return WorkFacts(alive=False)
        ok, problem = found.work.ok, found.work.problem
        commit, changed = f"commit by {worker}", found.work.changed
        return WorkFacts(alive=False, ended=True, ok=ok, problem=problem, commit=commit, changed=changed)

    def _port(self) -> PortFacts:
        holder = self.machine.port_holder()
        return PortFacts(PORT, free=not holder, holder=holder)

    def _source(self, state: WorkspaceState, inbox: tuple[InboxItem, ...]) -> Identity | None:
        if state.processes:
            return None
        names = {item.source for item in inbox if item.target}
        if state.job is not None and state.job.origin.is_a_page and not state.job.rolling_back:
            names.add(state.job.source)
        if not names:
            return None
        alive = self.machine.alive()
        return next((one.identity for one in alive if one.spawn is None and one.environment in names), None)

    def _environment(self, name: str, *, fingerprint: bool) -> EnvironmentFacts:
        problem = self.machine.problem_of(name)
        if problem:
            return EnvironmentFacts(name, problem)
        content = self.machine.environments[name].fingerprint if fingerprint else None
        return EnvironmentFacts(name, "", content, f"/workspace/{name}/python", f"/workspace/{name}/ComfyUI")

    # ----------------------------------------------------------- doing

    def get_signal(self, name: str) -> None:
        """To end. Waiting for that begins with the first of them."""
        self.signal = name
        if self.signalled_ns is None:
            self.signalled_ns = self.machine.now_ns

    def use_up(self, took: frozenset[Took]) -> None:
        """Forget what a decision was made of."""
        if Took.SIGNAL in took:
            self.signal, self.signalled_ns = "", None
        if Took.PROBE in took:
            self.probe = None

    def perform(self, effect: Effect, state: WorkspaceState) -> None:
        """Do it."""
        match effect:
            case Spawn():
                self._spawn(effect)
            case Signal():
                self.machine.signal(effect.identity, effect.signal)
            case Sweep():
                self._sweep(effect, state)
            case Probe():
                self._probe(effect, state)
            case StartPreflight() | StartSync() | StartCapture() | StartRestore() | KillWorker():
                self._work_on(effect)
            case TakeFile():
                self.machine.remove(effect.name, effect.key)
            case TakeForeignLock():
                self.machine.foreign_lock = None
            case End():
                self.exit_status = effect.exit_status

    def _sweep(self, effect: Sweep, state: WorkspaceState) -> None:
        found = self.machine.find(state.processes[effect.spawn].identity)
        if found is not None:
            swept_ns = self.machine.now_ns + seconds(SWEPT_AFTER_S)
            self.machine.schedule(swept_ns, found.leave_none, wakes=False)

    def _work_on(self, effect: StartPreflight | StartSync | StartCapture | StartRestore | KillWorker) -> None:
        match effect:
            case StartPreflight():
                self._start_work(effect.worker, self._planned(effect.environment, SimulatedEnvironment.next_preflight))
            case StartSync():
                self._start_work(effect.worker, self._planned(effect.environment, SimulatedEnvironment.next_sync))
            case StartCapture():
                self._capture(effect)
            case StartRestore():
                self._restore(effect)
            case KillWorker():
                self._kill(effect.worker)

    def _capture(self, effect: StartCapture) -> None:
        """What it finds at its beginning, if that is still there at its end."""
        machine, environment = self.machine, self.machine.environments[effect.environment]
        found = environment.content

        def finish() -> None:
            if environment.content == found:
                environment.refs[effect.generation] = found
            else:
                machine.workers[effect.worker].work = Work(ok=False, problem="its files were changed meanwhile")
            for number in set(environment.refs) - set(effect.kept):
                del environment.refs[number]

        self._start_work(effect.worker, self._planned(effect.environment, SimulatedEnvironment.next_capture), finish)

    def _restore(self, effect: StartRestore) -> None:
        """Half of it at its beginning, all of it at its end."""
        environment = self.machine.environments[effect.environment]
        wanted, saved = environment.refs.get(effect.generation), environment.refs.get(effect.saved)

        def finish() -> None:
            if wanted is not None:
                environment.content = wanted

        if environment.content not in {wanted, saved, f"{HALF} {saved}"}:
            self._start_work(effect.worker, Work(ok=False, problem="changed meanwhile", takes_s=0.0, changed=True))
            return
        if not environment.problem and environment.content == saved:
            environment.content = f"{HALF} {saved}"
        self._start_work(effect.worker, self._planned(effect.environment, SimulatedEnvironment.next_restore), finish)

    def _planned(self, name: str, of: Callable[[SimulatedEnvironment], Work]) -> Work:
        problem = self.machine.problem_of(name)
        return Work(ok=False, problem=problem, takes_s=0.0) if problem else of(self.machine.environments[name])

    def _spawn(self, effect: Spawn) -> None:
        problem = self.machine.problem_of(effect.environment)
        outcome = problem or self.machine.start(effect.environment, self.me, effect.spawn)
        if isinstance(outcome, str):
            self.failed_starts[effect.spawn] = outcome

    def _probe(self, effect: Probe, state: WorkspaceState) -> None:
        machine = self.machine
        process = machine.find(state.processes[effect.spawn].identity)
        answer: tuple[bool, int, int | None, str] = (False, 1_000_000, None, "connection refused")
        stranger = machine.stranger if machine.stranger_answers else ""
        if stranger:
            answer = (True, 5_000_000, 200, "")
        elif process is not None:
            answer = process.answer(machine.now_ns, effect.timeout_ns)
        ok, latency_ns, status, error = answer
        self.probing = True
        facts = ProbeFacts(effect.spawn, ok, latency_ns, status, error, stranger)
        machine.schedule(machine.now_ns + latency_ns, lambda: self._answered(facts))

    def _answered(self, facts: ProbeFacts) -> None:
        self.probe, self.probing = facts, False
        self.looks = looks_after(self.looks, facts, self.machine.now())
        self.machine.honest[facts.spawn] = facts.ok and not facts.stranger

    def _start_work(self, worker: int, work: Work, finish: Callable[[], None] = nothing) -> None:
        machine = self.machine
        ends_ns = machine.now_ns + seconds(work.takes_s)
        made = SimulatedWorker(worker, machine.new_identity(), work, self.me, ends_ns, finish)
        machine.workers[worker] = made
        if work.takes_s:
            machine.schedule(ends_ns, made.end)
        else:
            made.end()
            machine.schedule(ends_ns)

    def _kill(self, worker: int) -> None:
        found = self.machine.workers.get(worker)
        if found is not None:
            found.kill(self.machine.now_ns)
            if found.ends_ns < NEVER_NS:
                self.machine.schedule(found.ends_ns)

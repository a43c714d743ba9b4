"""A whole workspace in virtual time: journal, orchestrator, ComfyUIs and people. Deterministic, no clock, no disk, no process.

`SimulatedWorld` is the shell's twin: it looks, plans, appends and performs as `orchestrator.loop` does, and lets time jump
to the next thing that happens. Invariants are checked on the way. An orchestrator can be killed at any boundary.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from journal.clock import S, Stamp, seconds
from journal.codec import Actor, Draft, Recorded, decode, encode
from journal.events import (
    AbortRequested,
    Event,
    JournalCreated,
    LockAcquired,
    Origin,
    RestartRequested,
    ShutdownRequested,
    SwitchRefused,
    SwitchRequested,
)
from journal.identity import Identity
from orchestrator.actions import Act, Wait
from orchestrator.config import Config
from orchestrator.decide import plan
from orchestrator.deciding.admission import admit
from orchestrator.starting import StartOptions, first_events
from orchestrator.world import AskKind, SwitchAsk
from projections.evolve import evolve, fold
from projections.locking import ForeignLock
from projections.state import WorkspaceState
from projections.views import REQUEST, views
from tests.helpers.invariants import BrokenInvariantError, Invariants, must
from tests.helpers.simulated_comfyui import SimulatedEnvironment, SimulatedProcess
from tests.helpers.simulated_machine import COMMAND, SimulatedMachine
from tests.helpers.simulated_orchestrator import SimulatedOrchestrator

TURNS_AT_ONCE = 60
"""Turns of the loop without any time passing; more is a loop that does not come to rest."""
GUARD_DELAY_S = 0.1
"""How long a guard takes to start a dead orchestrator again."""
_E = TypeVar("_E", bound=Event)


class _Died(Exception):  # noqa: N818 - it is no error: the orchestrator was killed here
    pass


class SimulatedWorld:
    """One workspace. Nothing runs until `run_orchestrator`."""

    def __init__(
        self, *environments: SimulatedEnvironment | str, config: Config | None = None, guarded: bool = False
    ) -> None:
        """`guarded`: a dead orchestrator is started again at once, and exit codes of orphans are known."""
        made = [SimulatedEnvironment(one) if isinstance(one, str) else one for one in environments]
        self.machine = SimulatedMachine({one.name: one for one in made}, guarded=guarded)
        self.config = config or Config()
        self.journal: list[Recorded] = []
        self.state: Any = WorkspaceState()  # a job that is None fails its test well enough
        self.orchestrator: SimulatedOrchestrator | None = None
        self.exit_status: int | None = None
        self.invariants = Invariants(self.machine, self.config.required_successes)
        self.steps = 0
        self.boundaries = 0
        self.dies_at_boundary = 0
        self._wake_ns: int | None = None
        self._turns_at_once = 0
        self._person = self.machine.new_identity()

    def __getitem__(self, environment: str) -> SimulatedEnvironment:
        """One environment, to change what it does."""
        return self.machine.environments[environment]

    # ---------------------------------------------------------- people

    def run_orchestrator(self, environment: str = "", *, manual: bool = True, arguments: Sequence[str] = ()) -> None:
        """Start an orchestrator, as a person does, or (not `manual`) a guard."""
        must(self.orchestrator is None, "one orchestrator per workspace")
        me = self.machine.new_identity()
        self.orchestrator = self.new_orchestrator(me)
        self.exit_status = None
        if not self.journal:
            self.append(Draft(JournalCreated(journal_id="simulated", workspace="/workspace")))
        options = StartOptions(environment, tuple(arguments) if environment else None, manual)
        self.append(*first_events(self.state, me, "1", options, self.machine.now(), self.config), by=me)
        self.machine.woken = True

    def new_orchestrator(self, me: Identity) -> SimulatedOrchestrator:
        """One that has just been started."""
        return SimulatedOrchestrator(self.machine, me)

    def kill_orchestrator(self) -> None:
        """SIGKILL: journal, processes and files stay; what it had in memory is gone."""
        self.orchestrator = None
        if self.machine.guarded:
            self.machine.schedule(self.machine.now_ns + seconds(GUARD_DELAY_S), self._guard)

    def _guard(self) -> None:
        if self.orchestrator is None:
            self.run_orchestrator(manual=False)

    def lose_power(self) -> None:
        """The machine goes down and comes up again; nobody has started an orchestrator yet."""
        self.orchestrator = None
        self.machine.lose_power()

    def signal_orchestrator(self, name: str = "SIGTERM") -> None:
        """Send it a signal."""
        if self.orchestrator is not None:
            self.orchestrator.signal = name
            self.machine.woken = True

    def ask(self, event: Event) -> None:
        """Append a wish, as a command line does."""
        self.append(Draft(event), role="cli", by=self._person)

    def ask_restart(self) -> None:
        """`comfygit-orchestrator restart`."""
        self.ask(RestartRequested(origin=Origin.CLI))

    def ask_shutdown(self) -> None:
        """`comfygit-orchestrator stop`."""
        self.ask(ShutdownRequested(origin=Origin.CLI))

    def ask_abort(self) -> None:
        """`comfygit-orchestrator abort`."""
        self.ask(AbortRequested(origin=Origin.CLI))

    def ask_switch(
        self, target: str, *, generation: int | None = None, restores: bool = True
    ) -> SwitchRequested | SwitchRefused:
        """`comfygit-orchestrator switch TARGET`, and its answer."""
        problem = self.machine.problem_of(target)
        ask = SwitchAsk(
            target,
            Origin.CLI,
            problem=problem,
            generation=generation,
            requester=self._person,
            restores=restores and generation is not None,
        )
        lock = self.machine.foreign_lock
        drafts = admit(self.state, ask, None if lock is None else ForeignLock(lock), self.machine.now(), self.config)
        self.append(*drafts, role="cli", by=self._person)
        return next(d.event for d in drafts if isinstance(d.event, SwitchRequested | SwitchRefused))

    def write_request(self, target: str, source: str = "", *, takes_s: float = 0.0) -> None:
        """What a panel does: touch the lock, write the request."""
        if self.state.lock is None:
            self.machine.foreign_lock = self.machine.now()
        self.machine.write(REQUEST, AskKind.SWITCH, takes_s=takes_s, target=target, source=source)

    def write_command(self, kind: AskKind, *, pid: int | None = None) -> None:
        """What a panel or `cg` does."""
        self.machine.write(COMMAND, kind, pid=pid)

    def start_foreign(self, environment: str) -> SimulatedProcess:
        """A ComfyUI that nobody supervises."""
        process = self.machine.start(environment, None)
        self.machine.foreign.append(process)
        return process

    # --------------------------------------------------------- journal

    def append(self, *drafts: Draft, role: str = "orchestrator", by: Identity | None = None) -> None:
        """Append one transaction, through the journal's codec."""
        before, now = self.state, self.machine.now()
        me = by or (self._person if self.orchestrator is None else self.orchestrator.me)
        actor = Actor(role, me, "simulated")
        for draft in drafts:
            self._append_one(draft, now, actor)
        self.invariants.after_transaction(before, [draft.event for draft in drafts], self.state)
        if self.state.lock is not None:
            self.machine.foreign_lock = None  # the view of our lock is written over it
        self.machine.woken = True

    def _append_one(self, draft: Draft, now: Stamp, actor: Actor) -> None:
        name, version = draft.event.stored_name, draft.event.version
        event = decode(name, version, encode(draft.event))
        recorded = Recorded(self.state.seq + 1, "", event, now, actor, draft.switch, draft.cause, b"")
        self.invariants.before_event(self.state, recorded)
        self.journal.append(recorded)
        self.state = evolve(self.state, recorded)

    def events(self, kind: type[_E]) -> list[_E]:
        """All events of that kind."""
        return [recorded.event for recorded in self.journal if isinstance(recorded.event, kind)]

    def times_s(self, kind: type[Event]) -> list[float]:
        """When they happened, in seconds since the beginning (of this boot)."""
        return [recorded.at.monotonic_ns / S for recorded in self.journal if isinstance(recorded.event, kind)]

    def story(self, last: int = 40) -> str:
        """The end of the journal, for people."""
        lines = (f"{one.seq:5} {one.at.monotonic_ns / S:9.3f} {one.event}" for one in self.journal[-last:])
        return "\n".join((*lines, f"now {self.machine.now_ns / S:.3f}, wake {self._wake_ns}"))

    # ------------------------------------------------------------ time

    def at(self, in_s: float, action: Callable[[], object], *, wakes: bool = True) -> None:
        """Have `action` happen in so many seconds."""
        self.machine.schedule(self.machine.now_ns + seconds(in_s), lambda: _none(action()), wakes=wakes)

    def run(self, for_s: float) -> None:
        """Let so much time pass."""
        deadline_ns = self.machine.now_ns + seconds(for_s)
        while self.machine.now_ns < deadline_ns:
            self._proceed(deadline_ns)

    def run_until(self, condition: Callable[["SimulatedWorld"], object], within_s: float = 600.0) -> None:
        """Let time pass until then. Raises BrokenInvariantError when it takes longer than `within_s`."""
        deadline_ns = self.machine.now_ns + seconds(within_s)
        while not condition(self):
            if self.machine.now_ns >= deadline_ns:
                message = f"not within {within_s} s:\n{self.story()}"
                raise BrokenInvariantError(message)
            self._proceed(deadline_ns)

    def run_to_rest(self, within_s: float = 900.0) -> None:
        """Let time pass until nothing is under way."""
        self.run_until(SimulatedWorld.is_at_rest, within_s)

    def is_at_rest(self) -> bool:
        """Whether no orchestrator runs, or one that has served or parked and has nothing to do."""
        state = self.state
        if self.orchestrator is None:
            return not self.machine.guarded or state.orchestrator is None
        settled = state.job is None and state.worker is None and not state.restart_asked and not self.machine.files
        if not settled or self.machine.woken or self.orchestrator.probing:
            return False
        main = state.main_process
        serves = main is not None and main.confirmed is not None and main.stopping is None
        return serves or (state.parked is not None and not state.processes)

    def _proceed(self, deadline_ns: int) -> None:
        """One turn of the loop, or a jump to the next thing that happens."""
        if self.orchestrator is not None and self.machine.woken:
            self._turn_checked()
            return
        times = [when for when in (self.machine.next_ns(), self._wake_ns) if when is not None]
        if self.orchestrator is None:
            times = [when for when in (self.machine.next_ns(),) if when is not None]
        target_ns = min([*times, deadline_ns])
        if target_ns > self.machine.now_ns:
            self._turns_at_once = 0
        self.machine.advance(target_ns)
        if self._wake_ns is not None and self.machine.now_ns >= self._wake_ns:
            self.machine.woken = True

    def _turn_checked(self) -> None:
        self._turns_at_once += 1
        try:
            must(self._turns_at_once <= TURNS_AT_ONCE, "it does not come to rest")
            self._turn()
        except _Died:
            self.kill_orchestrator()
        except BrokenInvariantError as error:
            message = f"{error}\n{self.story()}"
            raise BrokenInvariantError(message) from error

    def _turn(self) -> None:
        """What the loop does when it is awake: look, plan, append, perform."""
        orchestrator, now = self.orchestrator, self.machine.now()
        if orchestrator is None:
            return
        self.steps += 1
        actor = Actor("orchestrator", orchestrator.me, "simulated")
        decision = plan(self.state, orchestrator.look(self.state), now, self.config, actor)
        if isinstance(decision, Wait):
            self._sleep(decision, now)
            return
        self._carry_out(orchestrator, decision)

    def _sleep(self, wait: Wait, now: Stamp) -> None:
        self.machine.woken, self._wake_ns = False, None
        if wait.until is not None:
            left_ns = wait.until.monotonic_ns - now.monotonic_ns
            must(left_ns > 0, "it waits for what is over: {}", wait)
            self._wake_ns = self.machine.now_ns + left_ns

    def _carry_out(self, orchestrator: SimulatedOrchestrator, act: Act) -> None:
        events = [draft.event for draft in act.events]
        if act.events:
            self.append(*act.events)
            self._boundary()
        orchestrator.use_up(act.took)
        if act.effect is not None:
            self.invariants.before_effect(act.effect, events)
            orchestrator.perform(act.effect, self.state)
            self._boundary()
        if orchestrator.exit_status is not None:
            self.exit_status, self.orchestrator = orchestrator.exit_status, None

    def _boundary(self) -> None:
        self.boundaries += 1
        if self.boundaries == self.dies_at_boundary:
            raise _Died

    # ---------------------------------------------------------- proofs

    def check_replay(self) -> None:
        """The journal alone gives the same state, and the same bytes for every view."""
        rebuilt = fold(self.journal)
        must(rebuilt == self.state, "rebuilt from the journal, the state is another one")
        must(views(rebuilt) == views(self.state), "rebuilt from the journal, a view is another one")


def _none(_: object) -> None:
    """Actions on the agenda return nothing."""


def names(events: Iterable[Recorded]) -> list[str]:
    """Their stored names, in order."""
    return [recorded.event.stored_name for recorded in events]


__all__ = ["BrokenInvariantError", "LockAcquired", "SimulatedWorld", "names"]

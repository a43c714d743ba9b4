"""A whole workspace in virtual time: journal, orchestrator, ComfyUIs and people. Deterministic, no clock, no disk, no process.

`SimulatedWorld` is the shell's twin: it looks, plans, appends and performs as `orchestrator.loop` does, and lets time jump
to the next thing that happens. Invariants are checked on the way. Orchestrator, guard and ComfyUIs can be killed at any
boundary: after a transaction, and after an effect before its outcome.
"""

from collections.abc import Callable, Sequence

from journal.clock import MS, S, Stamp, seconds
from journal.codec import Actor, Draft
from journal.events import JournalCreated
from journal.identity import Identity
from orchestrator.actions import Act, Wait
from orchestrator.config import Config
from orchestrator.decide import plan
from orchestrator.starting import StartOptions, first_events
from projections.state import Goal
from tests.helpers.broken_invariant import BrokenInvariantError, must
from tests.helpers.simulated_comfyui import SimulatedEnvironment
from tests.helpers.simulated_orchestrator import SimulatedOrchestrator
from tests.helpers.simulated_workspace import DiskFullError, SimulatedWorkspace, names

TURNS_AT_ONCE = 60
"""Turns of the loop within a millisecond; more is a loop that does not come to rest."""
GUARD_DELAY_S = 0.1
"""How long a guard takes to start a dead orchestrator again."""
GUARD_RETRY_S = 1.0
"""How long it waits where that was in vain."""
RETRY_S = 1.0
"""How soon the loop tries again where nothing could be appended."""
LEAVES_AFTER_S = 2.0
"""How long a signal to end waits where nothing can be appended."""


class _Died(Exception):  # noqa: N818 - it is no error: the orchestrator was killed here
    pass


class SimulatedWorld(SimulatedWorkspace):
    """One workspace. Nothing runs until `run_orchestrator`."""

    def __init__(
        self,
        *environments: SimulatedEnvironment | str,
        config: Config | None = None,
        guarded: bool = False,
        guard_returns: bool = True,
        late_s: float = 0.0,
    ) -> None:
        """`guarded`: a dead orchestrator is started again at once, and exit codes of orphans are known.

        `guard_returns`: an orchestrator whose guard died becomes the guard of another one. A machine that is busy wakes
        everybody `late_s` after the time.
        """
        made = [SimulatedEnvironment(one) if isinstance(one, str) else one for one in environments]
        super().__init__(made, config or Config(), guarded=guarded)
        self.orchestrator: SimulatedOrchestrator | None = None
        self.exit_status: int | None = None
        self.steps = 0
        self.boundaries = 0
        self.at_boundary: dict[int, Callable[[], None]] = {}
        self.dies_at_boundary = 0
        self._guards = guarded
        self._guard_returns = guard_returns
        self._late_ns = seconds(late_s)
        self._wake_ns: int | None = None
        self._turns_at_once = 0
        self._turns_since_ns = 0

    # --------------------------------------------------- orchestrators

    def run_orchestrator(self, environment: str = "", *, manual: bool = True, arguments: Sequence[str] = ()) -> None:
        """Start an orchestrator, as a person does (and a guard with it), or (not `manual`) a guard. Raises DiskFullError."""
        must(self.orchestrator is None, "one orchestrator per workspace")
        me = self.machine.new_identity()
        if not self.journal:
            self.append(Draft(JournalCreated(journal_id="simulated", workspace="/workspace")))
        options = StartOptions(environment, tuple(arguments) if environment else None, manual)
        self.append(*first_events(self.state, me, "1", options, self.machine.now(), self.config), by=me)
        self.orchestrator = self.new_orchestrator(me)
        self.exit_status = None
        self.machine.guarded = self.machine.guarded or (self._guards and manual)

    def new_orchestrator(self, me: Identity) -> SimulatedOrchestrator:
        """One that has just been started."""
        return SimulatedOrchestrator(self.machine, me)

    def kill_orchestrator(self) -> None:
        """SIGKILL: journal, processes and files stay; what it had in memory is gone."""
        self.orchestrator = None
        if self.machine.guarded:
            self.machine.schedule(self.machine.now_ns + seconds(GUARD_DELAY_S), self._guard)
        else:
            self.machine.orphan()

    def kill_guard(self) -> None:
        """SIGKILL to it. What it would have reaped is nobody's now; its orchestrator goes on alone, or takes its place."""
        if not self.machine.guarded:
            return
        alone = self.orchestrator
        self.machine.orphan(None if alone is None else alone.me)
        self.machine.guarded = self._guard_returns and alone is not None
        if self.machine.guarded:
            self.orchestrator = None
            self._guard()

    def kill_both(self) -> None:
        """SIGKILL to orchestrator and guard: nobody starts another one."""
        self.machine.guarded = False
        self.kill_orchestrator()

    def _guard(self) -> None:
        """What a guard does about a dead orchestrator, if it lives itself."""
        if self.orchestrator is not None or not self.machine.guarded or self.state.orchestrator is None:
            return
        try:
            self.run_orchestrator(manual=False)
        except DiskFullError:
            self.machine.schedule(self.machine.now_ns + seconds(GUARD_RETRY_S), self._guard)

    def lose_power(self) -> None:
        """The machine goes down and comes up again; nobody has started an orchestrator yet."""
        self.kill_both()
        self.machine.lose_power()

    def signal_orchestrator(self, name: str = "SIGTERM") -> None:
        """Send it a signal."""
        if self.orchestrator is not None:
            self.orchestrator.get_signal(name)
            self.machine.woken = True

    def append(self, *drafts: Draft, role: str = "orchestrator", by: Identity | None = None) -> None:
        """As the base class; by the orchestrator, unless somebody else is named."""
        me = None if self.orchestrator is None else self.orchestrator.me
        super().append(*drafts, role=role, by=by or me)

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
        if not settled or self.machine.woken or self.orchestrator.probing or self.orchestrator.signal:
            return False
        if state.goal is Goal.STOP:
            return False
        main = state.main_process
        serves = main is not None and main.confirmed is not None and main.stopping is None
        return serves or (state.parked is not None and not state.processes)

    def story(self, last: int = 40) -> str:
        """The end of the journal, for people."""
        lines = (f"{one.seq:5} {one.at.monotonic_ns / S:9.3f} {one.event}" for one in self.journal[-last:])
        return "\n".join((*lines, f"now {self.machine.now_ns / S:.3f}, wake {self._wake_ns}"))

    def _proceed(self, deadline_ns: int) -> None:
        """One turn of the loop, or a jump to the next thing that happens."""
        if self.orchestrator is not None and self.machine.woken:
            self._turn_checked()
            return
        wake_ns = None if self.orchestrator is None else self._wake_ns
        times = [when for when in (self.machine.next_ns(), wake_ns) if when is not None]
        target_ns = min([*times, deadline_ns])
        self.machine.advance(target_ns)
        if self.machine.now_ns >= self._turns_since_ns + MS:
            self._turns_at_once, self._turns_since_ns = 0, self.machine.now_ns
        if self._wake_ns is not None and self.machine.now_ns >= self._wake_ns:
            self.machine.woken = True

    def _turn_checked(self) -> None:
        self._turns_at_once += 1
        try:
            must(self._turns_at_once <= TURNS_AT_ONCE, "it does not come to rest")
            self._turn()
        except _Died:
            pass
        except DiskFullError:
            self.machine.woken, self._wake_ns = False, self.machine.now_ns + seconds(RETRY_S)
            self._leave_if_asked()
        except BrokenInvariantError as error:
            message = f"{error}\n{self.story()}"
            raise BrokenInvariantError(message) from error

    def _leave_if_asked(self) -> None:
        """As the loop does where its end cannot be journaled; its guard leaves with it."""
        orchestrator = self.orchestrator
        if orchestrator is None or orchestrator.signalled_ns is None:
            return
        if self.machine.now_ns >= orchestrator.signalled_ns + seconds(LEAVES_AFTER_S):
            self.exit_status = 1
            self.kill_both()

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
            self._wake_ns = self.machine.now_ns + left_ns + self._late_ns

    def _carry_out(self, orchestrator: SimulatedOrchestrator, act: Act) -> None:
        if act.events:
            self.append(*act.events)
            self._boundary()
        orchestrator.use_up(act.took)
        if act.effect is not None:
            self.invariants.before_effect(act.effect, [draft.event for draft in act.events])
            orchestrator.perform(act.effect, self.state)
            self._boundary()
        if orchestrator.exit_status is not None:
            self.exit_status, self.orchestrator = orchestrator.exit_status, None
            self.machine.guarded = False  # it leaves with its orchestrator

    def _boundary(self) -> None:
        """Somebody may die here."""
        self.boundaries += 1
        if self.boundaries == self.dies_at_boundary:
            self.kill_orchestrator()
            raise _Died
        happens = self.at_boundary.pop(self.boundaries, None)
        if happens is not None:
            before = self.orchestrator
            happens()
            if self.orchestrator is not before:
                raise _Died


def _none(_: object) -> None:
    """Actions on the agenda return nothing."""


__all__ = ["BrokenInvariantError", "SimulatedWorld", "names"]

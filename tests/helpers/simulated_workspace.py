"""A simulated workspace: its journal, its state, and what people write into it, whether an orchestrator lives or not."""

from collections.abc import Iterable
from typing import Any, TypeVar

from journal.clock import S, Stamp
from journal.codec import Actor, Draft, Recorded, encode
from journal.events import (
    AbortRequested,
    Event,
    Origin,
    RestartRequested,
    ShutdownRequested,
    SwitchRefused,
    SwitchRequested,
)
from journal.identity import Identity
from orchestrator.config import Config
from orchestrator.deciding.admission import admit
from orchestrator.world import AskKind, SwitchAsk
from projections.evolve import evolve, fold
from projections.locking import ForeignLock
from projections.state import WorkspaceState
from projections.views import REQUEST, views
from tests.helpers.broken_invariant import must
from tests.helpers.invariants import Invariants
from tests.helpers.simulated_comfyui import SimulatedEnvironment, SimulatedProcess
from tests.helpers.simulated_machine import COMMAND, SimulatedMachine

_E = TypeVar("_E", bound=Event)


class DiskFullError(Exception):
    """Nothing can be appended now, and nothing was."""


class SimulatedWorkspace:
    """The journal goes through the codec, and through the invariants."""

    def __init__(self, environments: Iterable[SimulatedEnvironment], config: Config, *, guarded: bool) -> None:
        """Nobody has written anything yet."""
        self.machine = SimulatedMachine({one.name: one for one in environments}, guarded=guarded)
        self.config = config
        self.journal: list[Recorded] = []
        self.state: Any = WorkspaceState()  # a job that is None fails its test well enough
        self.invariants = Invariants(self.machine, self.config)
        self._person = self.machine.new_identity()

    def __getitem__(self, environment: str) -> SimulatedEnvironment:
        """One environment, to change what it does."""
        return self.machine.environments[environment]

    # ---------------------------------------------------------- people

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
        self, target: str, *, generation: int | None = None, restores: bool = True, origin: Origin = Origin.CLI
    ) -> SwitchRequested | SwitchRefused:
        """`comfygit-orchestrator switch TARGET`, and its answer; or our panel's, in the name of what serves."""
        serving = self.state.main_process
        ask = SwitchAsk(
            target,
            origin,
            problem=self.machine.problem_of(target),
            generation=generation,
            requester=serving.identity if serving is not None and origin is Origin.PANEL else self._person,
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
        must(isinstance(process, SimulatedProcess), "it cannot be started: {}", process)
        return process  # type: ignore[return-value]

    # --------------------------------------------------------- journal

    def append(self, *drafts: Draft, role: str = "orchestrator", by: Identity | None = None) -> None:
        """Append one transaction, through the journal's codec. Raises DiskFullError, and nothing has happened."""
        if self.machine.full:
            raise DiskFullError
        before, now = self.state, self.machine.now()
        actor = Actor(role, by or self._person, "simulated")
        for draft in drafts:
            self._append_one(draft, now, actor)
        self.invariants.after_transaction(before, self.journal[-len(drafts) :], self.state)
        if self.state.lock is not None:
            self.machine.foreign_lock = None  # the view of our lock is written over it
        self.machine.woken = True

    def _append_one(self, draft: Draft, now: Stamp, actor: Actor) -> None:
        encode(draft.event)  # which also reads it back, and compares
        recorded = Recorded(self.state.seq + 1, "", draft.event, now, actor, draft.switch, draft.cause, b"")
        self.invariants.before_event(self.state, recorded)
        self.journal.append(recorded)
        self.state = evolve(self.state, recorded)

    def events(self, kind: type[_E]) -> list[_E]:
        """All events of that kind."""
        return [recorded.event for recorded in self.journal if isinstance(recorded.event, kind)]

    def times_s(self, kind: type[Event]) -> list[float]:
        """When they happened, in seconds since the beginning (of this boot)."""
        return [recorded.at.monotonic_ns / S for recorded in self.journal if isinstance(recorded.event, kind)]

    def check_replay(self) -> None:
        """The journal alone gives the same state, and the same bytes for every view."""
        rebuilt = fold(self.journal)
        must(rebuilt == self.state, "rebuilt from the journal, the state is another one")
        must(views(rebuilt) == views(self.state), "rebuilt from the journal, a view is another one")


def names(events: Iterable[Recorded]) -> list[str]:
    """Their stored names, in order."""
    return [recorded.event.stored_name for recorded in events]

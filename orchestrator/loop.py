"""The loop: observe, fold, decide, append, perform; then sleep until something happens. Nothing in it waits.

It wakes on a child's exit (pidfd), on a file of `.metadata` (inotify; every writer rewrites the head file), on a probe's or a
request's end, on a signal to us, and at the time that `decide` named. Every five seconds it looks anyway, for a writer that
died between its commit and the head file.
"""

import asyncio
import logging
import signal
from collections.abc import Callable

from journal import clock
from journal.clock import S, Stamp, is_over
from journal.codec import Draft
from journal.errors import (
    JournalBusy,
    JournalForbidden,
    JournalReadOnly,
    JournalStarved,
    JournalWriteFailed,
)
from orchestrator.actions import Act, Spawn, Took, Wait
from orchestrator.config import Config
from orchestrator.decide import plan
from orchestrator.doorbell import Doorbell
from orchestrator.environments.workers import Workers
from orchestrator.guard import ENDING, is_heeded
from orchestrator.ledger import Ledger
from orchestrator.observing import Observer
from orchestrator.performing import Performer
from orchestrator.processes.children import Children
from orchestrator.room import NoRoom, Standstill, need_descriptors, need_space
from orchestrator.upkeep import Upkeep
from orchestrator.workspace import LOGS, read_config
from projections.state import WorkspaceState

_LOG = logging.getLogger(__name__)

ACTS_MAX = 200
"""Actions in a row before the event loop gets its turn: a switch has some 15, so this is insurance."""
RETRY_S = 1.0
"""How soon a journal that could not be written is tried again."""
LOCK_WAIT_S = 1.0
"""How long the loop waits for the write lock: in that time it hears nobody, and whoever holds it longer is stopped."""
LEAVE_AFTER_NS = 2 * S
"""How long a signal to end waits for a journal that cannot be written."""
PASSES = (JournalBusy, JournalForbidden, JournalReadOnly, JournalStarved, JournalWriteFailed, NoRoom)
"""What keeps everything from being done for a while: a full disk, a writer that is stopped, no descriptor left."""


def hold_signals() -> None:
    """Let a signal wait that asks us to end, until a `Supervisor` runs and heeds it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


class Supervisor:
    """One orchestrator's life: from the first look to the exit status."""

    def __init__(
        self, ledger: Ledger, children: Children, workers: Workers, observer: Observer, performer: Performer
    ) -> None:
        """All parts are given: see `orchestrator.running` for how they belong together."""
        self.ledger = ledger
        self._children = children
        self._workers = workers
        self._observer = observer
        self._performer = performer
        performer.wake = self.wake
        self._config = Config()
        self._problems: tuple[str, ...] = ()
        self._view_problems: tuple[str, ...] = ()
        self._watched: dict[int, int] = {}
        self._has_rung = True
        self._timer: asyncio.TimerHandle | None = None
        self._woken = asyncio.Event()
        self._standstill = Standstill()
        self._signalled: Stamp | None = None
        self._bell = Doorbell(ledger.workspace.metadata, self.wake)
        self.upkeep = Upkeep(ledger, self._bell, self.wake)

    @property
    def config(self) -> Config:
        """The settings as last read."""
        return self._config

    def wake(self) -> None:
        """Something happened: look and decide again, soon."""
        self._woken.set()

    async def run(self) -> int:
        """Supervise until it is over; the exit status."""
        status = await self.run_until(lambda _: False)
        assert status is not None  # noqa: S101 - nothing else ends it
        return status

    async def run_until(self, reached: Callable[[WorkspaceState], bool]) -> int | None:
        """Supervise until it is over, or the state is as wanted; the exit status if it is over. May be called again."""
        self._begin()
        while True:
            self._woken.clear()
            self.step()
            status = self._performer.exit_status
            if status is not None or reached(self.ledger.state):
                return status
            await asyncio.sleep(0)  # an event that is set already does not suspend
            await self._woken.wait()

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        pending = signal.sigpending()
        for number in filter(is_heeded, ENDING):
            loop.add_signal_handler(number, self._on_signal, number)
            if number in pending:
                self._on_signal(number)  # before the first step: it comes once more, which does no harm
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        self._bell.start(loop)
        self.ledger.wait_s = LOCK_WAIT_S
        self.upkeep.start()

    async def tell(self, draft: Draft) -> None:
        """Journal what happened beside the loop, as soon as that can be done."""
        while True:
            try:
                self.ledger.ask(lambda _: (draft,))
            except PASSES:
                await asyncio.sleep(RETRY_S)
            else:
                self.wake()
                return

    async def close(self) -> None:
        """Watch nothing any more. What runs goes on. Twice is harmless."""
        self._bell.stop()
        self._unwatch(set(self._watched))
        self.upkeep.stop()
        await self._performer.close()

    def step(self) -> None:
        """One `_step`; while there is no room for it or the journal cannot be written, nothing is done, and it is tried again."""
        try:
            self._step()
        except PASSES as error:
            self._standstill.note(error, clock.read())
            self._leave_if_asked()
            self._wake_after(RETRY_S)
        else:
            self._standstill.end(clock.read())

    def _leave_if_asked(self) -> None:
        """A signal to end is heard all the same. What runs goes on, as if we had been killed: the next of us takes it up."""
        if self._signalled is None or not is_over(self._signalled, LEAVE_AFTER_NS, clock.read()):
            return
        alive = [str(p.identity.pid) for p in self.ledger.state.processes.values() if p.identity is not None]
        what_runs = f"; left running: pid {', '.join(alive)}" if alive else ""
        _LOG.error("asked to end, which cannot be journaled: leaving as it is%s", what_runs)
        self._performer.exit_status = 1

    def _step(self) -> None:
        """Decide and act until there is nothing to do before some later time; then set the timer to it."""
        for _ in range(ACTS_MAX):
            if self._performer.exit_status is not None:
                return
            need_descriptors()
            self._read_config()
            self._react_to_files()
            self.ledger.refresh()
            now = clock.read()
            world = self._observer.look(self.ledger.state, self._config, now)
            decision = plan(self.ledger.state, world, now, self._config, self.ledger.actor)
            if isinstance(decision, Wait):
                self._watch_children()
                self._set_timer(decision.until, now)
                return
            self._carry_out(decision, now)
        self.wake()  # others shall have their turn: signals, requests, probes

    def _carry_out(self, act: Act, now: Stamp) -> None:
        if isinstance(act.effect, Spawn):
            need_space(self.ledger.workspace.metadata / LOGS)
        if act.events and not self.ledger.commit(act.events, now):
            return
        self._use_up(act.took)
        self.upkeep.expect_output()
        if act.effect is not None:
            self._performer.perform(act.effect)
        self._forget_the_gone()

    def _use_up(self, took: frozenset[Took]) -> None:
        holders = self._observer.holders
        if Took.SIGNAL in took:
            holders.signal, self._signalled = "", None
        if Took.PROBE in took:
            holders.probe = None

    def _forget_the_gone(self) -> None:
        """Drop what the journal no longer speaks of as alive."""
        state, spawned = self.ledger.state, self._observer.holders.spawned
        at_work = None if state.worker is None else state.worker.worker
        gone = {key for key in self._watched if key not in state.processes and key != at_work}
        self._unwatch(gone)
        for worker in self._workers.known():
            if worker != at_work:
                self._workers.forget(worker)
        for spawn in [spawn for spawn in spawned if spawn not in state.processes]:
            del spawned[spawn]
            self._children.forget(spawn)

    def _watch_children(self) -> None:
        state = self.ledger.state
        keys = {*state.processes, *(() if state.worker is None else (state.worker.worker,))}
        for key in keys - self._watched.keys():
            descriptor = self._children.exit_fd(key)
            if descriptor is not None:
                asyncio.get_running_loop().add_reader(descriptor, self._on_exit, key)
                self._watched[key] = descriptor

    def _on_exit(self, key: int) -> None:
        """A child has ended: its descriptor stays readable, so it rings once."""
        descriptor = self._watched.get(key)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
        self.wake()

    def _unwatch(self, keys: set[int]) -> None:
        for key in keys:
            asyncio.get_running_loop().remove_reader(self._watched.pop(key))
            self._children.forget(key)

    def _on_signal(self, number: signal.Signals) -> None:
        self.signalled(number.name)

    def signalled(self, name: str) -> None:
        """A signal came to us or to the guard ("": it said something else): look and decide again."""
        if name:
            self._observer.holders.signal = name
            self._signalled = self._signalled or clock.read()
        self.wake()

    def unheeded(self) -> str:
        """The name of a signal that is not journaled yet; "" when there is none."""
        return self._observer.holders.signal

    def _react_to_files(self) -> None:
        """Whatever somebody did to our views is undone, and journaled."""
        self._has_rung = bool(self._bell.take()) or self._has_rung
        if self._has_rung or self.ledger.view_problems:
            self.ledger.publish()
            self._has_rung = False
        if self.ledger.view_problems != self._view_problems:
            self._view_problems = self.ledger.view_problems
            for problem in self._view_problems:
                _LOG.warning("%s; the journal is right, it is tried again", problem)

    def _read_config(self) -> None:
        self._config, problems = read_config(self.ledger.workspace.config_path, self._config)
        logging.getLogger().setLevel(self._config.log_level.upper())
        if problems != self._problems:
            self._problems = problems
            for problem in problems:
                _LOG.warning("%s", problem)

    def _set_timer(self, until: Stamp | None, now: Stamp) -> None:
        self._wake_after(None if until is None else max(0, until.monotonic_ns - now.monotonic_ns) / S)

    def _wake_after(self, delay_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay_s is not None:
            self._timer = asyncio.get_running_loop().call_later(min(delay_s, 3600.0), self.wake)

"""Effects, carried out: one short function per kind of effect, no decisions. Each only starts something and returns."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from journal import clock
from journal.clock import S
from journal.masking import mask
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
from orchestrator.environments.workers import Workers
from orchestrator.errors import OrchestratorError
from orchestrator.inbox import Inbox
from orchestrator.ledger import Ledger
from orchestrator.network.health import REFUSED, Prober
from orchestrator.network.ports import owns_listener, port_holders
from orchestrator.observing import Holders
from orchestrator.processes.children import Children, tree
from orchestrator.world import ProbeFacts, looks_after
from projections.publisher import is_ours, read_bytes
from projections.views import LOCK

_LOG = logging.getLogger(__name__)


class Performer:
    """Carries out effects for one orchestrator. `wake` is called when something that it had started has ended."""

    def __init__(
        self,
        ledger: Ledger,
        children: Children,
        workers: Workers,
        inbox: Inbox,
        holders: Holders,
        environ: Mapping[str, str],
    ) -> None:
        """`environ` is what ComfyUI gets."""
        self.exit_status: int | None = None
        self.wake: Callable[[], None] = lambda: None
        self._ledger = ledger
        self._children = children
        self._workers = workers
        self._inbox = inbox
        self._holders = holders
        self._environ = environ
        self._prober = Prober()
        self._probing: asyncio.Task[None] | None = None
        self._kinds: Final[dict[type[Any], Callable[[Any], None]]] = {
            Spawn: self._spawn,
            Signal: self._signal,
            Sweep: self._sweep,
            Probe: self._probe,
            StartPreflight: lambda effect: self._workers.start_preflight(effect.worker, effect.environment),
            StartSync: lambda effect: self._workers.start_sync(effect.worker, effect.environment),
            StartCapture: lambda effect: self._workers.start_capture(
                effect.worker, effect.environment, effect.generation, effect.kept
            ),
            StartRestore: self._start_restore,
            KillWorker: self._kill_worker,
            TakeFile: self._take_file,
            TakeForeignLock: self._take_foreign_lock,
            End: self._end,
        }

    def perform(self, effect: Effect) -> None:
        """Start what `effect` says."""
        self._kinds[type(effect)](effect)

    async def close(self) -> None:
        """End a probe under way."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        await self._prober.close()

    def _spawn(self, effect: Spawn) -> None:
        log = self._ledger.workspace.log_path(effect.environment, effect.spawn)
        try:
            outcome: Any = self._children.spawn(
                effect.spawn, effect.command, cwd=Path(effect.working_directory), environ=self._environ, log=log
            )
        except OrchestratorError as error:
            outcome = mask(f"{error}; {error.hint}")
        self._holders.spawned[effect.spawn] = outcome

    def _signal(self, effect: Signal) -> None:
        count = self._children.signal(effect.identity, effect.spawn, effect.signal, whole_tree=effect.whole_tree)
        _LOG.info("signalled", extra={"spawn": effect.spawn, "signal": effect.signal, "processes": count})

    def _sweep(self, effect: Sweep) -> None:
        process = self._ledger.state.processes.get(effect.spawn)
        if process is not None and process.identity is not None:
            self._children.signal(process.identity, effect.spawn, "SIGKILL", whole_tree=True)

    def _probe(self, effect: Probe) -> None:
        self._holders.probing = True
        self._probing = asyncio.get_running_loop().create_task(self._ask_whether_ready(effect))

    async def _ask_whether_ready(self, effect: Probe) -> None:
        try:
            outcome = await self._prober.probe(effect.url, effect.timeout_ns / S)
            is_looked_for = effect.whose and outcome.error != REFUSED
            stranger = self._stranger(effect, is_ok=outcome.ok) if is_looked_for else ""
            facts = ProbeFacts(
                spawn=effect.spawn,
                ok=outcome.ok,
                latency_ns=outcome.latency_ns,
                status=outcome.status,
                error=mask(outcome.error),
                stranger=stranger,
            )
            self._holders.probe = facts
            self._holders.looks = looks_after(self._holders.looks, facts, clock.read())
        finally:
            self._holders.probing = False
            self.wake()

    def _stranger(self, effect: Probe, *, is_ok: bool) -> str:
        """Who listens, if it is not the process that was asked for: a listener of its tree, or nobody's."""
        process = self._ledger.state.processes.get(effect.spawn)
        if process is None or process.identity is None:
            return ""
        if owns_listener(tree(process.identity), effect.port, urlsplit(effect.url).hostname or ""):
            return ""
        holders = port_holders(effect.port)
        named = [f"pid {h.identity.pid} ({h.command})" for h in holders if h.identity is not None]
        unseen = "a process that we may not look at" if is_ok or holders else ""  # else it closed its socket meanwhile
        return mask(", ".join(named)) or unseen

    def _start_restore(self, effect: StartRestore) -> None:
        wanted, saved = self._ledger.captured(effect.generation), self._ledger.captured(effect.saved)
        self._workers.start_restore(effect.worker, effect.environment, wanted, saved)

    def _kill_worker(self, _effect: KillWorker) -> None:
        if self._ledger.state.worker is not None:
            self._workers.kill(self._ledger.state.worker)

    def _take_file(self, effect: TakeFile) -> None:
        self._inbox.set_aside(effect.name, effect.key)
        self._ledger.publish()
        self._inbox.drop_aside(effect.name)

    def _take_foreign_lock(self, _effect: TakeForeignLock) -> None:
        content = read_bytes(self._ledger.workspace.metadata / LOCK)
        if content is not None and not is_ours(content, self._ledger.state.seq):
            self._ledger.discard(LOCK)

    def _end(self, effect: End) -> None:
        if effect.why:
            _LOG.warning("leaving: %s", effect.why)
        self.exit_status = effect.exit_status

"""What has to be looked at now and then without anybody ringing: foreign commits, logs that grow, a held lock's file."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from journal import clock
from journal.clock import S, Stamp, is_over
from journal.errors import JournalError
from journal.events import Role
from orchestrator.doorbell import Doorbell
from orchestrator.ledger import Ledger
from orchestrator.logs.capping import OutputCap
from orchestrator.logs.rotation import rotate_when_large
from projections.state import WorkKind
from projections.views import LOCK

_LOG = logging.getLogger(__name__)

LOG = "orchestrator.log"
"""Our own output, beside the journal."""
LOOK_S = 1.0
"""How often it is looked where nothing would wake the loop, a view could not be written, or a log is flooded."""
RARE_LOOK_S = 5.0
"""The same where the doorbell watches: for a writer that died between its commit and the head file (decision 15)."""
LOCK_TOUCH_NS = 60 * S
"""How often a held lock's file is touched: the public panel takes one for dead after 300 s."""


class Upkeep:
    """The looks of one orchestrator."""

    def __init__(self, ledger: Ledger, bell: Doorbell, wake: Callable[[], None]) -> None:
        """`wake` is called when somebody else has committed, or nobody could tell; `on_look`, an attribute, at every look."""
        self._ledger = ledger
        self._bell = bell
        self._wake = wake
        self.on_look: Callable[[], None] = lambda: None
        self._cap = OutputCap()
        self._is_flooded = False
        self._touched: Stamp | None = None
        self._data_version = 0
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at once, since nobody did while there was no orchestrator, then now and then. Twice is harmless."""
        self._is_flooded = self._cap.look(self._outputs())
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_again_and_again())

    def stop(self) -> None:
        """A last look at the logs."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
        self._cap.look(())

    def expect_output(self) -> None:
        """What is written to now is looked at once more, also when whoever writes is gone by then."""
        self._cap.expect(self._outputs())

    async def _look_again_and_again(self) -> None:
        while True:
            is_well = self._bell.is_watching and not self._ledger.view_problems and not self._is_flooded
            await asyncio.sleep(RARE_LOOK_S if is_well else LOOK_S)
            self._touch_lock()
            self.on_look()
            self._is_flooded = self._cap.look(self._outputs())
            rotate_when_large(self._ledger.workspace.metadata / LOG)
            try:
                version = self._ledger.journal.data_version()
            except JournalError as error:
                _LOG.warning("%s; %s", error, error.hint)
                continue
            if version != self._data_version or not self._bell.is_watching or self._ledger.view_problems:
                self._data_version = version
                self._wake()

    def _outputs(self) -> list[Path]:
        """The logs that others' programs write to now. What a capture or restore prints is ours: one answer, and bounded."""
        state, workspace = self._ledger.state, self._ledger.workspace
        ours = [process for process in state.processes.values() if process.role is not Role.SOURCE]
        logs = [workspace.log_path(process.environment, process.spawn) for process in ours]
        worker = state.worker
        if worker is not None and worker.kind in {WorkKind.PREFLIGHT, WorkKind.SYNC}:
            logs.append(workspace.worker_log_path(worker.environment, worker.worker, worker.kind.value))
        return logs

    def _touch_lock(self) -> None:
        lock = self._ledger.state.lock
        if lock is None:
            return
        now = clock.read()
        if is_over(self._touched or lock.acquired, LOCK_TOUCH_NS, now):
            self._touched = now
            self._ledger.touch(LOCK)

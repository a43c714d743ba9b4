"""From the log: how many starts there are in any minute that nobody has asked for."""

from typing import Any, ClassVar

from journal.clock import Stamp, elapsed_ns
from journal.codec import Recorded
from journal.events import (
    OrchestratorStarted,
    ProcessIntended,
    ProcessSpawnFailed,
    RestartRequested,
    StartPlanned,
    SwitchRequested,
)
from orchestrator.deciding.situation import BREAKER_WINDOW_NS
from projections.state import WorkspaceState
from tests.helpers.broken_invariant import must
from tests.helpers.log_rules import LogRules

STARTS_MAX = 8
"""ComfyUIs started in any minute without anybody asking in between, switches aside."""


class BreakerRules(LogRules):
    """No loop of starts goes on for ever, whoever dies in between."""

    def __init__(self, *args: Any) -> None:
        """Nothing was started."""
        super().__init__(*args)
        self.starts: list[Stamp] = []

    def _intended(self, state: WorkspaceState, recorded: Recorded, _event: object) -> None:
        if state.job is None or state.job.is_switch:
            return
        recent = [one for one in self.starts if elapsed_ns(one, recorded.at) < BREAKER_WINDOW_NS]
        self.starts = [*recent, recorded.at]
        must(len(self.starts) <= STARTS_MAX, "{} starts within a minute", len(self.starts))

    def _spawn_failed(self, _state: WorkspaceState, _recorded: Recorded, event: ProcessSpawnFailed) -> None:
        if event.lost:  # the orchestrator died over it
            del self.starts[-1:]

    def _asked(self, _state: WorkspaceState, _recorded: Recorded, _event: object) -> None:
        self.starts.clear()

    def _planned(self, _state: WorkspaceState, _recorded: Recorded, event: StartPlanned) -> None:
        if event.asked:
            self.starts.clear()

    def _orchestrator(self, _state: WorkspaceState, _recorded: Recorded, event: OrchestratorStarted) -> None:
        if event.manual:
            self.starts.clear()

    CHECKS: ClassVar = {
        ProcessIntended: _intended,
        ProcessSpawnFailed: _spawn_failed,
        StartPlanned: _planned,
        SwitchRequested: _asked,
        RestartRequested: _asked,
        OrchestratorStarted: _orchestrator,
    }

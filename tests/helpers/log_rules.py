"""Invariants that are counted from the log, event by event, and not read from the state that the fold makes of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from journal.codec import Recorded
from journal.events import Event
from orchestrator.config import Config
from projections.state import WorkspaceState
from tests.helpers.simulated_machine import SimulatedMachine

Check = Callable[[Any, WorkspaceState, Recorded, Any], None]


class LogRules:
    """One group of rules. `CHECKS` has a method for each kind of event that they speak about."""

    CHECKS: ClassVar[Mapping[type[Event], Check]] = {}

    def __init__(self, machine: SimulatedMachine, config: Config) -> None:
        """Nothing has happened yet."""
        self.machine = machine
        self.config = config

    def before_event(self, state: WorkspaceState, recorded: Recorded) -> None:
        """Look at one event and the state that it meets."""
        check = self.CHECKS.get(type(recorded.event))
        if check is not None:
            check(self, state, recorded, recorded.event)

    def after_transaction(self, appended: Sequence[Recorded], state: WorkspaceState) -> None:
        """Look at all that one transaction has appended, and the state after it."""

    def at_rest(self, state: WorkspaceState) -> None:
        """Look at the state when an orchestrator lives and nothing is under way."""

"""What the journal of a workspace says, for those who only look: it imports nothing of the loop, so that they need not wait."""

import contextlib
from collections.abc import Generator
from pathlib import Path

from journal.doorbell import Doorbell
from journal.errors import JournalMissing
from journal.head import head_path
from journal.identity import Identity, is_alive
from journal.store import Journal
from projections.evolve import fold
from projections.state import WorkspaceState

LOOK_S = 0.25
"""How often somebody who waits looks without being woken."""


def living_orchestrator(state: WorkspaceState) -> Identity | None:
    """The orchestrator of the workspace, if it lives."""
    known = state.orchestrator
    return known if known is not None and is_alive(known) else None


def living_guard(state: WorkspaceState) -> Identity | None:
    """Who starts the next orchestrator where this one has died, if that lives."""
    known = state.guard
    return known if known is not None and is_alive(known) else None


def read_state(path: Path) -> WorkspaceState:
    """The state of the journal at `path`; where there is none yet, that of a workspace that was never used. Reads only."""
    try:
        with Journal.open_readonly(path) as journal:
            return fold(journal.read())
    except JournalMissing:
        return WorkspaceState()


def follow_state(path: Path) -> Generator[WorkspaceState, None, None]:
    """The state of the journal at `path`, at once and whenever it has changed or LOOK_S has passed. Reads only.

    Raises JournalMissing when there is no journal yet.
    """
    with Journal.open_readonly(path) as journal, contextlib.closing(Doorbell(head_path(path))) as bell:
        state = WorkspaceState()
        while True:
            state = fold(journal.read(state.seq), state)
            yield state
            bell.wait(LOOK_S)

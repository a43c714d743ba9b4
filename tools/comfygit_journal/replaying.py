"""`replay`: the journal folded, and what it says of every file compared with the file."""

import threading
from pathlib import Path
from typing import Final

import attrs

from comfygit_journal.errors import CommandError
from journal.codec import own_actor
from journal.errors import JournalDamaged, JournalTooNew
from journal.identity import is_alive
from journal.store import Journal
from projections.evolve import evolve
from projections.publisher import Publisher, compare, is_ours, read_bytes
from projections.state import WorkspaceState
from projections.switching import IllegalEventError
from projections.views import LOCK, REQUEST, views

_LOOKS_LIVE: Final = 20
_LOOKS: Final = 3
_PAUSE_S: Final = 0.05
"""A writer publishes right after it has committed. While an orchestrator lives, views are restored within a second."""


@attrs.frozen
class Difference:
    """A file that does not hold what the journal says; None: no file. `foreign`: another program wrote it."""

    name: str
    expected: bytes | None
    found: bytes | None
    foreign: bool


@attrs.frozen
class Folded:
    """The state as far as the journal could be folded; `problem` is the error that ended it early, None for none."""

    state: WorkspaceState
    problem: CommandError | None = None


def fold_journal(journal: Journal, until: int | None = None, state: WorkspaceState | None = None) -> Folded:
    """Fold from `state` on, or from the beginning, up to `until`."""
    state = WorkspaceState() if state is None else state
    try:
        for recorded in journal.read(state.seq, until=until):
            state = evolve(state, recorded)
    except (JournalDamaged, JournalTooNew) as exc:
        return Folded(state, CommandError(exc.message, exc.hint))
    except IllegalEventError as exc:
        hint = "run `comfygit-journal verify`: the journal was changed, or whoever appended this has a bug"
        return Folded(state, CommandError(f"folding the journal: {exc}", hint))
    return Folded(state)


def differences(journal: Journal, folder: Path, state: WorkspaceState) -> tuple[WorkspaceState, tuple[Difference, ...]]:
    """The newest state, and where the files in `folder` hold what they should by no state there was during the reading.

    On a live workspace the journal moves while the files are read, and a writer is for a moment between its commit and
    its files: it is looked again, some times. Raises CommandError where the journal cannot be folded on.
    """
    pause = threading.Event()
    looks = 1
    state, wrong = _look(journal, folder, state)
    while wrong and looks < (_LOOKS_LIVE if _is_live(state) else _LOOKS):
        pause.wait(_PAUSE_S)
        looks += 1
        state, wrong = _look(journal, folder, state)
    return state, wrong


def _look(journal: Journal, folder: Path, state: WorkspaceState) -> tuple[WorkspaceState, tuple[Difference, ...]]:
    found = {name: read_bytes(folder / name) for name in views(state)}
    states = _states_since(journal, state)
    allowed = [views(one) for one in states]
    wrong = [name for name, content in found.items() if all(content != one[name] for one in allowed)]
    return states[-1], tuple(_difference(name, allowed[-1][name], found[name], states[-1].seq) for name in wrong)


def _states_since(journal: Journal, state: WorkspaceState) -> list[WorkspaceState]:
    """`state` and every one that the journal has come to since."""
    states = [state]
    while True:
        folded = fold_journal(journal, states[-1].seq + 1, states[-1])
        if folded.problem is not None:
            raise folded.problem
        if folded.state.seq == states[-1].seq:
            return states
        states.append(folded.state)


def _is_live(state: WorkspaceState) -> bool:
    return state.orchestrator is not None and is_alive(state.orchestrator)


def _difference(name: str, expected: bytes | None, found: bytes | None, seq: int) -> Difference:
    foreign = name in {REQUEST, LOCK} and found is not None and not is_ours(found, seq)
    return Difference(name, expected, found, foreign)


def restore(path: Path, folder: Path) -> tuple[WorkspaceState, tuple[Difference, ...], tuple[Difference, ...]]:
    """Write every view that differs. The state, what was restored, and what was not: foreign files stay to be taken in.

    Holds the write lock of the journal at `path`: nobody else publishes meanwhile. Raises CommandError, JournalError.
    """
    publisher = Publisher(folder)
    with Journal.open(path, own_actor("cli")) as journal:
        earlier = _whole(fold_journal(journal))  # the long part, while others may still write
        with journal.writing():
            state = _whole(fold_journal(journal, None, earlier))
            before = _compared(folder, state)
            publisher.publish(state)
            left = _compared(folder, state)
    if publisher.problems:
        message = f"restoring the views: {'; '.join(publisher.problems)}"
        raise CommandError(message, "free some space, or run it as the owner of the workspace")
    names = {difference.name for difference in left}
    return state, tuple(difference for difference in before if difference.name not in names), left


def _whole(folded: Folded) -> WorkspaceState:
    if folded.problem is not None:
        raise folded.problem
    return folded.state


def _compared(folder: Path, state: WorkspaceState) -> tuple[Difference, ...]:
    return tuple(
        _difference(drift.name, drift.expected, drift.found, state.seq) for drift in compare(folder, views(state))
    )

"""The journal, the state at its head and the views on disk, kept in step: what every writer of a workspace uses.

Who appends also publishes, under the same write lock and with the state at the head. So it does not matter who writes: an
orchestrator, a command line without one, or both.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from journal.clock import Stamp
from journal.codec import Actor, Draft, Recorded
from journal.errors import JournalConflict, JournalWriteFailed
from journal.events import CaptureFinished, FileDrifted
from journal.store import Journal
from orchestrator.workspace import Workspace
from projections.evolve import evolve
from projections.generations import Generation, find
from projections.publisher import Drift, Publisher
from projections.state import WorkspaceState


class Ledger:
    """One writer's hold on a workspace.

    `state` is the state at the last event that it has read; `listener` is called with each one it reads from now on.
    `wait_s`: for the write lock, where that is less than what the journal was opened with.
    """

    def __init__(self, workspace: Workspace, journal: Journal, actor: Actor) -> None:
        """Takes over `journal`, and folds it. Raises JournalDamaged for an event that cannot be read."""
        self.workspace = workspace
        self.journal = journal
        self.actor = actor
        self.state = WorkspaceState()
        self.listener: Callable[[Recorded], None] = _nobody
        self.wait_s: float | None = None
        self._publisher = Publisher(workspace.metadata)
        self._drifted: list[Draft] = []
        self.refresh()

    @classmethod
    def open(cls, workspace: Workspace, actor: Actor) -> Self:
        """Open or create the workspace's journal for writing. Raises JournalError."""
        return cls(workspace, Journal.open(workspace.journal_path, actor), actor)

    def refresh(self) -> bool:
        """Fold what others have appended; whether there was anything."""
        before = self.state.seq
        self._fold(self.journal.read(before))
        return self.state.seq != before

    def commit(self, drafts: Sequence[Draft], at: Stamp | None = None) -> bool:
        """Append what was decided on `state` and publish. False when somebody else was first: decide again."""
        with self.journal.writing(self.wait_s):
            try:
                recorded = self.journal.append(drafts, self.state.seq, at)
            except JournalConflict:
                self.refresh()
                return False
            self._taken_in(recorded)
        return True

    def ask(self, answer: Callable[[WorkspaceState], Sequence[Draft]]) -> tuple[Recorded, ...]:
        """Append what `answer` says to the state at the head; nobody else gets in between."""
        with self.journal.writing(self.wait_s):
            self.refresh()
            recorded = self.journal.append(answer(self.state), self.state.seq)
            self._taken_in(recorded)
        return recorded

    def publish(self) -> tuple[Drift, ...]:
        """Make the views agree with the journal's head; what others had changed in them is journaled."""
        with self.journal.writing(self.wait_s):
            self.refresh()
            return self._publish()

    def captured(self, generation: int) -> CaptureFinished | None:
        """The event that tells how a generation's content is kept; None when it is not. Raises JournalDamaged."""
        found = find(self.state.generations, generation)
        return None if found is None else captured_in(self.journal, found)

    def discard(self, name: str) -> None:
        """Take a foreign file away from a view's name. Raises OSError."""
        self._publisher.discard(name)

    @property
    def view_problems(self) -> tuple[str, ...]:
        """The views that could not be written at the last try, and why."""
        return self._publisher.problems

    def touch(self, name: str) -> None:
        """Freshen the mtime of a view that foreign programs take for dead when it is old."""
        self._publisher.touch(name)

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _taken_in(self, recorded: Sequence[Recorded]) -> None:
        self._fold(recorded)
        self._publish()

    def _publish(self) -> tuple[Drift, ...]:
        """What was appended before is done, whatever becomes of this: drift that cannot be journaled now is the next time."""
        drifted = self._publisher.publish(self.state)
        self._drifted += [Draft(FileDrifted(name=drift.name, found=_described(drift.found))) for drift in drifted]
        if self._drifted:
            with contextlib.suppress(JournalWriteFailed):
                self._fold(self.journal.append(self._drifted, self.state.seq))
                self._drifted.clear()
        return drifted

    def _fold(self, events: Iterable[Recorded]) -> None:
        for recorded in events:
            self.state = evolve(self.state, recorded)
            self.listener(recorded)


def captured_in(journal: Journal, generation: Generation) -> CaptureFinished | None:
    """The event of `journal` that tells how the content of `generation` is kept; None when it is not."""
    if generation.kept is None:
        return None
    seq = generation.kept.captured
    event = next(recorded.event for recorded in journal.read(seq - 1, until=seq))
    return event if isinstance(event, CaptureFinished) else None


def _nobody(_recorded: Recorded) -> None:
    """Hears nothing."""


def _described(found: bytes | None) -> str:
    return "missing" if found is None else found[:4096].decode("utf-8", "backslashreplace")

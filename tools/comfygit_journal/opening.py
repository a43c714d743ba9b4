"""The workspace and its journal, opened for reading; and the moment, for what is said about time."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from comfygit_journal.errors import CommandError
from comfygit_journal.escaping import escaped
from comfygit_journal.lenient import LenientJournal
from comfygit_journal.reading import Reader
from journal import clock
from orchestrator.workspace import Workspace, open_workspace

DAMAGED = "run `comfygit-journal verify` to see how far it is good"


@contextmanager
def reading(root: Path | None) -> Iterator[tuple[Workspace, Reader]]:
    """The workspace in `root`, or the one that is found, and a reader of its journal.

    What was in the way of reading is raised at the end of the block, when all that could be read has been shown.
    """
    workspace = open_workspace(root)
    with LenientJournal.open_readonly(workspace.journal_path) as journal:
        if journal.anchor_problem:
            warn(journal.anchor_problem)
        reader = Reader(journal)
        yield workspace, reader
        if reader.damage is not None:
            raise CommandError(reader.damage.message, reader.damage.hint or DAMAGED)


def warn(text: str) -> None:
    """A line on stderr that is no error."""
    print(f"warning: {escaped(text)}", file=sys.stderr)


def now() -> datetime:
    """This moment in the local zone."""
    return clock.as_datetime(clock.read().wall_ns).astimezone()

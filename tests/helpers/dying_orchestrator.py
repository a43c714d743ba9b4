"""The real orchestrator, but it kills itself once, at the event that the file named by DYING_AT tells: TYPE OCCURRENCE MOMENT.

MOMENT is `before` (it is not in the journal yet) or `after` (it is, and nothing that follows has been done: neither are the
views published nor is the effect performed). The file is removed first, so whoever is started in its place lives.
Occurrences are counted from 1, in the process that dies, once the file is there.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from journal.codec import Draft
from journal.store import Journal
from orchestrator.cli import main

DYING_AT = "DYING_ORCHESTRATOR_AT"


def give(order: Path, event: str, occurrence: int, moment: str) -> None:
    """Tell it in one go: an orchestrator may be reading."""
    written = order.with_suffix(".written")
    written.write_text(f"{event} {occurrence} {moment}")
    written.replace(order)


def install(order: Path) -> None:
    """Let this process die as `order` tells, whenever it is written."""
    append = Journal.append
    seen = 0

    def appending(journal: Journal, drafts: Sequence[Draft], *rest: Any, **named: Any) -> Any:
        nonlocal seen
        if not order.exists():
            return append(journal, drafts, *rest, **named)
        wanted, occurrence, moment = order.read_text().split()
        seen += sum(draft.event.stored_name == wanted for draft in drafts)
        due = seen >= int(occurrence)
        if due and moment == "before":
            _die(order)
        recorded = append(journal, drafts, *rest, **named)
        if due:
            _die(order)
        return recorded

    Journal.append = appending  # type: ignore[method-assign, assignment]


def _die(order: Path) -> None:
    order.unlink()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    install(Path(os.environ[DYING_AT]))
    sys.exit(main())

"""The real orchestrator, but it is killed once, at the event that the file named by DYING_AT tells.

The file is removed first, so whoever is started in its place lives.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from journal.codec import Draft
from journal.errors import JournalError
from journal.identity import Identity, identify, is_alive
from journal.store import Journal
from orchestrator import guard
from orchestrator.cli import main
from orchestrator.performing import Performer

DYING_AT = "DYING_ORCHESTRATOR_AT"
MOMENTS = ("before", "after", "performed")
WHO = ("orchestrator", "guard", "both")
ANY = "*"
"""In place of an event's name: all count."""


@attrs.frozen
class Order:
    """When to die, and who: at the `occurrence`-th `event` (from 1) that is committed from now on.

    `moment`: "before" it is in the journal; "after", with neither views published nor the effect performed; "performed", with the
    effect, and its outcome not yet in the journal. `who`: the orchestrator alone, its guard alone, or both.
    """

    event: str
    occurrence: int = 1
    moment: str = "after"
    who: str = "orchestrator"

    @classmethod
    def read(cls, event: str, occurrence: int, moment: str, who: str) -> "Order":
        """From words. Raises ValueError for one that is none."""
        if moment not in MOMENTS or who not in WHO:
            message = f"{moment!r} of {who!r}: {MOMENTS} of {WHO} are known"
            raise ValueError(message)
        return cls(event, occurrence, moment, who)

    def give(self, path: Path) -> None:
        """Write it for the orchestrator."""
        _write(path, attrs.asdict(self))


def _write(path: Path, document: Any) -> None:
    """In one go: somebody may be reading."""
    written = path.with_name(f"{path.name}.written")
    written.write_text(json.dumps(document))
    written.replace(path)


def victims_of(path: Path) -> Path:
    """Where it is written who is killed by the order at `path`, before that is removed."""
    return path.with_suffix(".victims")


def is_carried_out(path: Path) -> bool:
    """Whether the order at `path` has been taken, or taken back, and who was to die by it is dead."""
    if path.exists():
        return False
    try:
        victims = json.loads(victims_of(path).read_text())
    except FileNotFoundError:
        return True
    return not any(is_alive(Identity(**victim)) for victim in victims)


class Executioner:
    """Wraps what writes the journal and what performs effects in this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._seen = 0
        self._due: Order | None = None

    def install(self) -> None:
        """From now on the order is carried out, whenever it is given."""
        append, perform = Journal.append, Performer.perform

        def appending(journal: Journal, drafts: Sequence[Draft], *rest: Any, **named: Any) -> Any:
            self._no_effect_has_followed()
            seen, order = self._seen, self._order_for(drafts)
            if order is not None and order.moment == "before":
                self._die(order)
            try:
                recorded = append(journal, drafts, *rest, **named)
            except JournalError:  # somebody else came first, say: it is decided again
                self._seen = seen
                raise
            if order is not None and order.moment == "after":
                self._die(order)
            self._due = order if order is not None and order.moment == "performed" else None
            return recorded

        def performing(performer: Performer, effect: Any) -> None:
            perform(performer, effect)
            self._no_effect_has_followed()

        Journal.append = appending  # type: ignore[method-assign, assignment]
        Performer.perform = performing  # type: ignore[method-assign, assignment]

    def _order_for(self, drafts: Sequence[Draft]) -> Order | None:
        """The order, if one of `drafts` is what it waits for."""
        try:
            text = self._path.read_text()
        except OSError:
            return None
        order = Order(**json.loads(text))
        self._seen, self._text = (self._seen if text == self._text else 0), text
        before = self._seen
        self._seen += sum(order.event in {ANY, draft.event.stored_name} for draft in drafts)
        return order if before < order.occurrence <= self._seen else None

    def _no_effect_has_followed(self) -> None:
        if self._due is not None:
            self._die(self._due)

    def _die(self, order: Order) -> None:
        self._due = None
        victims = [] if order.who == "guard" else [os.getpid()]
        if order.who in {"guard", "both"}:
            command = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
            assert guard.__file__.encode() in command, command
            victims.insert(0, os.getppid())
        died = [attrs.asdict(identity) for identity in map(identify, victims) if identity is not None]
        _write(victims_of(self._path), died)
        try:
            self._path.unlink()
        except FileNotFoundError:  # taken back
            victims_of(self._path).unlink()
            return
        for victim in victims:
            os.kill(victim, signal.SIGKILL)


if __name__ == "__main__":
    Executioner(Path(os.environ[DYING_AT])).install()
    sys.exit(main())

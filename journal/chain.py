"""Checking a journal: every event is what its writer stored, none is missing, the tail is there."""

import struct
from typing import Final

import attrs

from journal.codec import decode, decode_actor
from journal.errors import JournalDamaged, JournalTooNew
from journal.head import Anchor, problem
from journal.rows import GENESIS, RawRow, link
from journal.store import Journal

_PROBLEMS: Final = 100


@attrs.frozen
class Verdict:
    """What a check found. `problems` are phrases, at most 100 of them, in the order of the journal."""

    events: int
    first_damaged_seq: int | None
    problems: tuple[str, ...]
    anchor: Anchor

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong. A head file that is missing or behind is not: a writer repairs that."""
        return not self.problems


class _Check:
    """The state of one pass over the rows."""

    def __init__(self, *, decoding: bool) -> None:
        self.events = 0
        self.first_damaged_seq: int | None = None
        self.problems: list[str] = []
        self._decoding = decoding
        self._seq = 0
        # More than one when the last event was damaged: what it stored, and what it should have. Empty: unknown.
        self._previous: tuple[bytes, ...] = (GENESIS,)

    def damaged(self, seq: int, what: str) -> None:
        if self.first_damaged_seq is None:
            self.first_damaged_seq = seq
        self.report(what)

    def report(self, what: str) -> None:
        if len(self.problems) < _PROBLEMS:
            self.problems.append(what)

    def row(self, row: RawRow) -> None:
        self.events += 1
        if row.seq != self._seq + 1:
            self.damaged(self._seq + 1, f"after event {self._seq} comes event {row.seq}")
            self._previous = ()
        self._seq = row.seq
        try:
            digests = [link(previous, row) for previous in self._previous]
        except (struct.error, TypeError):
            self._previous = ()
            self.damaged(row.seq, f"event {row.seq}: a column holds another type than it should")
            return
        if row.hash in digests or not digests:
            self._previous = (row.hash,)
            if self._decoding:
                self._decode(row)
        else:
            self._previous = (row.hash, digests[0])
            self.damaged(row.seq, f"event {row.seq}: its content does not match its hash")

    def _decode(self, row: RawRow) -> None:
        try:
            decode(str(row.type, "utf-8"), row.version, row.data)
            decode_actor(str(row.actor, "utf-8"))
        except JournalTooNew as exc:
            self.report(f"event {row.seq}: {exc.found} is of a newer release")
        except (JournalDamaged, ValueError) as exc:
            self.damaged(row.seq, f"event {row.seq}: {exc.what if isinstance(exc, JournalDamaged) else exc}")


def verify(journal: Journal, *, decoding: bool = True) -> Verdict:
    """Compute the hash chain anew over what is stored, look for gaps, decode every event, compare with the head file.

    Without `decoding`, events are not decoded: a third of the time. Goes on after a damaged event, and up to where the
    file can be read. Raises JournalBusy.
    """
    anchor = journal.anchor()
    check = _Check(decoding=decoding)
    try:
        for row in journal.read_raw(until=journal.head()[0]):
            check.row(row)
    except JournalDamaged as exc:
        check.damaged(exc.seq or 1, exc.what)
    lost = problem(journal.path, anchor)
    problems = (*check.problems, lost) if lost else tuple(check.problems)
    return Verdict(check.events, check.first_damaged_seq, problems, anchor)

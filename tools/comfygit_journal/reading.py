"""Reading a journal as far as it can be read: past what is damaged, which is remembered and reported in the end."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from journal.codec import Recorded
from journal.errors import JournalDamaged, JournalError, JournalTooNew
from journal.rows import RawRow, recorded
from journal.store import Journal

Row: TypeAlias = tuple[Any, ...]
"""The columns of one event, in their order, texts as text. A damaged one may hold anything."""

SKIPS_MAX: Final = 100
"""Unreadable events that are stepped over before the rest is given up: a bad page holds a few dozen."""
_ALL: Final = (1 << 63) - 1
_WINDOW: Final = 512
_WINDOW_MAX: Final = 1 << 16


class Reader:
    """Reads one journal. `damage` is the first thing that was in the way, None as long as there was none."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.damage: JournalError | None = None

    def rows(self, after: int = 0, until: int | None = None) -> Iterator[Row]:
        """What is stored above `after`, up to `until`, ascending; what lies in a bad part of the file is left out."""
        for _ in range(SKIPS_MAX):
            try:
                for row in self.journal.read_raw(after, until=until):
                    after = row.seq
                    yield _as_text(row)
            except JournalDamaged as exc:
                self._note(exc)
                if exc.seq is None:
                    return
                after = exc.seq
            else:
                return

    def newest(self, count: int, wanted: Callable[[Row], bool], until: int | None = None) -> list[Row]:
        """The last `count` of the rows that are `wanted`, ascending. Reads backwards, only as far as it has to."""
        found: list[Row] = []
        high, size = self.head() if until is None else until, _WINDOW
        while high > 0 and len(found) < count:
            low = max(0, high - size)
            found = [*filter(wanted, self.rows(low, high)), *found]
            high, size = low, min(size * 2, _WINDOW_MAX)
        return found[-count:]

    def head(self) -> int:
        """The seq of the last event; of the last one that can be found, where the file's end cannot be read."""
        try:
            return self.journal.head()[0]
        except JournalDamaged as exc:
            self._note(exc)
            return max((row[0] for row in self.rows()), default=0)

    def newest_of(self, names: Sequence[str], count: int | None = None) -> list[Recorded]:
        """The last `count` (None: all) events with these stored names, ascending."""
        try:
            return self.journal.newest(_ALL if count is None else count, types=names)
        except (JournalDamaged, JournalTooNew):  # one by one, then
            found = [record for record in self.events() if record.event.stored_name in names]
            return found if count is None else found[-count:]

    def events(self, after: int = 0, until: int | None = None) -> Iterator[Recorded]:
        """As `rows`, decoded; events that cannot be are left out."""
        for row in self.rows(after, until):
            try:
                yield recorded(row)
            except (JournalDamaged, JournalTooNew) as exc:
                self._note(exc)

    def row(self, seq: int) -> Row | None:
        """The event with that seq; None when there is none, or it cannot be read."""
        return next(self.rows(seq - 1, seq), None)

    def _note(self, error: JournalError) -> None:
        self.damage = self.damage or error


def _as_text(row: RawRow) -> Row:
    *columns, digest = row
    return (*(str(c, "utf-8", "replace") if isinstance(c, bytes) else c for c in columns), digest)

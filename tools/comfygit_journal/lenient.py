"""A journal that opens although its newest part cannot be read."""

from journal.errors import JournalDamaged
from journal.head import Anchor
from journal.store import Journal


class LenientJournal(Journal):
    """As `Journal`, for reading: what is damaged is met where it lies, not at the opening."""

    def anchor(self) -> Anchor:
        """As `Journal.anchor`; `missing` where the last event, to which the head file would be compared, is unreadable."""
        try:
            return super().anchor()
        except JournalDamaged:
            return Anchor.MISSING

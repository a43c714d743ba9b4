"""Facts, and how they are kept: an append-only journal in SQLite."""

from journal.chain import Verdict, verify
from journal.codec import Actor, Draft, Recorded, decode, encode, own_actor
from journal.errors import (
    JournalBusy,
    JournalConflict,
    JournalDamaged,
    JournalError,
    JournalForbidden,
    JournalMissing,
    JournalOnNetwork,
    JournalReadOnly,
    JournalStarved,
    JournalTooNew,
    JournalWriteFailed,
)
from journal.head import Anchor, head_path
from journal.masking import mask
from journal.store import Journal

__all__ = [
    "Actor",
    "Anchor",
    "Draft",
    "Journal",
    "JournalBusy",
    "JournalConflict",
    "JournalDamaged",
    "JournalError",
    "JournalForbidden",
    "JournalMissing",
    "JournalOnNetwork",
    "JournalReadOnly",
    "JournalStarved",
    "JournalTooNew",
    "JournalWriteFailed",
    "Recorded",
    "Verdict",
    "decode",
    "encode",
    "head_path",
    "mask",
    "own_actor",
    "verify",
]

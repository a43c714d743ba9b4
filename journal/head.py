"""The head file: seq and hash of the last event, 48 bytes beside the journal.

Written after every COMMIT and closed, so it is a doorbell for inotify. It is also an anchor: when the journal's tail is
lost, neither SQLite nor the hash chain can know, but the head file stands ahead of the journal.
"""

import os
import struct
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

import attrs

_LAYOUT: Final = struct.Struct(">8sQ32s")
_MAGIC: Final = b"CGJHEAD1"
_READS: Final = 5


class Anchor(StrEnum):
    """How the head file stands to the journal.

    `behind`: a writer died between its COMMIT and the file; the next one repairs it, as it does a `missing` one.
    """

    OK = "ok"
    BEHIND = "behind"
    AHEAD = "ahead"
    DIFFERS = "differs"
    MISSING = "missing"

    @property
    def is_alarming(self) -> bool:
        """Whether events must have been lost or exchanged."""
        return self in {Anchor.AHEAD, Anchor.DIFFERS}


@attrs.frozen
class Head:
    """The last event: its seq (0: none yet) and its hash."""

    seq: int
    hash: bytes


def head_path(journal: Path) -> Path:
    """Where the head file of this journal is."""
    return journal.with_suffix(".head")


def lost_path(journal: Path) -> Path:
    """Where a head file is kept that stood ahead of its journal when the next event was written."""
    return journal.with_suffix(".head.lost")


def write(path: Path, head: Head) -> None:
    """Replace the content in place, mode 0600. The caller holds the write lock. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        os.write(descriptor, _LAYOUT.pack(_MAGIC, head.seq, head.hash))
        if os.fstat(descriptor).st_size != _LAYOUT.size:
            os.ftruncate(descriptor, _LAYOUT.size)
    finally:
        os.close(descriptor)


def read(path: Path) -> Head | None:
    """What the file says; None when there is none, or it is not one of ours. Never raises."""
    found = _bytes(path)
    for _ in range(_READS):  # a read may meet a write half done: believe what two reads agree on
        again = _bytes(path)
        if again == found:
            break
        found = again
    if len(found) != _LAYOUT.size:
        return None
    magic, seq, digest = _LAYOUT.unpack(found)
    return Head(seq, digest) if magic == _MAGIC else None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def compare(file: Head | None, journal: Head, hash_at: Callable[[int], bytes | None]) -> Anchor:
    """How a head file, read BEFORE the journal, stands to it. `hash_at` gives the journal's hash of a seq."""
    if file is None:
        return Anchor.MISSING
    if file.seq > journal.seq:
        return Anchor.AHEAD
    if file.seq and hash_at(file.seq) != file.hash:
        return Anchor.DIFFERS
    return Anchor.OK if file.seq == journal.seq else Anchor.BEHIND


def keep_lost(journal: Path) -> None:
    """Keep what the head file says, before the next event overwrites it: the first time is the one that counts."""
    found, target = read(head_path(journal)), lost_path(journal)
    if found is not None and not target.exists():
        write(target, found)


def problem(journal: Path, anchor: Anchor) -> str:
    """What is wrong by `anchor`, or was when events were lost earlier; "" when nothing is."""
    lost = read(lost_path(journal))
    if anchor is Anchor.AHEAD:
        return f"the journal's tail is lost: {head_path(journal).name} knows of later events"
    if anchor is Anchor.DIFFERS:
        return f"the journal's tail was exchanged: {head_path(journal).name} knows another event in its place"
    if lost is not None:
        return f"the journal's tail was lost once, up to seq {lost.seq}, as {lost_path(journal).name} tells"
    return ""

"""The cap on what one start prints: its first MiB stays, its newest part stays, of what is between the room is given back.

The output goes to a file by itself, so that it outlives us; only while an orchestrator looks now and then is it capped.
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

from orchestrator.logs.holes import allocated_bytes, next_data, punch

_LOG = logging.getLogger(__name__)

_MIB: Final = 1024 * 1024
CAP_BYTES: Final = 64 * _MIB
"""A log that takes more room is cut. A line a second makes some 8 MiB a day: this is a week of that, or a flood."""
FIRST_BYTES: Final = 1 * _MIB
"""Kept for ever: the start, with versions, devices and what could not be imported."""
NEWEST_BYTES: Final = 16 * _MIB
"""Kept at least when it is cut, far more than anybody reads backwards. Also what is copied where no hole can be made."""
FLOOD_BYTES: Final = 4 * _MIB
"""More than that between two looks is a flood: the looks come faster until it is over."""
NOTE: Final = b"\n[the middle of this output was removed, because it was large; after zeros follows the newest part]\n"
"""What stands between the two."""
_NOTE_BYTES: Final = 4096
_BLOCK_BYTES: Final = 64 * 1024


class OutputCap:
    """Keeps the logs of an orchestrator's children under the cap."""

    def __init__(self) -> None:
        self._seen: frozenset[Path] = frozenset()
        self._sizes: dict[Path, int] = {}

    def expect(self, logs: Iterable[Path]) -> None:
        """Look at these too next time: whoever writes to them may be gone by then."""
        self._seen |= frozenset(logs)

    def look(self, logs: Iterable[Path]) -> bool:
        """Cut those that are too large: of `logs`, which are written to, and, once more, of those of the last look.

        Whether the next look should come soon, because one of them has grown by FLOOD_BYTES.
        """
        written_to = frozenset(logs)
        for log in sorted(written_to | self._seen):
            if cut_when_large(log):
                _LOG.warning("removed the middle of %s: it had more than %d MiB", log, CAP_BYTES // _MIB)
        before, self._sizes = self._sizes, {log: _size_bytes(log) for log in written_to}
        self._seen = written_to
        return any(size - before.get(log, 0) >= FLOOD_BYTES for log, size in self._sizes.items())


def _size_bytes(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def cut_when_large(log: Path, *, may_punch: bool = True) -> bool:
    """Cut the log if it takes more room than CAP_BYTES; whether it was. One that is missing or cannot be written is not.

    Where no hole can be made (or without `may_punch`) the newest part is copied forward: what is appended in the very
    moment can be lost.
    """
    try:
        if allocated_bytes(log.stat()) <= CAP_BYTES:
            return False
        with log.open("rb+", buffering=0) as file:
            return _cut(file, log, may_punch=may_punch)
    except OSError as error:
        _LOG.debug("cutting %s: %s", log, error)
        return False


def was_cut(log: Path) -> bool:
    """Whether its middle is gone."""
    try:
        with log.open("rb", buffering=0) as file:
            file.seek(FIRST_BYTES)
            return file.read(len(NOTE)) == NOTE
    except OSError:
        return False


def _cut(file: IO[bytes], log: Path, *, may_punch: bool) -> bool:
    """The note first: should we die in between, the next look does the rest."""
    begin = FIRST_BYTES + _NOTE_BYTES
    end = (file.seek(0, os.SEEK_END) - NEWEST_BYTES) // _MIB * _MIB
    if end <= begin or next_data(file.fileno(), begin) >= end:
        return False  # the room is taken by what a file system has put by for more
    file.seek(FIRST_BYTES)
    file.write(NOTE.ljust(_NOTE_BYTES, b"\0"))
    if not (may_punch and punch(file.fileno(), begin, end)):
        _copy_forward(file, log, end)
    return True


def _copy_forward(file: IO[bytes], log: Path, begin: int) -> None:
    """The bytes from `begin` on right behind the note. By appending, as others do: nobody overwrites anybody."""
    file.seek(begin)
    newest = bytearray(NOTE)
    while block := file.read(_BLOCK_BYTES):
        newest += block
    file.truncate(FIRST_BYTES)
    with log.open("ab", buffering=0) as end:
        rest = memoryview(newest)
        while rest:
            rest = rest[end.write(rest) :]

"""Hashes of files, remembered for as long as nothing about the file has changed.

What is remembered is believed when path, device, inode, size and both times agree. A file that was written less than
`YOUNG_NS` before it was hashed is not remembered: a second write in the same tick of the clock would not be noticed.
"""

import hashlib
import os
import stat
from collections.abc import Iterable
from typing import Final

import attrs

from journal.clock import S, read
from orchestrator.environments.regular_files import READING

YOUNG_NS: Final = 2 * S
MOST: Final = 50_000
"""Files that are remembered, at most some 25 MB; then the longest known are forgotten."""
_CHUNK_BYTES = 1 << 20

Identity = tuple[int, int, int, int, int]
"""Device, inode, mtime_ns, size, ctime_ns."""


@attrs.define
class FileHashes:
    """What one process knows. `changed` says that it knows more than when it was last set to False."""

    changed: bool = False
    _known: dict[str, tuple[Identity, str]] = attrs.field(factory=dict)

    def of(self, path: str, found: os.stat_result | None = None) -> str:
        """The SHA-256 of a file's bytes; "" for what is no file. `found`: its status, where it is known. Raises OSError."""
        status = os.stat(path) if found is None else found  # noqa: PTH116 -- a thousand paths an environment
        known = self._known.get(path)
        if known is not None and known[0] == identity_of(status):
            return known[1]
        if not stat.S_ISREG(status.st_mode):
            return ""
        return self._read(path)

    def items(self) -> list[tuple[str, Identity, str]]:
        """All that is known: path, identity, hash."""
        return [(path, identity, digest) for path, (identity, digest) in self._known.items()]

    def learn(self, items: Iterable[tuple[str, Identity, str]]) -> None:
        """Take over what another process knew, where nothing is known here."""
        for path, identity, digest in items:
            self._known.setdefault(path, (identity, digest))
        self._forget_most()

    def _read(self, path: str) -> str:
        descriptor = os.open(path, READING)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return ""
            made = hashlib.sha256()
            while chunk := os.read(descriptor, min(before.st_size + 1, _CHUNK_BYTES)):
                made.update(chunk)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        digest, identity = made.hexdigest(), identity_of(after)
        if identity == identity_of(before) and not is_young(after):
            self._known[path] = identity, digest
            self.changed = True
            self._forget_most()
        return digest

    def _forget_most(self) -> None:
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]


def identity_of(status: os.stat_result) -> Identity:
    """What is the same for as long as nothing has changed."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns


def is_young(status: os.stat_result) -> bool:
    """Whether a second change could go unnoticed.

    Also when it was written in the future: on a file server, or before the clock was set back.
    """
    return read().wall_ns - max(status.st_mtime_ns, status.st_ctime_ns) < YOUNG_NS


SHARED: Final = FileHashes()
"""That of this process."""

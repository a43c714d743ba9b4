"""Files read whole, of a size that was asked for: never a pipe or a device, whose reading may not end."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

READING: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags to open a file with that may be anything else: without waiting for another end of it."""
_CHUNK_BYTES: Final = 1 << 20


def read_regular(path: str | Path, most_bytes: int, *, follow: bool = True) -> bytes:
    """All bytes of a file. Raises OSError, also for one that is larger, for what is no file, and without `follow` for a link."""
    descriptor = os.open(path, READING if follow else READING | getattr(os, "O_NOFOLLOW", 0))
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        chunks, left = [], most_bytes
        while left >= 0 and (chunk := os.read(descriptor, min(found.st_size + 1, _CHUNK_BYTES))):
            chunks.append(chunk)
            left -= len(chunk)
    finally:
        os.close(descriptor)
    if left < 0:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes} bytes", str(path))
    return b"".join(chunks)

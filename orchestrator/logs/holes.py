"""Files with holes: made, and read without what is not there. A hole takes no room and reads as zeros."""

import errno
import os
import sys
from typing import Final

_KEEP_SIZE: Final = 0x01
_PUNCH_HOLE: Final = 0x02


def allocated_bytes(status: os.stat_result) -> int:
    """The room that a file takes, holes not counted; its size where the system does not say."""
    blocks: int | None = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else blocks * 512  # always 512, whatever the file system's blocks are


def next_data(descriptor: int, offset: int) -> int:
    """Where the first data at or after `offset` begins, to the file system's block; the file's size when there is none."""
    if sys.platform == "win32":
        return offset
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return os.fstat(descriptor).st_size
        return offset  # a file system that does not know its holes


def read_data(descriptor: int, offset: int, most_bytes: int) -> tuple[bytes, int]:
    """Up to `most_bytes` of the first data at or after `offset`, not beyond the next hole, and the offset after them.

    b"" at the end. Moves the descriptor's own position.
    """
    begin = next_data(descriptor, offset)
    end = _next_hole(descriptor, begin)
    os.lseek(descriptor, begin, os.SEEK_SET)
    found = os.read(descriptor, min(most_bytes, end - begin))
    return found, begin + len(found)


def punch(descriptor: int, begin: int, end: int) -> bool:
    """Give back the room of the bytes from `begin` to `end`: they read as zeros, the size stays. False where that cannot be.

    Whoever appends or reads goes on undisturbed.
    """
    if sys.platform != "linux":
        return False
    import ctypes  # late: few logs ever need it

    c_library = ctypes.CDLL(None, use_errno=True)
    fallocate = getattr(c_library, "fallocate64", None) or c_library.fallocate  # musl has one, and it is 64 bits wide
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return bool(fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, begin, end - begin) == 0)


def _next_hole(descriptor: int, offset: int) -> int:
    """Where the data at `offset` ends: at the latest at the end of the file."""
    size = os.fstat(descriptor).st_size
    if sys.platform == "win32" or offset >= size:
        return max(size, offset)
    try:
        return os.lseek(descriptor, offset, os.SEEK_HOLE)
    except OSError:
        return size

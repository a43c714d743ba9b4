"""The file that a child's output goes to, and whose lock says that the child, or an heir of its output, still lives.

A flock belongs to the open file, not to a process. The child gets the open file as its stdout, we close our copy: the
lock lasts as long as anybody has that output open, from before the exec on. That shows a child which is not marked yet.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator.processes.errors import SpawnFailed

_CANNOT_LOCK = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


@contextlib.contextmanager
def open_locked(path: Path) -> Iterator[int]:
    """A descriptor that appends to `path`, made with its folders if need be (mode 0600), and locked.

    Raises SpawnFailed when it cannot be opened, or when somebody's output still goes there. A file system without locks
    gets none.
    """
    descriptor = open_appending(path)
    try:
        if not _lock(descriptor):
            message = f"locking the log {str(path)!r}: another process writes to it"
            raise SpawnFailed(message, "the process it belongs to may still run: look for it before a new start")
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether somebody's output goes to `path` now. False for a missing file, and where there are no locks."""
    try:
        descriptor = os.open(path, os.O_RDWR)  # where flock is emulated, an exclusive lock needs the right to write
    except OSError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def open_appending(path: Path) -> int:
    """A descriptor that appends to `path`, made with its folders if need be (mode 0600). The caller closes it.

    Raises SpawnFailed when it cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        message = f"opening the log {str(path)!r}: {error}"
        raise SpawnFailed(message, "check that there is space and that its folder may be written to") from error


def _lock(descriptor: int) -> bool:
    """Take the lock; False when another holds it, True also where there are no locks."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise
    return True

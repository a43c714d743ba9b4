"""The lock that every writer of a journal takes: a kernel lock on a file beside it, gone with its holder's death."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from journal.connection import translating
from journal.errors import JournalBusy

WAIT_S: Final = 10.0
"""How long a writer waits for the others. A write takes milliseconds: by then the holder is stopped or hangs."""


class WriteLock:
    """Exclusive between all processes and all objects of this class; reentrant within one. Not for several threads."""

    def __init__(self, path: Path, wait_s: float = WAIT_S) -> None:
        """`path` is created, mode 0600, when it is first taken."""
        self._path = path
        self._wait_s = wait_s
        self._depth = 0

    @contextmanager
    def held(self, wait_s: float | None = None) -> Iterator[None]:
        """Hold it in this block. Raises JournalBusy after `wait_s`, naming the holder where the system tells.

        `wait_s`: for this time, where it is less than the lock's own.
        """
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        with _kernel_lock(self._path, self._wait_s if wait_s is None else min(wait_s, self._wait_s)):
            self._depth = 1
            try:
                yield
            finally:
                self._depth = 0


@contextmanager
def polled_lock(path: Path, wait_s: float) -> Iterator[None]:
    """The lock where there is no `flock`: by the filelock package, which polls."""
    import filelock

    lock = filelock.FileLock(path, timeout=wait_s, mode=0o600)
    with translating(path):
        try:
            lock.acquire(poll_interval=0.005)
        except filelock.Timeout as exc:
            raise _busy(path, wait_s) from exc
    try:
        yield
    finally:
        lock.release()


if sys.platform == "win32":
    _kernel_lock = polled_lock
else:
    import fcntl

    @contextmanager
    def _kernel_lock(path: Path, wait_s: float) -> Iterator[None]:
        with translating(path):
            descriptor = _lock(path, wait_s)
        try:
            yield
        finally:
            os.close(descriptor)

    def _lock(path: Path, wait_s: float) -> int:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not _Waiter(descriptor).wait(wait_s):
                    raise _busy(path, wait_s) from None
            except BaseException:
                os.close(descriptor)
                raise
            if _is_still(descriptor, path):
                return descriptor
            os.close(descriptor)  # somebody removed the file: others will lock its successor

    def _is_still(descriptor: int, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), path.stat())
        except FileNotFoundError:
            return False

    class _Waiter:
        """Waits in `flock` on a thread of its own: polling is slow (worst 656 ms), an alarm is the main thread's."""

        def __init__(self, descriptor: int) -> None:
            self._descriptor = descriptor
            self._mutex = threading.Lock()
            self._locked = threading.Event()
            self._abandoned = False
            threading.Thread(target=self._run, name="journal write lock", daemon=True).start()

        def _run(self) -> None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            with self._mutex:
                if self._abandoned:
                    os.close(self._descriptor)
                self._locked.set()

        def wait(self, wait_s: float) -> bool:
            """Whether the lock was had in time. If not, the descriptor is the thread's to close."""
            try:
                self._locked.wait(wait_s)
            except BaseException:
                if self._is_ours():
                    os.close(self._descriptor)
                raise
            return self._is_ours()

        def _is_ours(self) -> bool:
            with self._mutex:
                self._abandoned = not self._locked.is_set()
                return not self._abandoned


def _busy(path: Path, wait_s: float) -> JournalBusy:
    return JournalBusy(path, holder_pid(path), f"has held the write lock for more than {wait_s:g} s")


def holder_pid(path: Path) -> int | None:
    """The process that holds the kernel lock on this file; None where the system does not tell."""
    try:
        status = path.stat()
        lines = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return None
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in lines:
        _, kind, _, _, pid, locked, *_ = line.split()
        if kind == "FLOCK" and locked == file:  # one who waits has "->" in place of the kind
            return int(pid) if int(pid) > 0 else None
    return None

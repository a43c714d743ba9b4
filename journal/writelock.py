"""The lock that every writer of a journal takes: a kernel lock on a file beside it, gone with its holder's death."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from journal.connection import busy, translating
from journal.errors import JournalBusy
from journal.holder import holder_of

WAIT_S: Final = 10.0
"""How long a writer waits for the others. A write takes milliseconds: by then the holder is stopped or hangs."""


class WriteLock:
    """Exclusive between all processes and all objects of this class; reentrant within one. Not for several threads."""

    def __init__(self, path: Path, wait_s: float = WAIT_S) -> None:
        """`path` is created, mode 0600, when it is first taken."""
        self._path = path
        self._wait_s = wait_s
        self._depth = 0
        self._kernel_lock = _KernelLock(path)

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
        with self._kernel_lock.held(self._wait_s if wait_s is None else min(wait_s, self._wait_s)):
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

    class _KernelLock:
        def __init__(self, path: Path) -> None:
            self._path = path

        def held(self, wait_s: float) -> AbstractContextManager[None]:
            return polled_lock(self._path, wait_s)
else:
    import fcntl

    class _KernelLock:
        def __init__(self, path: Path) -> None:
            self._path = path
            self._waiter: _Waiter | None = None

        @contextmanager
        def held(self, wait_s: float) -> Iterator[None]:
            with translating(self._path):
                descriptor = self._lock(wait_s)
            try:
                yield
            finally:
                os.close(descriptor)

        def _lock(self, wait_s: float) -> int:
            while True:
                descriptor = self._resumed(wait_s)
                if descriptor is None:
                    descriptor = self._opened(wait_s)
                if _is_still(descriptor, self._path):
                    return descriptor
                os.close(descriptor)  # somebody removed the file: others will lock its successor

        def _opened(self, wait_s: float) -> int:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._waiter = _Waiter(descriptor)
                self._wait(self._waiter, wait_s)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor

        def _resumed(self, wait_s: float) -> int | None:
            """By the thread that an earlier try has left waiting: a holder that is stopped for hours costs one, not one a try."""
            waiter = self._waiter
            if waiter is None or not _is_still(waiter.descriptor, self._path) or not waiter.resume():
                return None
            self._wait(waiter, wait_s)
            return waiter.descriptor

        def _wait(self, waiter: "_Waiter", wait_s: float) -> None:
            if not waiter.wait(wait_s):
                raise _busy(self._path, wait_s)
            self._waiter = None

    def _is_still(descriptor: int, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), path.stat())
        except OSError:
            return False

    class _Waiter:
        """Waits in `flock` on a thread of its own: polling is slow (worst 656 ms), an alarm is the main thread's."""

        def __init__(self, descriptor: int) -> None:
            self.descriptor = descriptor
            self._mutex = threading.Lock()
            self._locked = threading.Event()
            self._abandoned = False
            threading.Thread(target=self._run, name="journal write lock", daemon=True).start()

        def _run(self) -> None:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            with self._mutex:
                if self._abandoned:
                    os.close(self.descriptor)
                self._locked.set()

        def wait(self, wait_s: float) -> bool:
            """Whether the lock was had in time. If not, the descriptor is the thread's to close."""
            try:
                self._locked.wait(wait_s)
            except BaseException:
                if self._is_ours():
                    os.close(self.descriptor)
                raise
            return self._is_ours()

        def resume(self) -> bool:
            """Take the descriptor back, if the thread still waits."""
            with self._mutex:
                self._abandoned = self._locked.is_set()
                return not self._abandoned

        def _is_ours(self) -> bool:
            with self._mutex:
                self._abandoned = not self._locked.is_set()
                return not self._abandoned


def _busy(path: Path, wait_s: float) -> JournalBusy:
    return busy(path, holder_of(path), f"has held the write lock for more than {wait_s:g} s")

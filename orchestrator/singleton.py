"""At most one orchestrator per workspace: a kernel lock, which ends with its holder, however that ends."""

import os
import stat
import sys
from pathlib import Path
from typing import Final, Self

from filelock import FileLock, Timeout

from orchestrator.errors import OrchestratorError
from orchestrator.occupancy import SINGLETON

__all__ = ["SINGLETON", "AlreadyRunning", "Singleton"]

_TRIES: Final = 3
_PAUSE_S: Final = 0.02
"""A command that only asks whether the lock is held has it for microseconds."""

_PID_FILE: Final = ".orchestrator.pid"
_PORT_FILE: Final = ".control_port"
_LARGEST_PID: Final = 2**31 - 1
_LARGEST_PORT: Final = 65_535
_NUMBER_BYTES: Final = 16


class AlreadyRunning(OrchestratorError):  # noqa: N818 - the fact
    """Another orchestrator holds this workspace; nothing was changed."""


class Singleton:
    """The lock, held. It is not inherited by the programs we start; losing the object does not lose the lock."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Take the lock on `path`, almost at once or not at all. The file is made if need be (mode 0600), and stays.

        Raises AlreadyRunning, and then has changed no file: not even the lock file's mtime. Raises OrchestratorError
        when the file cannot be opened or its file system has no locks.
        """
        lock = FileLock(path, mode=0o600, thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire(timeout=_TRIES * _PAUSE_S, poll_interval=_PAUSE_S)
        except Timeout as error:
            message = f"locking {str(path)!r}: another orchestrator of this workspace holds it"
            hint = "it is shown by `comfygit-orchestrator status` and ended by `comfygit-orchestrator stop`"
            raise AlreadyRunning(message, hint) from error
        except (OSError, NotImplementedError) as error:
            message = f"locking {str(path)!r}: {error}"
            hint = "the workspace has to be on a local file system that may be written to"
            raise OrchestratorError(message, hint) from error
        return cls(lock)

    def release(self) -> None:
        """Give it up. Twice is harmless."""
        self._lock.release(force=True)


def holder_in_words(metadata: Path) -> str:
    """Who holds the workspace of that `.metadata`, and where its control server answers, by the files that say so.

    For a message, in milliseconds and without the journal. Anybody can write those files: only numbers are believed, and
    on Linux only the pid of something that runs. Changes nothing, waits for nothing, raises nothing.
    """
    pid, port = _number(metadata / _PID_FILE, _LARGEST_PID), _number(metadata / _PORT_FILE, _LARGEST_PORT)
    if pid is None or (sys.platform == "linux" and not Path(f"/proc/{pid}").exists()):
        return "an orchestrator that has only just started, or is about to end"
    return f"orchestrator pid {pid}, " + ("no control server" if port is None else f"http://127.0.0.1:{port}")


def _number(path: Path, largest: int) -> int | None:
    """The decimal number from 1 to `largest` that is all there is in a regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        text = os.read(descriptor, _NUMBER_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    number = int(text) if text.strip().isdigit() else 0
    return number if 0 < number <= largest else None

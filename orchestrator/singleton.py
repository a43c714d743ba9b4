"""At most one orchestrator per workspace: a kernel lock, which ends with its holder, however that ends."""

from pathlib import Path
from typing import Final, Self

from filelock import FileLock, Timeout

from orchestrator.errors import OrchestratorError
from orchestrator.occupancy import IS_ENDED_BY, SINGLETON

__all__ = ["SINGLETON", "AlreadyRunning", "Singleton"]

_TRIES: Final = 3
_PAUSE_S: Final = 0.02
"""A command that only asks whether the lock is held has it for microseconds."""


class AlreadyRunning(OrchestratorError):  # noqa: N818 - the fact
    """Another orchestrator holds this workspace; nothing was changed."""


class Singleton:
    """The lock, held. It is not inherited by the programs we start; losing the object does not lose the lock."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self._path = path
        self._lock = lock
        self._file = _file_at(path)

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Take the lock on `path`, almost at once or not at all. The file is made if need be (mode 0600), and stays.

        Raises AlreadyRunning, and then has changed no file: not even the lock file's mtime. Raises OrchestratorError
        when the file cannot be opened or its file system has no locks.
        """
        return cls(path, _locked(path))

    def renew(self) -> bool:
        """Where somebody has deleted the lock's file, make it anew; whether that was so. Twice is harmless.

        Whoever has made one meanwhile lets go of it again, since we live: then, and where none can be made, it is left to
        the next time.
        """
        found = _file_at(self._path)
        if found is not None and found == self._file:
            return False
        try:
            anew = _locked(self._path)
        except OrchestratorError:
            return False
        self.release()
        self._lock, self._file = anew, _file_at(self._path)
        return True

    def release(self) -> None:
        """Give it up. Twice is harmless."""
        self._lock.release(force=True)


def _locked(path: Path) -> FileLock:
    lock = FileLock(path, mode=0o600, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=_TRIES * _PAUSE_S, poll_interval=_PAUSE_S)
    except Timeout as error:
        message = f"locking {str(path)!r}: another orchestrator of this workspace holds it"
        raise AlreadyRunning(message, IS_ENDED_BY) from error
    except (OSError, NotImplementedError) as error:
        message = f"locking {str(path)!r}: {error}"
        hint = "the workspace has to be on a local file system that may be written to"
        raise OrchestratorError(message, hint) from error
    return lock


def _file_at(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino

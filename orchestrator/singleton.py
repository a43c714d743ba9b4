"""At most one orchestrator per workspace: a kernel lock, which ends with its holder, however that ends."""

from pathlib import Path
from typing import Final, Self

from filelock import FileLock, Timeout

from orchestrator.errors import OrchestratorError
from orchestrator.occupancy import SINGLETON

__all__ = ["SINGLETON", "AlreadyRunning", "Singleton"]

_TRIES: Final = 3
_PAUSE_S: Final = 0.02
"""A command that only asks whether the lock is held has it for microseconds."""


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

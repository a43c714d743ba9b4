"""What has to be had before anything is begun: descriptors to look around with, and space for what a start prints.

Without it a look would find nothing where there is something, and a start would fail that only has to wait.
"""

import errno
import logging
import os
import tempfile
from pathlib import Path
from typing import Final

from journal.clock import S, Stamp, elapsed_ns
from journal.errors import JournalError
from orchestrator.errors import OrchestratorError

_LOG = logging.getLogger(__name__)

DESCRIPTORS: Final = 16
"""One step has some eight open at once: a start's log, its pipes and its pidfd, a file that is read."""
LOG_BYTES: Final = 64 * 1024
"""What ComfyUI prints until it serves; a `print` that fails ends it."""
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class NoRoom(OrchestratorError):  # noqa: N818 - the fact
    """Nothing was begun; to be tried again."""


def need_descriptors(count: int = DESCRIPTORS) -> None:
    """Raises NoRoom unless that many files can be opened."""
    descriptors: list[int] = []
    try:
        for _ in range(count):
            descriptors.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 - those before a failure are closed
    except OSError as error:
        message = f"opening {count} files: {error.strerror}"
        hint = "raise the limit of open files (prlimit --nofile, ulimit -n, LimitNOFILE=), or end what has them open"
        raise NoRoom(message, hint) from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def need_space(folder: Path, size_bytes: int = LOG_BYTES) -> None:
    """Raises NoRoom when `folder`, made if need be, cannot take a file of that size. Other troubles are not its business."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            written = 0
            while written < size_bytes:
                written += file.write(bytes(size_bytes - written))
    except OSError as error:
        if error.errno in _NO_SPACE:
            message = f"making room for a log of {size_bytes // 1024} KiB in {folder}: {error.strerror}"
            raise NoRoom(message, "free some disk space, or look at the disk") from error


class Standstill:
    """Since when nothing can be done, and why: said once and not at every try, and said when it is over."""

    def __init__(self) -> None:
        self._since: Stamp | None = None
        self._said = ""

    def note(self, error: JournalError | OrchestratorError, now: Stamp) -> None:
        """It cannot be done now, either."""
        self._since = self._since or now
        if error.message != self._said:
            self._said = error.message
            _LOG.warning("%s; %s; nothing is done until then, it is tried again", error.message, error.hint)

    def end(self, now: Stamp) -> None:
        """It could be done."""
        if self._since is not None:
            _LOG.warning("going on after a standstill of %.1f s", elapsed_ns(self._since, now) / S)
            self._since, self._said = None, ""

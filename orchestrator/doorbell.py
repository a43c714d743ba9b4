"""Rings when somebody touched a file of a folder: inotify on Linux. Elsewhere mute, and a look a second serves."""

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

if sys.platform == "linux":
    import inotify_simple  # type: ignore[import-untyped]

EVERYTHING: Final = "*"
"""In the names taken: the kernel lost count, or the folder went. Look at all of it."""

_NOISE = re.compile(
    r"\..*\.tmp\..*|orchestrator\.log|supervisor-switch\.log|\.orchestrator\.lock"
    r"|journal\.db(?:-wal|-shm)?|journal\.lock|journal-cache\.db.*|fingerprint-cache\.json"  # journal.head speaks for the journal
)


def is_noise(name: str) -> bool:
    """Whether a file of `.metadata` changes without meaning: temporary files, logs, kernel locks, caches, SQLite's files."""
    return _NOISE.fullmatch(name) is not None


class Doorbell:
    """Watches the files of one folder, not those in its sub-folders, and calls `wake` in the loop's thread.

    One call may stand for many changes; `take` has the names. A file counts as touched when it was closed after
    writing, renamed from or to, or deleted: never half written. Names that `ignored` accepts wake nobody.
    """

    def __init__(self, folder: Path, wake: Callable[[], None], ignored: Callable[[str], bool] = is_noise) -> None:
        self._folder = folder
        self._wake = wake
        self._ignored = ignored
        self._names: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inotify: inotify_simple.INotify | None = None

    @property
    def is_watching(self) -> bool:
        """Whether it will ring."""
        return self._inotify is not None

    def start(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Begin to watch, if not yet; whether it watches now. False where it cannot: no inotify, folder or watch left.

        What happened before is not rung for: look once after the start. To be called again when the folder is back.
        """
        if sys.platform != "linux" or self._inotify is not None:
            return self.is_watching
        try:
            inotify = inotify_simple.INotify(nonblocking=True)
        except OSError:
            return False
        try:
            inotify.add_watch(self._folder, _mask())
        except OSError:
            inotify.close()
            return False
        self._inotify, self._loop = inotify, loop
        loop.add_reader(inotify.fileno(), self._ring)
        return True

    def stop(self) -> None:
        """Watch no longer. What was collected can still be taken."""
        inotify, self._inotify = self._inotify, None
        if inotify is not None and self._loop is not None:
            self._loop.remove_reader(inotify.fileno())
            inotify.close()

    def take(self) -> frozenset[str]:
        """The names touched since the last call, EVERYTHING among them when names were lost."""
        names, self._names = frozenset(self._names), set()
        return names

    def _ring(self) -> None:
        if sys.platform != "linux" or self._inotify is None:
            return
        flags = inotify_simple.flags
        gone = flags.IGNORED | flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT
        touched: set[str] = set()
        for event in self._inotify.read(timeout=0):
            if event.mask & (gone | flags.Q_OVERFLOW):
                touched.add(EVERYTHING)
            elif event.name and not self._ignored(event.name):
                touched.add(event.name)
            if event.mask & gone:
                self.stop()
        if touched:
            self._names |= touched
            self._wake()


def _mask() -> int:
    flags = inotify_simple.flags
    touched = flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE
    mask: int = touched | flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR
    return mask

"""Waiting for the next event without asking all the time."""

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inotify_simple import INotify  # type: ignore[import-untyped]


class Doorbell:
    """Rings when the head file was written.

    Where that cannot be watched, and when a writer died before it wrote the file, only the time-out helps.
    """

    def __init__(self, head: Path) -> None:
        self._head = head
        self._inotify: INotify | None = None
        self._attach()

    def wait(self, timeout_s: float) -> None:
        """Return when it has rung since the last call, at the latest after `timeout_s`. It may ring for nothing."""
        if self._inotify is None:
            self._attach()
            if self._inotify is None:
                threading.Event().wait(timeout_s)
            return  # something may have been written before it was watched
        from inotify_simple import flags

        gone = flags.IGNORED | flags.MOVE_SELF | flags.DELETE_SELF
        if any(event.mask & gone for event in self._inotify.read(timeout=round(timeout_s * 1000))):
            self.close()  # another file may have taken its place

    def close(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _attach(self) -> None:
        if sys.platform != "linux":
            return
        from inotify_simple import INotify, flags

        try:
            inotify = INotify()
        except OSError:  # the user's limit of instances
            return
        try:
            inotify.add_watch(self._head, flags.CLOSE_WRITE | flags.MOVE_SELF | flags.DELETE_SELF)
        except OSError:  # no such file yet, or no watches left
            inotify.close()
            return
        self._inotify = inotify

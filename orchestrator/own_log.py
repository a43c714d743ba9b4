"""What the orchestrator says of itself: to its log file, and in a terminal to stderr, which must never hold it up."""

import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from orchestrator.guarded_start import leave_signals_to_the_main_thread
from orchestrator.processes.output_file import open_appending

FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"
WAITING_MAX: Final = 1_000
"""Lines that wait for a terminal that takes none (Ctrl-S, a pager, a full pipe). Further ones are in the file alone."""
LAST_WORDS_S: Final = 0.5
"""How long the end waits for the terminal to take what is left."""


class UnhurriedHandler(logging.Handler):
    """Writes to a descriptor from a thread of its own: a write that blocks holds up nobody but that thread.

    The library's QueueListener would be waited for at the end without a limit, and a stream's lock is held by a blocked write.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` stays the caller's to close."""
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes] = queue.Queue(WAITING_MAX)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have it written; dropped while too much waits, which is said with the next one that is not."""
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)
            return
        missing = f"({self._dropped} lines are in the log file alone)\n" if self._dropped else ""
        try:
            self._lines.put_nowait(f"{missing}{text}\n".encode(errors="backslashreplace"))
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what is left, if the terminal takes it."""
        try:
            self._lines.put_nowait(b"")
        except queue.Full:
            pass
        else:
            self._thread.join(LAST_WORDS_S)
        super().close()

    def _write(self) -> None:
        leave_signals_to_the_main_thread()
        while line := self._lines.get():
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                return  # nobody reads any more


def _stderr() -> int | None:
    """None where somebody has put something else in its place."""
    try:
        return sys.stderr.fileno()
    except (OSError, AttributeError):
        return None


@contextmanager
def own_log(file: Path | None, terminal: int | None = None) -> Iterator[None]:
    """Log to `file` (mode 0600) and to `terminal`, a descriptor, stderr unless given; without `file` stderr is that file."""
    handlers: list[logging.Handler] = []
    if file is None:
        handlers.append(logging.StreamHandler(sys.stderr))
    else:
        os.close(open_appending(file))
        handlers.append(logging.FileHandler(file, encoding="utf-8", errors="backslashreplace"))
        terminal = _stderr() if terminal is None else terminal
        handlers.append(logging.StreamHandler(sys.stderr) if terminal is None else UnhurriedHandler(terminal))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT))
        root.addHandler(handler)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()

"""ComfyUI's output on our own stdout, for `run` in a terminal.

In a thread of its own: whoever reads us may stop reading (a pager, Ctrl-S), and a blocked write must not hold up the loop.
"""

import os
import sys
import threading
from pathlib import Path

from orchestrator.guarded_start import leave_signals_to_the_main_thread
from orchestrator.ledger import Ledger
from orchestrator.logs.holes import read_data

POLL_S = 0.2
"""How often the output file is looked at: only in the foreground, where somebody is reading."""
CHUNK_BYTES = 64 * 1024


class OutputFollower:
    """Copies what the present main process prints, byte for byte; of one that ran already, from now on."""

    def __init__(self, ledger: Ledger, descriptor: int | None = None) -> None:
        """Reads the state of `ledger` to know which file it is. `descriptor` is stdout unless given."""
        self._ledger = ledger
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        self._path = self._present()
        self._offset = _size(self._path)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="output", daemon=True)

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def stop(self) -> None:
        """Copy what is left and end; one that is blocked in a write is left behind."""
        self._stop.set()
        self._thread.join(POLL_S * 2)

    def _follow(self) -> None:
        leave_signals_to_the_main_thread()
        try:
            while not self._stop.wait(POLL_S):
                self._copy()
            self._copy()
        except OSError:
            return  # nobody reads any more

    def _copy(self) -> None:
        path = self._present()
        if path is not None and path != self._path:
            self._drain()
            self._path, self._offset = path, 0
        self._drain()

    def _drain(self) -> None:
        if self._path is None:
            return
        try:
            file = self._path.open("rb", buffering=0)
        except OSError:
            return  # it is not there yet, or not any more
        with file:
            self._offset = min(self._offset, _size(self._path))
            while True:
                chunk, self._offset = read_data(file.fileno(), self._offset, CHUNK_BYTES)
                if not chunk:
                    return
                while chunk:
                    chunk = chunk[os.write(self._descriptor, chunk) :]

    def _present(self) -> Path | None:
        main = self._ledger.state.main_process
        return None if main is None else self._ledger.workspace.log_path(main.environment, main.spawn)


def _size(path: Path | None) -> int:
    try:
        return 0 if path is None else path.stat().st_size
    except OSError:
        return 0

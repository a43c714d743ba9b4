"""ComfyUI's output on our own stdout, for `run` in a terminal."""

import asyncio
import sys
from pathlib import Path

from orchestrator.ledger import Ledger

POLL_S = 0.2
"""How often the output file is looked at: only in the foreground, where somebody is reading."""
CHUNK_BYTES = 256 * 1024


class OutputFollower:
    """Copies what the present main process prints, byte for byte, from the moment that it is followed."""

    def __init__(self, ledger: Ledger) -> None:
        """Reads the state of `ledger` to know which file it is."""
        self._ledger = ledger
        self._path: Path | None = None
        self._offset = 0

    async def follow(self) -> None:
        """Copy until cancelled."""
        while True:
            self.copy()
            await asyncio.sleep(POLL_S)

    def copy(self) -> None:
        """Copy what is new."""
        main = self._ledger.state.main_process
        if main is not None:
            path = self._ledger.workspace.log_path(main.environment, main.spawn)
            if path != self._path:
                self._drain()
                self._path, self._offset = path, 0
        self._drain()

    def _drain(self) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while chunk := file.read(CHUNK_BYTES):
                    self._offset += len(chunk)
                    sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
        except (OSError, ValueError):
            self._path = None

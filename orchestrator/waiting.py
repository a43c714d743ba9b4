"""Progress for somebody who waits: one line that changes on a terminal, a line per stage elsewhere."""

from typing import Any, Self, TextIO

from journal.clock import Stamp, elapsed_ns
from orchestrator.showing import duration, plain
from projections.state import WorkspaceState
from projections.views import status_document


class ProgressLine:
    """Shows the open switch on a stream. A context manager: it leaves the terminal as it was."""

    def __init__(self, stream: TextIO) -> None:
        """Live when `stream` is a terminal."""
        self._stream = stream
        self._shown = ""
        self._status: Any = None

    def __enter__(self) -> Self:
        """Begin; rich is imported only for a terminal."""
        if self._stream.isatty():
            from rich.console import Console

            self._status = Console(file=self._stream).status("waiting for the orchestrator")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the live line."""
        if self._status is not None:
            self._status.stop()

    def show(self, state: WorkspaceState, now: Stamp) -> None:
        """Show where the switch stands, and for how long it has been under way."""
        document, job = status_document(state), state.job
        if document is None or job is None:
            return
        message = f"{document['state']} {document['progress']} %  {plain(document['message'])}"
        took = duration(elapsed_ns(job.requested, now))
        if self._status is not None:
            from rich.markup import escape

            self._status.update(escape(f"{message}  ({took})"))
        elif message != self._shown:
            self._shown = message
            self._stream.write(f"{took:>8}  {message}\n")
            self._stream.flush()

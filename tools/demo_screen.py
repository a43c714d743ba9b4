"""What the demo shows: its steps, the stage of the switch, the time, and who answers. Live on a terminal, lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from journal import clock
from journal.clock import S, Stamp, elapsed_ns
from projections.state import WorkspaceState
from projections.views import status_document


class Screen:
    """A context manager around the live part."""

    def __init__(self) -> None:
        """Plain lines when stdout is no terminal."""
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, refresh_per_second=8) if self._console.is_terminal else None
        self._done: list[tuple[str, float]] = []
        self._step = ""
        self._since: Stamp = clock.read()
        self._line = ""

    def __enter__(self) -> Self:
        """Begin the live part."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it; what it last showed stays."""
        if self._live is not None:
            self._live.update(self._table(Text("")))
            self._live.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step: shown while it lasts, ticked off when it is over."""
        self._step, self._since, self._line = name, clock.read(), ""
        if self._live is None:
            self.say(f"-- {name}")
        yield
        took_s = self.step_took_s()
        self._done.append((name, took_s))
        self._step = ""
        if self._live is None:
            self.say(f"   done in {took_s:.1f} s")

    def step_took_s(self) -> float:
        """Seconds since the present step began."""
        return elapsed_ns(self._since, clock.read()) / S

    def show(self, state: WorkspaceState, answers: str) -> None:
        """What is being done, and who answers ComfyUI's port."""
        line = f"{doing(state):<46} answering: {answers}"
        if self._live is not None:
            self._live.update(self._table(Text(f"  {line}")))
        elif line != self._line:
            self._line = line
            self.say(f"   {self.step_took_s():4.1f} s  {line}")

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(text, markup=False, soft_wrap=True)
        sys.stdout.flush()

    def _table(self, below: Text) -> Group:
        table = Table.grid(padding=(0, 2))
        for name, took_s in self._done:
            table.add_row(Text("done", style="green"), name, f"{took_s:.1f} s")
        if self._step:
            table.add_row(Text("now", style="yellow"), self._step, f"{self.step_took_s():.1f} s")
        return Group(table, below)


def doing(state: WorkspaceState) -> str:
    """The stage, in a few words."""
    document = status_document(state)
    if state.job is not None and document is not None:
        return f"{document['state']} {document['progress']} %"
    if state.job is not None:
        return state.job.stage.value
    return f"{state.serving} serves" if state.serving else "nothing serves"

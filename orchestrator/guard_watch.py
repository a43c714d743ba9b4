"""What an orchestrator does about its guard while it runs: hears it, and takes its place when it is dead."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from orchestrator.guard import AWAITED
from orchestrator.guarding import GuardLink

_TURNS: Final = 4
"""Of the loop, until it has called back for every signal that came before: it reads a pipe, and then calls."""


class GuardWatch:
    """Listens as long as the loop runs."""

    def __init__(self, link: GuardLink, on_word: Callable[[str], None], unheeded: Callable[[], str]) -> None:
        """`on_word` is called with the name of a signal that the guard has got, or "" when it said anything else.

        `unheeded` names the signal that came to us or to the guard and is not journaled yet, "" for none.
        """
        self._link = link
        self._on_word = on_word
        self._unheeded = unheeded
        self._taking_over: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin. The guard knows from now on that we are to be started again; what it has said already is heard."""
        self._link.say_started()
        self._link.on_heard = self._pass_on
        self._link.listen()
        self._pass_on()  # also what somebody has read from it before us
        asyncio.get_running_loop().add_reader(self._link.fileno(), self._hear)

    def stop(self) -> None:
        """Listen no more; its place is not taken any more either. Twice is harmless."""
        asyncio.get_running_loop().remove_reader(self._link.fileno())
        if self._taking_over is not None:
            self._taking_over.cancel()

    def _hear(self) -> None:
        self._link.listen()
        if self._link.is_lost:
            self.stop()
            self._taking_over = asyncio.get_running_loop().create_task(self._take_its_place())

    def _pass_on(self) -> None:
        while name := self._link.next_signal():
            self._on_word(name)
        self._on_word("")

    async def _take_its_place(self) -> None:
        """As if we had been killed: whatever is under way, the next orchestrator goes on with it.

        Nothing is journaled here: that may take long or fail, and the next orchestrator says that the guard was lost. From
        now on a signal waits for the new guard; one that came before goes through the loop, and waits too if nobody heeds it.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            self._link.take_its_place(again=True, unheeded=filter(None, [self._unheeded()]))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

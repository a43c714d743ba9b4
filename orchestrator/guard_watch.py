"""What an orchestrator does about its guard while it runs: hears it, and takes its place when it is dead."""

import asyncio
from collections.abc import Callable

from orchestrator.guarding import GuardLink


class GuardWatch:
    """Listens as long as the loop runs."""

    def __init__(self, link: GuardLink, on_word: Callable[[str], None]) -> None:
        """`on_word` is called with the name of a signal that the guard has got, or "" when it said anything else."""
        self._link = link
        self._on_word = on_word

    def start(self) -> None:
        """Begin. The guard knows from now on that we are to be started again; what it has said already is heard."""
        self._link.say_started()
        self._link.on_heard = self._pass_on
        self._link.listen()
        asyncio.get_running_loop().add_reader(self._link.fileno(), self._hear)

    def stop(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._link.fileno())

    def _hear(self) -> None:
        self._link.listen()
        if self._link.is_lost:
            self._take_its_place()

    def _pass_on(self) -> None:
        self._on_word(self._link.next_signal())

    def _take_its_place(self) -> None:
        """From one moment to the next, as if we had been killed: whatever is under way, the next orchestrator goes on with.

        Nothing is journaled here: that may take long or fail, and the next orchestrator says that the guard was lost.
        """
        self.stop()
        self._link.take_its_place(again=True)

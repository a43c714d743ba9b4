"""An orchestrator's side of its guard, with a pipe in the guard's place."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

from journal.identity import own_identity
from orchestrator.guard_watch import GuardWatch
from orchestrator.guarding import GuardLink


class Line:
    """Both ends of the pipes: `say` is what the guard does."""

    def __init__(self) -> None:
        self._hear, self._to_link = os.pipe()
        self.heard, self._from_link = os.pipe()
        os.set_blocking(self._hear, False)
        self.link = GuardLink(own_identity(), again=True, hear=self._hear, say=self._from_link)

    def say(self, line: str) -> None:
        os.write(self._to_link, f"{line}\n".encode())

    def close(self) -> None:
        for descriptor in (self._hear, self._to_link, self.heard, self._from_link):
            os.close(descriptor)


@contextmanager
def line() -> Iterator[Line]:
    made = Line()
    try:
        yield made
    finally:
        made.close()


def test_a_signal_is_passed_on_also_when_somebody_asks_how_a_process_ended_first():
    async def live(it: Line) -> list[str]:
        words: list[str] = []
        watch = GuardWatch(it.link, words.append, str)
        watch.start()
        it.say("signal SIGTERM")
        assert it.link.wait_status(own_identity()) is None
        watch.stop()
        return list(filter(None, words))

    with line() as it:
        assert asyncio.run(live(it)) == ["SIGTERM"]


def test_a_signal_that_somebody_has_read_from_the_pipe_before_is_passed_on_too():
    async def live(it: Line) -> list[str]:
        words: list[str] = []
        watch = GuardWatch(it.link, words.append, str)
        it.say("signal SIGINT")
        it.say("signal SIGTERM")
        assert it.link.wait_status(own_identity()) is None
        watch.start()
        watch.stop()
        return list(filter(None, words))

    with line() as it:
        assert asyncio.run(live(it)) == ["SIGINT", "SIGTERM"]


def test_a_signal_that_waits_already_is_passed_on_before_the_loop_has_its_first_turn():
    async def live(it: Line) -> list[str]:
        words: list[str] = []
        watch = GuardWatch(it.link, words.append, str)
        it.say("signal SIGINT")
        watch.start()
        watch.stop()
        return list(filter(None, words))

    with line() as it:
        assert asyncio.run(live(it)) == ["SIGINT"]
        assert os.read(it.heard, 100) == b"started\n"

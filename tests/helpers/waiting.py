"""Waiting for something to become true, with a deadline: tests never just sleep."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 10.0
"""Far beyond what anything waited for takes: reaching it is the failure."""


def until(look: Callable[[], T | None], timeout_s: float = PATIENCE_S) -> T:
    """What `look` gives, as soon as that is truthy. Raises AssertionError at the deadline."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (found := look()):
        assert time.monotonic() < deadline, f"still {found!r} after {timeout_s} s"
        pause.wait(0.005)
    return found


async def until_async(look: Callable[[], T | None], timeout_s: float = PATIENCE_S) -> T:
    """The same, letting the event loop run."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"still {found!r} after {timeout_s} s"
        await asyncio.sleep(0.005)
    return found

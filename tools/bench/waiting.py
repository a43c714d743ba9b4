"""Waiting for something, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0


class TookTooLong(Exception):  # noqa: N818 - the fact
    """What was waited for did not happen."""


def until(look: Callable[[], T | None], what: str, timeout_s: float = PATIENCE_S, every_s: float = 0.005) -> T:
    """What `look` gives, once it is truthy. Raises TookTooLong."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > deadline:
            message = f"not within {timeout_s:g} s: {what}"
            raise TookTooLong(message)
        time.sleep(every_s)
    return found

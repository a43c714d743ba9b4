"""How this ComfyUI ends at a page's wish: by an exit code that says what is wanted of whoever supervises it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import Any, Coroutine

from .metadata import LOCK, STATUS, read_object
from .place import Place

EXIT_STOP = 0
EXIT_RESTART = 42
EXIT_SWITCH = 43

ANSWER_FIRST_S = 0.3
"""How long the answer to whoever asked has to get out."""
STAY_AT_LEAST_S = 2.0
"""How long the page of a switch has to read its answer."""
LOOK_S = 0.1
_NEEDS_ROOM = frozenset({"starting", "validating", "rolling_back", "complete"})
"""The states of a switch in which the port is wanted. While it checks and syncs its target, we go on serving."""

_log = logging.getLogger(__name__)
_tasks: set[asyncio.Task[None]] = set()


def leave_soon(code: int) -> None:
    """End this process with `code` once the answer under way is out."""
    _in_background(_leave(code))


def leave_for_switch() -> None:
    """End with 43 once the page has read its answer."""
    _in_background(_leave(EXIT_SWITCH, STAY_AT_LEAST_S))


def make_room(place: Place, switch: int) -> None:
    """End with 43 when the switch needs the port; stay when it comes to nothing before."""
    _in_background(_make_room(place, switch))


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)  # the loop itself would let go of it
    task.add_done_callback(_tasks.discard)


async def _leave(code: int, after_s: float = ANSWER_FIRST_S) -> None:
    await asyncio.sleep(after_s)
    exit_with(code)


async def _make_room(place: Place, switch: int) -> None:
    await asyncio.sleep(STAY_AT_LEAST_S)
    while state_of(place, switch) not in _NEEDS_ROOM:
        if not (place.metadata / LOCK).exists():
            _log.warning("[comfygit] switch %d came to nothing; this ComfyUI goes on", switch)
            return
        await asyncio.sleep(LOOK_S)
    exit_with(EXIT_SWITCH)


def state_of(place: Place, switch: int) -> str:
    """Where that switch stands, by the status on disk; "" when that speaks of none, or of another one."""
    status = read_object(place.metadata / STATUS) or {}
    return str(status.get("state")) if status.get("switch_id") == switch else ""


def exit_with(code: int) -> None:
    """End this process now: other custom nodes' threads would keep it from an orderly end."""
    _log.warning("[comfygit] ComfyUI ends with exit code %d, as its page asked", code)
    with contextlib.suppress(OSError, ValueError):  # nobody may be reading any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)

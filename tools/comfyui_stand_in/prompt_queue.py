"""A queue of prompts with an executor that only lets time pass."""

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import Any, TypeAlias

Prompt: TypeAlias = dict[str, Any]
Item: TypeAlias = tuple[float, str, Prompt, dict[str, Any], list[str]]
"""Number, prompt id, prompt, extra data, nodes with an output: as ComfyUI keeps it."""


class PromptQueue:
    """What waits, what runs, what ran. Only to be used inside the event loop."""

    def __init__(self, *, tell: Callable[[str, dict[str, Any]], None]) -> None:
        """Report each change through `tell(message type, data)`."""
        self.running: list[Item] = []
        self.pending: list[Item] = []
        self.history: dict[str, dict[str, Any]] = {}
        self._tell = tell
        self._filled = asyncio.Event()
        self._interrupted = asyncio.Event()

    def info(self) -> dict[str, Any]:
        """Count what is left to do, in the shape of `GET /prompt`."""
        return {"exec_info": {"queue_remaining": len(self.running) + len(self.pending)}}

    def put(self, item: Item) -> None:
        """Queue `item`; the lowest number runs first."""
        heapq.heappush(self.pending, item)
        self._filled.set()
        self._changed()

    def clear(self) -> None:
        """Drop every waiting prompt."""
        self.pending = []
        self._changed()

    def delete(self, prompt_ids: list[str]) -> None:
        """Drop the waiting prompts of these ids."""
        self.pending = [item for item in self.pending if item[1] not in prompt_ids]
        heapq.heapify(self.pending)
        self._changed()

    def interrupt(self, prompt_id: str | None = None) -> None:
        """End the running prompt, if it is `prompt_id` or that is None."""
        if any(prompt_id in (None, item[1]) for item in self.running):
            self._interrupted.set()

    async def work(self, seconds: Callable[[], float]) -> None:
        """Run prompts for ever, each for `extra_data.stand_in_s` or `seconds()`."""
        while True:
            while not self.pending:
                self._filled.clear()
                await self._filled.wait()
            item = heapq.heappop(self.pending)
            await self._run(item, float(item[3].get("stand_in_s", seconds())))

    async def _run(self, item: Item, seconds: float) -> None:
        about = {"prompt_id": item[1]}
        self.running.append(item)
        self._changed()
        messages = [_message("execution_start", about)]
        self._interrupted.clear()
        try:
            await asyncio.wait_for(self._interrupted.wait(), seconds)
        except TimeoutError:
            messages.append(_message("execution_success", about))
        else:
            messages.append(_message("execution_interrupted", about))
        self.running.remove(item)
        self.history[item[1]] = _outcome(item, messages)
        self._changed()
        self._tell("executing", {"node": None, **about})

    def _changed(self) -> None:
        self._tell("status", {"status": self.info()})


def _message(kind: str, about: dict[str, Any]) -> list[Any]:
    return [kind, {**about, "timestamp": int(time.time() * 1000)}]


def _outcome(item: Item, messages: list[list[Any]]) -> dict[str, Any]:
    ended_well = messages[-1][0] == "execution_success"
    status = {
        "status_str": "success" if ended_well else "error",
        "completed": ended_well,
        "messages": messages,
    }
    return {"prompt": item, "outputs": {}, "status": status, "meta": {}}

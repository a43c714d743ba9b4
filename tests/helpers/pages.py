"""A page's dialog, as the browser code of the public panel has it: one look a second, and an end."""

import json
import threading
import urllib.request
from contextlib import closing
from typing import Any

from tests.helpers.waiting import until

POLL_S = 1.0
ENDS = frozenset({"complete", "rolled_back", "critical_failure"})
"""The states at which the dialog ends; at any other it goes on."""


class Dialog:
    """`seen`: each document that it was given, in order. Made with the panel's answer; `page` is ComfyUI's origin."""

    def __init__(self, page: str, answer: dict[str, Any]) -> None:
        self.seen: list[dict[str, Any]] = []
        self._page = page
        self._observer = answer.get("observer") or {}
        self._pause = threading.Event()

    def until_it_ends(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Poll until the dialog ends; the last document."""
        return until(self._look, timeout_s)

    @property
    def states(self) -> list[str]:
        """The states that it showed, in order."""
        shown = [document["state"] for document in self.seen]
        return [state for at, state in enumerate(shown) if at == 0 or shown[at - 1] != state]

    def _look(self) -> dict[str, Any] | None:
        self._pause.wait(POLL_S)
        found = self._read(self._observer.get("status_url", "")) or self._read(
            f"{self._page}/v2/comfygit/switch_status"
        )
        if found is None or found["state"] in {"idle", "unknown"}:
            return None
        self.seen.append(found)
        return found if found["state"] in ENDS else None

    def _read(self, url: str) -> dict[str, Any] | None:
        """As `fetch` from the page: with its origin, and only if the answer allows it to be read."""
        if not url:
            return None
        request = urllib.request.Request(url, headers={"Origin": self._page})
        try:
            with closing(urllib.request.urlopen(request, timeout=5)) as answer:
                allowed = answer.headers["Access-Control-Allow-Origin"]
                may_read = url.startswith(self._page) or allowed == self._page
                return dict(json.loads(answer.read())) if may_read else None
        except (OSError, ValueError):
            return None

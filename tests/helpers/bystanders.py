"""Who else is around a workspace: one that keeps asking ComfyUI, one that reads the status, a ComfyUI started by hand."""

import json
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from orchestrator.network.ports import is_port_open
from tests.helpers.live_workspace import LiveWorkspace
from tests.helpers.waiting import until

CALL_EVERY_S = 0.02
LOOK_EVERY_S = 0.002


class _Bystander:
    """Does the same thing again and again in a thread of its own, as long as the block lasts."""

    def __init__(self, act: Callable[[], None], every_s: float) -> None:
        self._act = act
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self._act()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()


class SteadyCaller(_Bystander):
    """Asks for `/system_stats` all the time: `answers` counts the good ones, `failures` tells of the others."""

    def __init__(self, port: int) -> None:
        super().__init__(self._call, CALL_EVERY_S)
        self.answers = 0
        self.failures: list[str] = []
        self._url = f"http://127.0.0.1:{port}/system_stats"

    def _call(self) -> None:
        try:
            with closing(urllib.request.urlopen(self._url, timeout=5)) as response:
                assert response.status == HTTPStatus.OK
                assert "system" in json.loads(response.read())
        except (OSError, ValueError, AssertionError) as error:
            self.failures.append(repr(error))
        else:
            self.answers += 1


class StatusReader(_Bystander):
    """Reads `.switch_status.json` all the time, as a page does: `seen` holds each document that it found, once."""

    def __init__(self, live: LiveWorkspace) -> None:
        super().__init__(self._look, LOOK_EVERY_S)
        self.seen: list[dict[str, Any]] = []
        self._path = live.metadata / ".switch_status.json"

    def _look(self) -> None:
        try:
            document = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return
        if not self.seen or self.seen[-1] != document:
            self.seen.append(document)


def start_by_hand(live: LiveWorkspace, name: str) -> subprocess.Popen[bytes]:
    """A ComfyUI of that environment that nobody supervises, answering on the workspace's port. The caller ends it."""
    python = live.root / "environments" / name / ".venv/bin/python"
    with (live.root / f"{name}.by-hand.log").open("ab") as log:
        process = subprocess.Popen(
            [str(python), "main.py", "--port", str(live.port)], cwd=live.comfyui(name), stdout=log, stderr=log
        )
    until(lambda: is_port_open("127.0.0.1", live.port, 1.0) or process.poll() is not None)
    assert process.poll() is None
    return process

"""An environment with a stand-in, to start, question and close: for tests, and by hand."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from comfyui_stand_in.install import install, make_python

DEADLINE_S = 20.0
_LOOK_EVERY_S = 0.005


def until(condition: Callable[[], object], what: str) -> None:
    """Poll until `condition()` holds. Raises TimeoutError naming `what` after DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            msg = f"not within {DEADLINE_S} s: {what}"
            raise TimeoutError(msg)
        time.sleep(_LOOK_EVERY_S)


def free_port() -> int:
    """Give a port of 127.0.0.1 that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port: int = holder.getsockname()[1]
        return port


class StandInEnvironment:
    """`ComfyUI/`, `.venv/` and a port. `close` kills each life that it started."""

    def __init__(self, folder: Path, orders: Mapping[str, object] | None = None) -> None:
        self.comfyui = folder / "ComfyUI"
        install(self.comfyui, orders)
        self.python = make_python(folder / ".venv")
        self.port = free_port()
        self.output = folder / "output"
        self.lives: list[subprocess.Popen[bytes]] = []

    def add_node(self, path: str, source: str) -> None:
        """Write a custom node: `name.py` or `name/__init__.py`."""
        file = self.comfyui / "custom_nodes" / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(source, encoding="utf-8")

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start it with these variables and no other `COMFYGIT_*`; all output to one file."""
        outside = {key: value for key, value in os.environ.items() if not key.startswith("COMFYGIT_")}
        command = [str(self.python), "main.py", "--cpu", f"--port={self.port}", *arguments]
        with self.output.open("ab") as output:
            life = subprocess.Popen(command, cwd=self.comfyui, env={**outside, **environ}, stdout=output, stderr=output)
        self.lives.append(life)
        return life

    def start_and_end(self, *arguments: str) -> int:
        """Run one life that ends by itself; give its exit code."""
        return self.start(*arguments).wait(DEADLINE_S)

    def serve(self, **environ: str) -> subprocess.Popen[bytes]:
        """Start it and wait until its port is open."""
        life = self.start(**environ)
        until(lambda: self.listens() or life.poll() is not None, "an open port")
        return life

    def listens(self) -> bool:
        """Tell whether something accepts connections on our port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def text(self) -> str:
        """Give what all lives wrote so far, bytes that are not UTF-8 replaced."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def until_it_prints(self, line: str) -> None:
        """Wait for `line` anywhere in the output."""
        until(lambda: line in self.text(), f"printed {line!r}")

    def ask(self, path: str, body: object = None, timeout_s: float = DEADLINE_S) -> tuple[int, Any]:
        """GET `path`, or POST `body` as JSON; give the status, and the text or what its JSON says."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)) as connection:
            if body is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, json.dumps(body))
            response = connection.getresponse()
            text = response.read().decode()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(text) if is_json else text

    def close(self) -> None:
        """Kill what still lives, and reap it."""
        for life in self.lives:
            if life.poll() is None:
                life.kill()
            life.wait(DEADLINE_S)

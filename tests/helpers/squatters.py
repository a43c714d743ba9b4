"""Programs that have nothing to do with us, on ComfyUI's port: what answers there is not always ours."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.waiting import until

KINDS = ("comfyui", "404", "401", "trickle", "mute")
"""Answers as a ComfyUI does; not found; forbidden; a byte now and then; accepts and says nothing."""

_SCRIPT = """
import json, signal, socket, sys, threading, time
kind, port = sys.argv[1], int(sys.argv[2])
body = json.dumps({"system": {"comfyui_version": "of somebody else"}}).encode()
HEAD = b"HTTP/1.1 %d x\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n"

def answer(connection):
    try:
        connection.recv(65536)
        if kind == "comfyui":
            connection.sendall(HEAD % (200, len(body)) + body)
        elif kind in {"404", "401"}:
            connection.sendall(HEAD % (int(kind), 2) + b"{}")
        elif kind == "trickle":
            connection.sendall(HEAD % (200, len(body)))
            for byte in body:
                connection.sendall(bytes([byte]))
                time.sleep(0.5)
        else:
            time.sleep(60)
        connection.close()
    except OSError:
        pass

for name in ("SIGTERM", "SIGINT", "SIGHUP"):
    signal.signal(signal.Signals[name], lambda number, _: print("signalled", number, flush=True))
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind(("127.0.0.1", port))
server.listen(64)
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    threading.Thread(target=answer, args=(connection,), daemon=True).start()
"""
SHARES_ITS_PORT = """
from aiohttp import web
plain = web.TCPSite.__init__
web.TCPSite.__init__ = lambda self, *args, **named: plain(self, *args, **{**named, "reuse_port": True})
NODE_CLASS_MAPPINGS = {}
"""
"""A custom node whose ComfyUI lets others listen on its very port; the kernel deals the connections out."""


class Squatter:
    """One of them, listening. `said` is what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self.output = output

    @property
    def pid(self) -> int:
        return self.process.pid

    def was_left_alone(self) -> bool:
        return self.process.poll() is None and self.output.read_text() == "listening\n"


@contextmanager
def squatting(folder: Path, kind: str, port: int) -> Iterator[Squatter]:
    """A squatter of that kind; its script is called `squatter.py`."""
    script, output = folder / "squatter.py", folder / "squatter.log"
    script.write_text(_SCRIPT)
    with output.open("wb") as log:
        process = subprocess.Popen([sys.executable, str(script), kind, str(port)], stdout=log, stderr=log)
    try:
        until(lambda: "listening" in output.read_text() or process.poll() is not None)
        assert process.poll() is None, output.read_text()
        yield Squatter(process, output)
    finally:
        process.kill()
        process.wait()


def share_its_port(comfyui: Path) -> None:
    """Give that ComfyUI the custom node."""
    folder = comfyui / "custom_nodes" / "sharing"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(SHARES_ITS_PORT)

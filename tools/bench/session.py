"""One run: its folder, what it was asked for, the peers it has, and an end that leaves nothing behind."""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.peers.base import Peer
from bench.processes import SESSION_MARK, end_marked
from bench.service import Service, make_service
from comfyui_stand_in.install import make_python

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("BENCH_HOME", ROOT / ".bench"))
"""All that the bench installs and writes. Not too deep: there are sockets in it."""
_NOT_HANDED_ON = (
    "COMFYGIT_",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONDONTWRITEBYTECODE",
    "COVERAGE_",
    "PM2_",
)
"""Among them what would have each start compile our modules anew, which no installed program does."""


@dataclass(frozen=True)
class Missing:
    """A peer that is not here, and why."""

    name: str
    why: str


class Session:
    """A context manager. `quick`: a few samples of each, to see that it works; its figures say nothing."""

    def __init__(self, peers: Sequence[Peer], missing: Sequence[Missing], *, quick: bool) -> None:
        self.peers = tuple(peers)
        self.missing = tuple(missing)
        self.quick = quick
        HOME.mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=HOME))
        self._mark = uuid.uuid4().hex
        os.environ[SESSION_MARK] = self._mark  # whatever is started from here on has it
        self.python = make_python(self.folder / "python")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_all()
        os.environ.pop(SESSION_MARK, None)
        shutil.rmtree(self.folder, ignore_errors=True)

    def end_all(self) -> None:
        """End everything that this run has started, whatever it has become."""
        end_marked(SESSION_MARK, lambda value: value == self._mark)

    def n(self, whole: int, quick: int = 2) -> int:
        """How many samples to take."""
        return quick if self.quick else whole

    def fresh(self, name: str) -> Path:
        """A new empty folder of the run."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def services(self, folder: Path, count: int, *arguments: str) -> list[Service]:
        """That many programs to supervise, each in a folder of its own."""
        return [make_service(folder / f"s{number}", self.python, *arguments) for number in range(count)]

    def environ(self, **more: str) -> dict[str, str]:
        """The environment for what is started: ours, without what would lead it elsewhere."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_HANDED_ON)}
        return {**kept, **more}

    def popen(self, command: Sequence[str], **more: str) -> "subprocess.Popen[bytes]":
        """A process in the background, without output."""
        null = subprocess.DEVNULL
        return subprocess.Popen(list(command), stdin=null, stdout=null, stderr=null, env=self.environ(**more))

    def say(self, text: str) -> None:
        """Progress, for whoever waits."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

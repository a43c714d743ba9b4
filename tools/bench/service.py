"""A folder with the supervised program in it, and what that has said of its lives."""

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from bench.waiting import until

TREE_MARK = "BENCH_TREE"
"""The variable by which what the program has started is known: its folder and its pid."""
CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True)
class Stamp:
    """One line of the program: what happened, when by the monotonic clock, to which life of it."""

    what: str
    at_ns: int
    pid: int


@dataclass(frozen=True)
class Service:
    """One program to supervise. `command` is run in any folder."""

    name: str
    folder: Path
    command: tuple[str, ...]

    def stamps(self) -> list[Stamp]:
        """All that it has said so far, in order."""
        return read_stamps(self.folder)

    def count(self, what: str) -> int:
        """How often it has said that."""
        return sum(stamp.what == what for stamp in self.stamps())

    def pid(self) -> int:
        """The newest life."""
        return next(stamp.pid for stamp in reversed(self.stamps()) if stamp.what == "start")

    def ready(self, lives: int = 1) -> None:
        """Wait until it has been ready that many times. Raises TookTooLong."""
        until(lambda: self.count("ready") >= lives, f"{self.name}: life {lives} ready")

    def ask_restart(self) -> None:
        """Have it leave with 42."""
        os.kill(self.pid(), signal.SIGUSR1)

    def respawns_ms(self) -> list[float]:
        """From each end to the next life's first stamp."""
        return respawns_ms(self.stamps())


def read_stamps(folder: Path) -> list[Stamp]:
    """What the program in `folder` has said."""
    try:
        lines = (folder / "stamps").read_text("ascii").splitlines()
    except FileNotFoundError:
        return []
    parts = (line.split() for line in lines)
    return [Stamp(what, int(at_ns), int(pid)) for what, at_ns, pid in parts]


def respawns_ms(stamps: list[Stamp]) -> list[float]:
    """From each end to the next life's first stamp, in order."""
    found: list[float] = []
    ended_ns: int | None = None
    for stamp in stamps:
        if stamp.what == "exit":
            ended_ns = stamp.at_ns
        elif stamp.what == "start" and ended_ns is not None:
            found.append((stamp.at_ns - ended_ns) / 1e6)
            ended_ns = None
    return found


def install_child(folder: Path) -> Path:
    """Put the program into `folder`; the path of its `main.py`."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(CHILD, folder / "main.py"))


def make_service(folder: Path, python: Path, *arguments: str) -> Service:
    """A program in `folder`, named as that."""
    return Service(folder.name, folder, (str(python), str(install_child(folder)), *arguments))

"""What the rows want of a peer."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from bench.service import Service
from bench.waiting import until


class PeerFailed(Exception):  # noqa: N818 - the fact
    """A peer's command did not do what it is for."""


class Peer:
    """One kind of supervisor. `set_up` once for each use: it takes a folder of its own, and the environment."""

    name: ClassVar[str]
    is_slow: ClassVar[bool] = False
    """Whether it takes a second or more to start a program again: it is asked less often."""

    most_programs: ClassVar[int] = 1_000
    """With more of them its commands take minutes."""

    def __init__(self, home: Path) -> None:
        """`home`: where `.bench` has what its package brought."""
        self.home = home
        self.folder = Path()
        self.services: tuple[Service, ...] = ()
        self._environ = dict(os.environ)

    def version(self) -> str:
        """Of the installed package. Raises OSError or PeerFailed when it does not run here."""
        raise NotImplementedError

    def set_up(self, folder: Path, services: Sequence[Service], environ: Mapping[str, str]) -> None:
        """Write its settings for these programs into `folder`."""
        self.folder, self.services = folder, tuple(services)
        self._environ = dict(environ)
        self.configure()

    def configure(self) -> None:
        """Write its settings."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and the programs."""
        raise NotImplementedError

    def own_pids(self) -> list[int]:
        """Its own processes that supervise the programs."""
        raise NotImplementedError

    def stop_all(self) -> None:
        """Stop the programs, by its own command."""
        raise NotImplementedError

    def kill_daemon(self) -> None:
        """SIGKILL what supervises the first program, and start it again where nothing else does."""
        raise NotImplementedError

    def background(self, command: Sequence[str], **more: str) -> "subprocess.Popen[bytes]":
        """Start a daemon of its own in the foreground mode that it has."""
        with (self.folder / "daemon.log").open("ab") as log:
            return subprocess.Popen(
                list(command),
                cwd=self.folder,
                env=self.environ(**more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def run(self, command: Sequence[str], *, timeout_s: float = 120) -> str:
        """Run one of its commands; what it printed. Raises PeerFailed."""
        try:
            done = subprocess.run(
                list(command), env=self.environ(), capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeerFailed(f"{self.name}: {error}") from error
        if done.returncode != 0:
            raise PeerFailed(f"{self.name}: {command[0]}: exit {done.returncode}: {(done.stdout + done.stderr)[-300:]}")
        return done.stdout

    def environ(self, **more: str) -> dict[str, str]:
        """For its daemon and commands."""
        return {**self._environ, **more}

    def until_ready(self) -> None:
        """Wait until every program lives. Raises TookTooLong."""
        for service in self.services:
            service.ready()


def kill(pid: int) -> None:
    """SIGKILL, and wait for the end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def children_of(pids: Iterable[int], name: str) -> list[int]:
    """The children with that name, of these processes."""
    import psutil

    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found += [child.pid for child in psutil.Process(pid).children() if child.name() == name]
    return found


def until_children(pid: int, name: str, count: int) -> list[int]:
    """The same, once there are that many. Raises TookTooLong."""
    return until(lambda: found if len(found := children_of([pid], name)) >= count else None, f"{count} x {name}")

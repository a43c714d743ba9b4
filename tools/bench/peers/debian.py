"""runit and s6, from Debian's packages: unpacked into a folder, nothing is installed system-wide.

Debian's s6 has the paths of its programs built in: it runs in a mount namespace of its own, where they are laid over /usr/bin,
and its libraries over theirs.
"""

import shlex
import subprocess
from pathlib import Path

from bench.peers.base import Peer, PeerFailed, children_of, kill, until_children
from bench.service import Service


class _Debian(Peer):
    """What both share: a folder of folders, each with a script `run`."""

    daemon: str
    supervisor: str
    _process: "subprocess.Popen[bytes] | None" = None

    def environ(self, **more: str) -> dict[str, str]:
        """With its programs first on PATH, and its libraries."""
        outside = super().environ()
        libraries = ":".join(map(str, sorted({path.parent for path in self.home.rglob("*.so.*")})))
        ours = {"PATH": f"{self.home}/usr/bin:{outside.get('PATH', '')}", "LD_LIBRARY_PATH": libraries}
        return super().environ(**{**ours, **more})

    def version(self) -> str:
        """Of the Debian package."""
        if not (self.home / "usr/bin" / self.supervisor).is_file():
            raise PeerFailed(f"{self.name}: no {self.supervisor} in {self.home}")
        found: list[str] = sorted(path.name.split("_")[1] for path in self.home.glob(f"{self.name}_*.deb"))
        return found[-1] if found else "?"

    def configure(self) -> None:
        """One folder per program."""
        for service in self.services:
            folder = self.place(service)
            folder.mkdir(parents=True)
            run = folder / "run"
            run.write_text(f"#!/bin/sh\nexec {shlex.join(service.command)}\n")
            run.chmod(0o755)

    def command(self, program: str, *arguments: str) -> list[str]:
        """One of its programs."""
        return [f"{self.home}/usr/bin/{program}", *arguments]

    def place(self, service: Service) -> Path:
        """The folder of one program."""
        return self.folder / "services" / service.name

    def start(self) -> None:
        """The daemon over that folder, which starts a supervisor per program."""
        self._process = self.background(self.command(self.daemon, str(self.folder / "services")))
        until_children(self._process.pid, self.supervisor, len(self.services))
        self.until_ready()

    def own_pids(self) -> list[int]:
        """The daemon and its supervisors."""
        assert self._process is not None  # noqa: S101 - started
        return [self._process.pid, *children_of([self._process.pid], self.supervisor)]

    def kill_daemon(self) -> None:
        """The supervisor of the program: the daemon starts another one by itself."""
        kill(self.own_pids()[1])


class Runit(_Debian):
    """runsvdir, and a runsv per program."""

    name = "runit"
    daemon, supervisor = "runsvdir", "runsv"

    def stop_all(self) -> None:
        """`sv stop` of each."""
        places = [str(self.place(service)) for service in self.services]
        self.run(self.command("sv", "-w", "30", "stop", *places))


class S6(_Debian):
    """s6-svscan, and an s6-supervise per program."""

    name = "s6"
    daemon, supervisor = "s6-svscan", "s6-supervise"
    is_slow = True

    def version(self) -> str:
        """Of the Debian package, where it can be run from here."""
        found = super().version()
        self.run([*self._inside(), "true"])
        return found

    def command(self, program: str, *arguments: str) -> list[str]:
        """One of its programs, where it finds the others."""
        return [*self._inside(), f"/usr/bin/{program}", *arguments]

    def stop_all(self) -> None:
        """`s6-svc -d` of each, waiting until it is down."""
        for service in self.services:
            self.run(self.command("s6-svc", "-wd", "-T", "30000", "-d", str(self.place(service))))

    def _inside(self) -> list[str]:
        places = [
            "/usr/bin",
            *sorted({f"/{path.parent.relative_to(self.home)}" for path in self.home.glob("usr/lib/*/lib*.so.*")}),
        ]
        mounts = [
            f"mount -t overlay overlay -o lowerdir={shlex.quote(f'{self.home}{place}')}:{place} {place}"
            for place in places
        ]
        return ["unshare", "--mount", "sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh"]

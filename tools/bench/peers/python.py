"""supervisord and circus, from PyPI, in a venv of their own."""

import configparser
import shlex
import signal
import subprocess
from pathlib import Path

from bench.peers.base import Peer, PeerFailed, kill


class _FromPyPI(Peer):
    """A daemon in the foreground, and a command that talks to it by a socket."""

    package: str
    _process: "subprocess.Popen[bytes] | None" = None

    def program(self, name: str) -> str:
        """One of its scripts."""
        return str(self.home / "bin" / name)

    def version(self) -> str:
        """Of the installed package."""
        code = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        return self.run([self.program("python"), "-c", code]).strip()

    def write(self, settings: dict[str, dict[str, str]]) -> Path:
        """Its settings, as an INI file."""
        parser = configparser.RawConfigParser()
        parser.read_dict(settings)
        with self._settings.open("w") as file:
            parser.write(file)
        return self._settings

    @property
    def _settings(self) -> Path:
        return self.folder / "settings.ini"

    def daemon_command(self) -> list[str]:
        """In the foreground."""
        raise NotImplementedError

    def start(self) -> None:
        """The daemon, which starts the programs."""
        self._process = self.background(self.daemon_command())
        self.until_ready()

    def own_pids(self) -> list[int]:
        """The daemon."""
        if self._process is None or self._process.poll() is not None:
            raise PeerFailed(f"{self.name}: the daemon does not run: {self.folder}/daemon.log")
        return [self._process.pid]

    def kill_daemon(self) -> None:
        """And start it again, as an init system would."""
        assert self._process is not None  # noqa: S101 - started
        kill(self._process.pid)
        self._process.wait()
        self._process = self.background(self.daemon_command())


class Supervisord(_FromPyPI):
    """supervisord and supervisorctl."""

    name = "supervisord"
    package = "supervisor"
    is_slow = True

    def configure(self) -> None:
        """It starts again what ends with 42, and stops whole process groups."""
        socket = str(self.folder / "s")
        settings = {
            "unix_http_server": {"file": socket},
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
            "supervisorctl": {"serverurl": f"unix://{socket}"},
            "supervisord": {
                "logfile": str(self.folder / "supervisord.log"),
                "pidfile": str(self.folder / "supervisord.pid"),
                "childlogdir": str(self.folder),
            },
        }
        for service in self.services:
            settings[f"program:{service.name}"] = {
                "command": shlex.join(service.command),
                "autorestart": "unexpected",
                "exitcodes": "0",
                "stopasgroup": "true",
                "killasgroup": "true",
            }
        self.write(settings)

    def daemon_command(self) -> list[str]:
        """`supervisord -n`."""
        return [self.program("supervisord"), "-n", "-c", str(self._settings)]

    def stop_all(self) -> None:
        """`supervisorctl stop all`."""
        self.run([self.program("supervisorctl"), "-c", str(self._settings), "stop", "all"])


class Circus(_FromPyPI):
    """circusd and circusctl."""

    name = "circus"
    package = "circus"
    is_slow = True

    def configure(self) -> None:
        """Its settings as they come, but that it stops children, too."""
        settings = {
            "circus": {
                "endpoint": f"ipc://{self.folder}/e",
                "pubsub_endpoint": f"ipc://{self.folder}/p",
                "stats_endpoint": f"ipc://{self.folder}/t",
            }
        }
        for service in self.services:
            settings[f"watcher:{service.name}"] = {
                "cmd": service.command[0],
                "args": shlex.join(service.command[1:]),
                "copy_env": "True",
                "stop_children": "True",
                "stop_signal": str(int(signal.SIGTERM)),
            }
        self.write(settings)

    def daemon_command(self) -> list[str]:
        """`circusd`."""
        return [self.program("circusd"), str(self._settings)]

    def stop_all(self) -> None:
        """`circusctl stop`."""
        self.run(
            [self.program("circusctl"), "--endpoint", f"ipc://{self.folder}/e", "--timeout", "60", "stop", "--waiting"]
        )

"""pm2, from npm."""

import json
from pathlib import Path

from bench.peers.base import Peer, PeerFailed, kill
from bench.waiting import until


class Pm2(Peer):
    """Its daemon, which it starts by itself in the background, and its command."""

    name = "pm2"
    most_programs = 40

    @property
    def _home(self) -> Path:
        return self.folder / "h"

    def environ(self, **more: str) -> dict[str, str]:
        """With a home of its own; it asks nobody for news."""
        return super().environ(PM2_HOME=str(self._home), PM2_DISABLE_VERSION_CHECK="true", **more)

    def version(self) -> str:
        """Of the installed package."""
        try:
            document = json.loads((self.home / "node_modules/pm2/package.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise PeerFailed(f"pm2: {error}") from error
        return str(document["version"])

    def configure(self) -> None:
        """One app per program; what it would do to Node programs is off."""
        apps = [
            {
                "name": service.name,
                "script": service.command[1],
                "interpreter": service.command[0],
                "args": list(service.command[2:]),
                "autorestart": True,
                "pmx": False,
                "vizion": False,
            }
            for service in self.services
        ]
        (self.folder / "apps.json").write_text(json.dumps({"apps": apps}))

    def pm2(self, *arguments: str) -> str:
        """One of its commands. Raises PeerFailed."""
        return self.run([str(self.home / "node_modules/.bin/pm2"), *arguments])

    def start(self) -> None:
        """`pm2 start`, and `pm2 save`, which is what a new daemon starts again."""
        self.pm2("start", str(self.folder / "apps.json"))
        self.until_ready()
        self.pm2("save")

    def own_pids(self) -> list[int]:
        """The daemon."""
        path = self._home / "pm2.pid"
        return [int(until(lambda: path.read_text("ascii").strip() if path.exists() else "", "pm2's pid file"))]

    def stop_all(self) -> None:
        """`pm2 stop all`."""
        self.pm2("stop", "all")

    def kill_daemon(self) -> None:
        """And `pm2 resurrect`, as its start-up script does."""
        kill(self.own_pids()[0])
        self.pm2("resurrect")

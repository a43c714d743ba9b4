"""Installs the peers' real packages into `.bench`. One that cannot be had is left out, and the table says so."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.peers.base import Peer, PeerFailed
from bench.peers.debian import S6, Runit
from bench.peers.npm import Pm2
from bench.peers.python import Circus, Supervisord
from bench.session import HOME, Missing

PYTHON_PACKAGES = ("supervisor==4.3.0", "circus==0.19.0", "setuptools<81", "eventsourcing==9.5.6")
"""setuptools: supervisor imports its pkg_resources where it is there."""
PM2 = "pm2@7.0.4"
DEBIAN_PACKAGES = ("runit", "s6")
_DEPENDS = (
    "apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances"
)


def install_all(say: Callable[[str], object]) -> tuple[list[Peer], list[Missing]]:
    """The peers that run here, and those that do not."""
    peers: list[Peer] = []
    missing: list[Missing] = []
    for kinds, folder, install in (
        ((Runit, S6), HOME / "debian", _debian),
        ((Supervisord, Circus), HOME / "pypi", _pypi),
        ((Pm2,), HOME / "npm", _npm),
    ):
        why = _installed(folder, install, say)
        for kind in kinds:
            peer: Peer = kind(folder)
            problem = why or _problem(peer)
            if problem:
                missing.append(Missing(peer.name, problem))
            else:
                peers.append(peer)
    return peers, missing


def eventsourcing_python() -> Path | None:
    """A Python that has the `eventsourcing` package; None when it could not be installed."""
    python = HOME / "pypi/bin/python"
    return python if (HOME / "pypi/installed").exists() else None


def _problem(peer: Peer) -> str:
    try:
        peer.version()
    except (OSError, PeerFailed) as error:
        return str(error)
    return ""


def _installed(folder: Path, install: Callable[[Path], None], say: Callable[[str], object]) -> str:
    """Install once; why it cannot be, or ""."""
    mark = folder / "installed"
    if mark.exists():
        return ""
    say(f"installing peers into {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        install(folder)
    except (OSError, subprocess.SubprocessError, PeerFailed) as error:
        return _short(error)
    mark.touch()
    return ""


def _short(error: Exception) -> str:
    output = getattr(error, "stderr", None) or getattr(error, "stdout", None) or ""
    last: list[str] = output.strip().splitlines()[-1:] if isinstance(output, str) else []
    return "; ".join([str(error).partition("\n")[0][:200], *last])


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(list(command), cwd=folder, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout


def _debian(folder: Path) -> None:
    """Download the packages and what they need that is not there, and unpack them. Nothing is installed."""
    wanted = {
        line.strip()
        for line in _run([*_DEPENDS.split(), *DEBIAN_PACKAGES], folder).splitlines()
        if line and not line.startswith((" ", "<"))
    }
    there = _run(["dpkg-query", "--show", "--showformat", "${binary:Package} ${db:Status-Status}\n"], folder)
    installed = {line.split()[0].partition(":")[0] for line in there.splitlines() if line.endswith(" installed")}
    needed = [*DEBIAN_PACKAGES, *sorted(wanted - installed - set(DEBIAN_PACKAGES))]
    _run(["apt-get", "download", *needed], folder)
    for package in sorted(folder.glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(folder)], folder)


def _pypi(folder: Path) -> None:
    uv = [sys.executable, "-m", "uv"]
    _run([*uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)], folder)
    _run([*uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *PYTHON_PACKAGES], folder)


def _npm(folder: Path) -> None:
    _run(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", PM2], folder)

"""TCP ports of this machine: open, free, and whose. All of it blocks for as long as the system takes to answer."""

import errno
import shlex
import socket
import sys
from collections.abc import Iterable

import attrs

from journal.identity import Identity, identify, is_alive
from orchestrator.network import listeners

_PORTS = range(2**16)  # getaddrinfo takes greater ones modulo this
_NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@attrs.frozen
class PortHolder:
    """Who listens on a port. `identity` is None and the texts are "" where the system does not tell us."""

    identity: Identity | None
    command: str
    cwd: str


def is_port_open(host: str, port: int, timeout_s: float) -> bool:
    """Whether somebody accepts connections there. False also for no answer, no such host and no such port."""
    if port not in _PORTS:
        return False
    try:
        with socket.create_connection((host, port), timeout_s):
            return True
    except (OSError, UnicodeError):
        return False


def can_bind(host: str, port: int) -> bool:
    """Whether a server could take the port now, at every address of `host` ("" is every interface).

    Bound as asyncio's `create_server` does, with SO_REUSEADDR on POSIX: connections still closing do not count. False
    also for an address that is not of this machine. Seen, not reserved: the server may still find it taken.
    """
    if port not in _PORTS:
        return False
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    problems = [_bind_problem(family, address) for family, _, _, _, address in found]
    return 0 in problems and all(problem == 0 or problem in _NO_SUCH_ADDRESS for problem in problems)


def _bind_problem(family: socket.AddressFamily, address: tuple[object, ...]) -> int:
    """The errno of binding there, 0 when it worked."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as candidate:
            if sys.platform not in {"win32", "cygwin"}:
                candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                candidate.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            candidate.bind(address)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def port_holders(port: int) -> tuple[PortHolder, ...]:
    """Who listens on `port`, at any address. Empty when nobody does.

    Other users' processes are listed without an identity, unless we may look at them. Walks through every open file of
    every process: for error messages, not for loops.
    """
    holders = dict.fromkeys(_holder(pid) for pid in listeners.pids(port))
    return tuple(holders)


def owns_listener(tree: Iterable[Identity], port: int, host: str = "") -> bool:
    """Whether what listens on `port` belongs to `tree`: whose socket answered.

    With `host`, an IP address that was connected to, only the sockets that answer there count, and all of them have to
    be of the tree; without, or with a name, one socket of the tree on that port is enough.
    """
    return listeners.are_owned_by((one.pid for one in tree if is_alive(one)), port, host)


def _holder(pid: int | None) -> PortHolder:
    import psutil

    identity = None if pid is None else identify(pid)
    if identity is None:
        return PortHolder(None, "", "")
    try:
        command = shlex.join(psutil.Process(identity.pid).cmdline())
    except psutil.Error:
        command = ""
    return PortHolder(identity, command, working_directory(identity))


def working_directory(identity: Identity) -> str:
    """Where exactly this process works; "" when it is gone or not ours to look at."""
    import psutil

    try:
        cwd = psutil.Process(identity.pid).cwd()
    except (psutil.Error, OSError):
        return ""
    return cwd if is_alive(identity) else ""

"""Which processes hold the listening sockets of a port: /proc on Linux, psutil elsewhere.

A socket can be held by several processes at once, when it was inherited; psutil would name one of them.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import attrs

_LISTENING = "0A"
_LOCAL, _STATE, _INODE = 1, 3, 9  # columns of /proc/net/tcp
_WORD_BYTES = 4


@attrs.frozen
class _Socket:
    address: IPv4Address | IPv6Address
    inode: str


def pids(port: int) -> Iterator[int | None]:
    """Every process with a socket that listens on `port`; None for a socket whose holder cannot be seen."""
    return _procfs_pids(port) if sys.platform == "linux" else _psutil_pids(port)


def are_owned_by(tree: Iterable[int], port: int, host: str) -> bool:
    """Whether the pids in `tree` listen on `port`. See `ports.owns_listener` for `host`, which only Linux heeds."""
    if sys.platform != "linux":
        return any(_psutil_listens(pid, port) for pid in tree)
    wanted = {one.inode for one in _answering(_sockets(port), host)}
    exclusive = _literal(host) is not None
    missing = set(wanted)
    for pid in tree:
        missing -= _held(pid)
        if not missing or (not exclusive and missing != wanted):
            return bool(wanted)
    return False


def _sockets(port: int) -> list[_Socket]:
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue  # no IPv6
        for fields in map(str.split, lines):
            address, _, number = fields[_LOCAL].partition(":")
            if fields[_STATE] == _LISTENING and int(number, 16) == port:
                found.append(_Socket(_decoded(address), fields[_INODE]))
    return found


def _decoded(text: str) -> IPv4Address | IPv6Address:
    """From the kernel's notation: words of 32 bits as they lie in memory. IPv4 inside IPv6 becomes IPv4."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + _WORD_BYTES][::-1] for at in range(0, len(raw), _WORD_BYTES))
    if len(raw) == _WORD_BYTES:
        return IPv4Address(raw)
    address = IPv6Address(raw)
    return address.ipv4_mapped or address


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a connection to `host` goes to; None for a name."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if address.is_unspecified:
        return IPv4Address("127.0.0.1") if address.version == 4 else IPv6Address("::1")  # noqa: PLR2004 - IPv4
    return address


def _answering(sockets: list[_Socket], host: str) -> list[_Socket]:
    """Those that get a connection to `host`: the kernel prefers the exact address, then its family's any, then `::`."""
    target = _literal(host)
    if target is None:
        return sockets
    anys = [IPv6Address("::")] if target.version == 6 else [IPv4Address("0.0.0.0"), IPv6Address("::")]  # noqa: PLR2004, S104
    for address in (target, *anys):
        found = [one for one in sockets if one.address == address]
        if found:
            return found
    return []


def _held(pid: int) -> set[str]:
    """The inodes of the sockets that `pid` has open; empty when it is gone or we may not look."""
    inodes = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                target = str(link.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[len("socket:[") : -1])
    except OSError:
        return set()
    return inodes


def _procfs_pids(port: int) -> Iterator[int | None]:
    inodes = {one.inode for one in _sockets(port)}
    if not inodes:
        return
    unclaimed = set(inodes)
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            held = _held(int(folder.name)) & inodes
            unclaimed -= held
            if held:
                yield int(folder.name)
    yield from (None for _ in unclaimed)


def _psutil_pids(port: int) -> Iterator[int | None]:
    import psutil

    try:
        found = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS tells everything to root only
        yield from (pid for pid in psutil.pids() if _psutil_listens(pid, port))
        return
    yield from (one.pid for one in found if _is_at(one.status, one.laddr, port))


def _is_at(status: str, address: tuple[object, ...], port: int) -> bool:
    return status == "LISTEN" and address[1:2] == (port,)


def _psutil_listens(pid: int, port: int) -> bool:
    import psutil

    try:
        found = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(_is_at(one.status, one.laddr, port) for one in found)

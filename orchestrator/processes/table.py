"""Every process of the machine as one small table: the only module that knows where the system keeps it.

On Linux one pass over /proc, which costs about 10 us a process; elsewhere psutil.
"""

import os
import re
import sys
from collections.abc import Iterator
from typing import Final

import attrs

from journal.identity import Identity, boot_id, start_ticks

SPAWN_MARKER = "COMFYGIT_JOURNAL_SPAWN"
"""Environment variable `<journal id>:<spawn seq>`: set for what we start, and inherited by what that one starts."""
NOBODYS: Final = "none"
"""What it holds for a process that outlives the ComfyUI that started it: like another's mark, none of that ComfyUI's."""
GROUP_NAME: Final = re.compile(r"comfygit-[0-9a-f]+-[0-9]+")
"""The name of the cgroup of a start."""

_STATE, _PARENT, _SESSION, _START = 0, 1, 3, 19  # proc(5) counts them 3, 4, 6 and 22, with pid and name before them

_CHUNK_BYTES = 64 * 1024


@attrs.frozen
class Row:
    """One process. `session` is the pid of its session's first process, 0 where there are no sessions."""

    pid: int
    start_ticks: int
    parent_pid: int
    session: int
    zombie: bool

    @property
    def identity(self) -> Identity:
        """Who it is."""
        return Identity(self.pid, self.start_ticks, boot_id())


def row(pid: int) -> Row | None:
    """The process `pid`, its zombie included; None when there is none. `pid` must be positive."""
    return _procfs_row(pid) if sys.platform == "linux" else _psutil_row(pid)


def rows() -> Iterator[Row]:
    """Every process that can be seen, zombies included. Not one moment's picture: processes come and go meanwhile."""
    return (found for pid in _pids() if (found := row(pid)) is not None)


def marker(pid: int) -> str:
    """What SPAWN_MARKER holds in the environment `pid` was started with; "" when unset, gone or not ours to read."""
    return _procfs_marker(pid) if sys.platform == "linux" else _psutil_marker(pid)


def name_of(pid: int) -> str:
    """What its program is called, at most 15 bytes on Linux; "" when it is gone."""
    if sys.platform == "linux":
        return _content(f"/proc/{pid}/comm").decode(errors="replace").strip()
    import psutil

    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return ""


def cgroup(pid: int) -> str:
    """The path of the cgroup v2 that `pid` is in, from the root group; "" where there is none."""
    if sys.platform != "linux":
        return ""
    lines = _content(f"/proc/{pid}/cgroup").split(b"\n")
    return next((os.fsdecode(line.removeprefix(b"0::")) for line in lines if line.startswith(b"0::")), "")


def group_name(mark: str) -> str:
    """What the cgroup of the start that SPAWN_MARKER holds as `mark` is called."""
    return f"comfygit-{mark.replace(':', '-')}"


def spawn_group(pid: int) -> str:
    """The name of the start's cgroup that `pid` is in, of nested ones the innermost; "" for none."""
    return next((part for part in reversed(cgroup(pid).split("/")) if GROUP_NAME.fullmatch(part)), "")


def _pids() -> Iterator[int]:
    if sys.platform == "linux":
        return (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - measured
    import psutil

    return iter(psutil.pids())


def _content(path: str) -> bytes:
    """All of a small file of /proc; b"" when it is gone or not ours to read. A third of the time that Path takes."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return _drained(descriptor)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _drained(descriptor: int) -> bytes:
    content = os.read(descriptor, _CHUNK_BYTES)
    while len(content) % _CHUNK_BYTES == 0 and (more := os.read(descriptor, _CHUNK_BYTES)):
        content += more
    return content


def _procfs_row(pid: int) -> Row | None:
    raw = _content(f"/proc/{pid}/stat")
    if not raw:
        return None
    fields = raw[raw.rfind(b")") + 2 :].split()
    return Row(pid, int(fields[_START]), int(fields[_PARENT]), int(fields[_SESSION]), fields[_STATE] in {b"Z", b"X"})


def _procfs_marker(pid: int) -> str:
    prefix = f"{SPAWN_MARKER}=".encode()
    found = next((item for item in _content(f"/proc/{pid}/environ").split(b"\0") if item.startswith(prefix)), prefix)
    return found.removeprefix(prefix).decode(errors="replace")


def _psutil_row(pid: int) -> Row | None:
    import psutil

    try:
        parent_pid = psutil.Process(pid).ppid()
        session = 0 if sys.platform == "win32" else os.getsid(pid)
    except (psutil.Error, OSError):
        return None
    ticks = start_ticks(pid)
    return Row(pid, ticks or 0, parent_pid, session, zombie=ticks is None)


def _psutil_marker(pid: int) -> str:
    import psutil

    try:
        return psutil.Process(pid).environ().get(SPAWN_MARKER, "")
    except (psutil.Error, OSError):
        return ""

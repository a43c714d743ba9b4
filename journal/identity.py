"""Who a process is: its pid, its start time and the boot it belongs to.

A bare pid is reused by the kernel, and `psutil.Process.create_time()` moves with the wall clock, so neither
is an identity. The start time in clock ticks since boot does not move; together with the boot id it is unique.
"""

import functools
import os
import sys
import uuid
from pathlib import Path

import attrs

_STAT_START_FIELD = 19  # of the fields after ")": proc(5) counts it as 22, from 1, with pid and comm before it


@attrs.frozen
class Identity:
    """One process for ever: `start_ticks` counts from boot (Linux: clock ticks; elsewhere: hundredths of a second)."""

    pid: int
    start_ticks: int
    boot_id: str


@functools.cache
def boot_id() -> str:
    """The id of this boot; where the system has none, one made of the boot time to the minute."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        import psutil

        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"boot at minute {psutil.boot_time() // 60:.0f}"))


def _read_stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the command name, which may itself hold spaces and parentheses."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except (OSError, ValueError):
        return None
    return raw[raw.rfind(b")") + 2 :].decode("ascii", "replace").split()


def _psutil_start_ticks(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return round((process.create_time() - psutil.boot_time()) * 100)
    except (psutil.Error, ValueError, OverflowError):
        return None


def start_ticks(pid: int) -> int | None:
    """When `pid` started; None when there is no such process, or only its zombie, or `pid` is not positive."""
    if pid <= 0:
        return None
    if sys.platform != "linux":
        return _psutil_start_ticks(pid)
    fields = _read_stat(pid)
    if fields is None or fields[0] in {"Z", "X"}:
        return None
    return int(fields[_STAT_START_FIELD])


def identify(pid: int) -> Identity | None:
    """The identity of the live process `pid`; None when there is none. Never raises, whatever `pid` is."""
    ticks = start_ticks(pid)
    return None if ticks is None else Identity(pid, ticks, boot_id())


def is_alive(identity: Identity) -> bool:
    """Whether exactly this process still runs; a zombie and a later owner of its pid do not count."""
    return identity.boot_id == boot_id() and start_ticks(identity.pid) == identity.start_ticks


def own_identity() -> Identity:
    """The identity of the calling process (read anew after a fork)."""
    found = identify(os.getpid())
    if found is None:  # no procfs and no psutil answer: still better a pid of this boot than none
        return Identity(os.getpid(), 0, boot_id())
    return found

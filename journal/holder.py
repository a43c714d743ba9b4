"""Who holds a lock: the system's table of locks says the pid, /proc the rest. Linux; elsewhere nobody is told."""

import os
import shlex
from pathlib import Path
from typing import Final

import attrs

from journal.masking import mask

_COMMAND_CHARS: Final = 200
_WAL_WRITE_LOCK: Final = "120"
"""The byte of the `-shm` file that SQLite locks while it writes to a WAL: its file format says so."""
_STOPPED: Final = frozenset({"T", "t"})  # by a signal; by a debugger


@attrs.frozen
class Holder:
    """The process that holds a lock. `command` is "" where it cannot be read; what is stopped never lets go by itself."""

    pid: int
    command: str
    is_stopped: bool

    def __str__(self) -> str:
        """In words, as in "process 4711 (python -m x; it is stopped)"."""
        known = [self.command, "it is stopped" if self.is_stopped else ""]
        in_brackets = "; ".join(filter(None, known))
        return f"process {self.pid} ({in_brackets})" if in_brackets else f"process {self.pid}"


def holder_of(path: Path) -> Holder | None:
    """The process that holds the kernel lock on this file; None where nobody does, or the system does not tell."""
    return _described(holder_pid(path))


def holder_pid(path: Path) -> int | None:
    """Its pid alone."""
    return _pid(path, "FLOCK", "")


def sqlite_writer(database: Path) -> Holder | None:
    """The other process that is in a write transaction on this SQLite file in WAL mode; None as above."""
    pid = _pid(database.with_name(f"{database.name}-shm"), "POSIX", _WAL_WRITE_LOCK)
    return None if pid == os.getpid() else _described(pid)


def _described(pid: int | None) -> Holder | None:
    return None if pid is None else Holder(pid, _command(pid), _state(pid) in _STOPPED)


def _pid(path: Path, wanted: str, first_byte: str) -> int | None:
    """Of whoever holds a lock of that kind there; `first_byte` of what is locked, "" for all of the file."""
    try:
        status = path.stat()
        lines = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return None
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in lines:
        _, kind, _, _, pid, locked, first, *_ = line.split()
        if kind != wanted or int(pid) <= 0 or first_byte not in {"", first}:  # one who waits has "->" for the kind
            continue
        if locked == file or (locked.endswith(f":{status.st_ino}") and _has_open(int(pid), status)):
            return int(pid)
    return None


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    """Some file systems (btrfs) have one device number in the table of locks and another one in `stat`."""
    try:
        return any(os.path.samestat(descriptor.stat(), wanted) for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _command(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    words = raw.decode("utf-8", "replace").split("\0")
    text = mask(shlex.join(filter(None, words)))
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= _COMMAND_CHARS else f"{text[:_COMMAND_CHARS]}..."


def _state(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return raw[raw.rfind(b")") + 2 :][:1].decode("ascii", "replace")

"""Whether a workspace is supervised, and by whom: asked before anything else, so it imports little."""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SINGLETON: Final = ".orchestrator.lock"
"""The file whose kernel lock makes an orchestrator the only one of its workspace. Its content means nothing."""

IS_ENDED_BY: Final = "it is shown by `comfygit-orchestrator status` and ended by `comfygit-orchestrator stop`"

_PID_FILE: Final = ".orchestrator.pid"
_PORT_FILE: Final = ".control_port"
_DELETED: Final = " (deleted)"
"""What Linux appends to the name of an open file that nobody finds by it any more."""
_LARGEST_PID: Final = 2**31 - 1
_LARGEST_PORT: Final = 65_535
_NUMBER_BYTES: Final = 16


def is_held(metadata: Path) -> bool:
    """Whether somebody holds the lock of the workspace of that `.metadata`; False where it cannot be told.

    Also where the lock's file was deleted, as far as the pid file tells. Changes nothing.
    """
    pid = _number(metadata / _PID_FILE, _LARGEST_PID)
    return _is_locked(metadata / SINGLETON) or (pid is not None and has_open(pid, metadata / SINGLETON))


def _is_locked(path: Path) -> bool:
    """The lock is asked for in common with others who only ask, and given back at once."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def holder_in_words(metadata: Path) -> str:
    """Who holds the workspace of that `.metadata`, and where its control server answers, by the files that say so.

    For a message, in milliseconds and without the journal. Anybody can write those files: only numbers are believed, and
    on Linux only the pid of something that runs. Changes nothing, waits for nothing, raises nothing.
    """
    pid, port = _number(metadata / _PID_FILE, _LARGEST_PID), _number(metadata / _PORT_FILE, _LARGEST_PORT)
    if pid is None or (sys.platform == "linux" and not Path(f"/proc/{pid}").exists()):
        return "an orchestrator that has only just started, or is about to end"
    return f"orchestrator pid {pid}, " + ("no control server" if port is None else f"http://127.0.0.1:{port}")


def refusal(root: Path, holder: str) -> str:
    """What whoever comes second is told; `holder` as from `holder_in_words`."""
    return f"{root} is supervised already: {holder}"


def has_open(pid: int, path: Path) -> bool:
    """Whether that process has the lock file at `path` open, also one that somebody has deleted there since.

    The kernel's lock is on the file: with its name gone, whoever asks for the lock gets another file's. False where the
    process may not be looked at.
    """
    return any(file.name == path.name and is_same(file.parent, path.parent) for file in _open_files(pid))


def _open_files(pid: int) -> Iterator[Path]:
    if sys.platform == "win32":  # nobody deletes there what is open
        return
    if sys.platform != "linux":
        import psutil

        with contextlib.suppress(psutil.Error):
            yield from (Path(file.path) for file in psutil.Process(pid).open_files())
        return
    with contextlib.suppress(OSError):  # it ends, or is somebody else's
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            yield Path(str(descriptor.readlink()).removesuffix(_DELETED))


def is_same(one: Path, other: Path) -> bool:
    """Whether both are there and the same, by whatever way."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _number(path: Path, largest: int) -> int | None:
    """The decimal number from 1 to `largest` that is all there is in a regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        text = os.read(descriptor, _NUMBER_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    number = int(text) if text.strip().isdigit() else 0
    return number if 0 < number <= largest else None

"""What kind of folder a journal lies in, and reading one where nothing can be written."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from journal.errors import JournalBusy, JournalOnNetwork
from journal.head import head_path

_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph", "lustre", "afs"}
)
_COPIES: Final = 10
_WAL_HEADER_BYTES: Final = 32


def network_file_system(path: Path, mounts: str) -> str:
    """The type of the network file system that `path` (resolved) is on, "" on a local one.

    `mounts` is the text of /proc/self/mountinfo.
    """
    found, depth = "", -1
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        mount_point = Path(_unescaped(left.split(" ")[4]))
        if path.is_relative_to(mount_point) and len(mount_point.parts) >= depth:  # of two on one folder, the later
            found, depth = right.split(" ")[0], len(mount_point.parts)
    return found if found in _NETWORK else ""


def _unescaped(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def refuse_network(journal: Path, mounts: Path = _MOUNTS) -> None:
    """Raises JournalOnNetwork. Says nothing where the system does not tell."""
    try:
        text = mounts.read_text("utf-8", "surrogateescape")
    except OSError:
        return
    file_system = network_file_system(journal, text)
    if file_system:
        raise JournalOnNetwork(journal, file_system)


def is_writable(folder: Path) -> bool:
    """Whether this process may create files in it."""
    return os.access(folder, os.W_OK)


def create_empty(journal: Path) -> None:
    """Make the file, mode 0600, durably, unless it exists. SQLite gives `-wal` and `-shm` the mode of the file."""
    try:
        descriptor = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    os.close(descriptor)
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(journal.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def copy_aside(journal: Path) -> "tempfile.TemporaryDirectory[str]":
    """A temporary folder with a consistent copy of head file, journal and WAL, under their names.

    Only for folders in which this process has no connection: reading the file by hand drops the locks of one. Raises
    JournalBusy when writers left no moment to copy it in, and OSError.
    """
    with contextlib.ExitStack() as undo:
        copy = tempfile.TemporaryDirectory(prefix="comfygit-journal-")
        undo.callback(copy.cleanup)
        for _ in range(_COPIES):
            before = _signature(journal)
            for source in (head_path(journal), journal, wal_path(journal)):  # the head file first: it may not be ahead
                _copy(source, Path(copy.name, source.name))
            if _signature(journal) == before:
                undo.pop_all()
                return copy
        raise JournalBusy(journal, None, "writes so much that it cannot be copied")


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        target.unlink(missing_ok=True)


def wal_path(journal: Path) -> Path:
    """Give where SQLite's write-ahead log of it is."""
    return journal.with_name(journal.name + "-wal")


def _signature(journal: Path) -> tuple[int, int, int, bytes]:
    """Same before and after: no checkpoint wrote to the journal and the WAL was not begun anew; it may have grown."""
    status = journal.stat()
    try:
        with wal_path(journal).open("rb") as wal:
            header = wal.read(_WAL_HEADER_BYTES)
    except FileNotFoundError:
        header = b""
    return status.st_ino, status.st_size, status.st_mtime_ns, header

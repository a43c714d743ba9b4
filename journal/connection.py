"""How SQLite is opened here, and where its errors and the system's become errors of the journal."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from journal.errors import (
    JournalBusy,
    JournalDamaged,
    JournalError,
    JournalForbidden,
    JournalMissing,
    JournalReadOnly,
    JournalStarved,
    JournalWriteFailed,
)
from journal.holder import Holder, sqlite_writer

BUSY_WAIT_S: Final = 5.0
"""How long SQLite waits for a lock of a program that does not take our write lock."""


def connect(path: Path, mode: Literal["rw", "ro"], busy_wait_s: float = BUSY_WAIT_S) -> sqlite3.Connection:
    """A connection in autocommit mode to an existing file; transactions are begun and ended in so many words."""
    return sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=busy_wait_s)


def prepare_for_writing(connection: sqlite3.Connection) -> None:
    """WAL, every commit on the disk, and no checkpoint but ours.

    Up to SQLite 3.51.2 a checkpoint of one connection that meets a commit of another can corrupt the file.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")


@contextmanager
def translating(path: Path) -> Iterator[None]:
    """Raises the journal's own errors for those of SQLite and of the system in its block."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a bug of ours: closed, or another thread
        raise
    except sqlite3.Error as exc:
        raise _of_sqlite(path, exc) from exc
    except OSError as exc:
        raise _of_system(path, exc) from exc


def _of_sqlite(path: Path, exc: sqlite3.Error) -> JournalError:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # none: text that is not UTF-8
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return busy(path, sqlite_writer(path), f"keeps it locked ({exc})")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
        return JournalReadOnly(path, str(exc))
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return JournalWriteFailed(path, str(exc))
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return JournalDamaged(None, str(exc))
    if code == sqlite3.SQLITE_CANTOPEN:
        return JournalForbidden(path, str(exc)) if path.exists() else JournalMissing(path, str(exc))
    return JournalError(f"use {path}: {exc}", "run `comfygit-journal verify`")


def busy(path: Path, holder: Holder | None, what: str) -> JournalBusy:
    """The error that names the holder, where it is known."""
    if holder is None:
        return JournalBusy(path, None, what)
    return JournalBusy(path, holder.pid, what, holder=str(holder), is_stopped=holder.is_stopped)


def _of_system(path: Path, exc: OSError) -> JournalError:
    said = exc.strerror or str(exc)
    if exc.errno in {errno.EACCES, errno.EPERM}:
        return JournalForbidden(path, said)
    if exc.errno == errno.EROFS:
        return JournalReadOnly(path, said)
    if exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}:
        return JournalWriteFailed(path, said)
    if exc.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
        return JournalStarved(path, said)
    if exc.errno in {errno.ENOENT, errno.ENOTDIR}:
        return JournalMissing(path, said)
    return JournalError(f"use {path}: {said}")

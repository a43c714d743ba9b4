"""Which error of the journal stands for which of SQLite and of the system."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from journal import (
    JournalBusy,
    JournalConflict,
    JournalDamaged,
    JournalError,
    JournalForbidden,
    JournalMissing,
    JournalOnNetwork,
    JournalReadOnly,
    JournalStarved,
    JournalTooNew,
    JournalWriteFailed,
)
from journal.connection import translating

PATH = Path("/nowhere/.metadata/journal.db")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.EACCES, JournalForbidden),
        (errno.EPERM, JournalForbidden),
        (errno.EROFS, JournalReadOnly),
        (errno.ENOSPC, JournalWriteFailed),
        (errno.EDQUOT, JournalWriteFailed),
        (errno.EIO, JournalWriteFailed),
        (errno.ENOENT, JournalMissing),
        (errno.ENOTDIR, JournalMissing),
        (errno.EMFILE, JournalStarved),
        (errno.ENAMETOOLONG, JournalError),
    ],
)
def test_an_error_of_the_system_is_translated(code: int, error: type[JournalError]):
    with pytest.raises(JournalError) as caught, translating(PATH):
        raise OSError(code, os.strerror(code), str(PATH))

    assert type(caught.value) is error
    assert str(PATH) in caught.value.message
    assert os.strerror(code) in caught.value.message
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (sqlite3.SQLITE_BUSY, JournalBusy),
        (sqlite3.SQLITE_BUSY_RECOVERY, JournalBusy),
        (sqlite3.SQLITE_READONLY_DBMOVED, JournalReadOnly),
        (sqlite3.SQLITE_FULL, JournalWriteFailed),
        (sqlite3.SQLITE_IOERR_FSYNC, JournalWriteFailed),
        (sqlite3.SQLITE_CORRUPT, JournalDamaged),
        (sqlite3.SQLITE_NOTADB, JournalDamaged),
        (sqlite3.SQLITE_CANTOPEN, JournalMissing),
        (sqlite3.SQLITE_TOOBIG, JournalError),
        (None, JournalDamaged),
    ],
)
def test_an_error_of_sqlite_is_translated(code: int | None, error: type[JournalError]):
    raised = sqlite3.OperationalError("what SQLite says")
    if code is not None:
        raised.sqlite_errorcode = code

    with pytest.raises(JournalError) as caught, translating(PATH):
        raise raised

    assert type(caught.value) is error
    assert "what SQLite says" in caught.value.message
    assert caught.value.__cause__ is raised


def test_a_file_that_is_there_and_cannot_be_opened_is_forbidden():
    raised = sqlite3.OperationalError("unable to open database file")
    raised.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN

    with pytest.raises(JournalForbidden), translating(Path(__file__)):
        raise raised


@pytest.mark.parametrize("bug", [sqlite3.ProgrammingError("closed"), KeyError("x"), JournalConflict(1, 2)], ids=repr)
def test_a_bug_and_what_is_translated_already_pass(bug: Exception):
    with pytest.raises(type(bug)) as caught, translating(PATH):
        raise bug

    assert caught.value is bug


@pytest.mark.parametrize(
    "error",
    [
        JournalConflict(41, 43),
        JournalDamaged(7, "no JSON"),
        JournalDamaged(None, "no database"),
        JournalTooNew("schema version 3", "up to version 1"),
        JournalOnNetwork(PATH, "nfs4"),
        JournalBusy(PATH, 4711, "has held the write lock for more than 10 s"),
        JournalBusy(PATH, None, "keeps it locked"),
        JournalReadOnly(PATH, "it was opened for reading"),
        JournalForbidden(PATH, "Permission denied"),
        JournalMissing(PATH),
        JournalWriteFailed(PATH, "No space left on device"),
        JournalStarved(PATH, "Too many open files"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_says_what_was_found_and_what_to_do(error: JournalError):
    assert error.message
    assert error.hint
    assert str(error) == f"{error.message}; {error.hint}"
    for fact in (getattr(error, name, None) for name in ("expected", "found", "seq", "path", "holder_pid", "what")):
        assert fact is None or str(fact) in str(error)


def test_an_error_without_a_hint_is_its_message():
    assert str(JournalError("what was found")) == "what was found"

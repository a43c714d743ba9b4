"""The journal: append, read, follow.

Every writer, in whatever process, holds one kernel lock while it opens, appends, checkpoints and closes; readers hold
none. A `Journal` belongs to the thread that opened it.
"""

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Self

from journal import clock, head, schema
from journal.clock import Stamp
from journal.codec import Actor, Draft, Recorded, encode, own_actor
from journal.connection import BUSY_WAIT_S, connect, prepare_for_writing, translating
from journal.doorbell import Doorbell
from journal.errors import JournalConflict, JournalError, JournalMissing, JournalReadOnly
from journal.events import JournalCreated
from journal.folder import copy_aside, create_empty, is_writable, refuse_network, wal_path
from journal.head import Anchor, Head, head_path
from journal.rows import INSERT, RawRow, chained, head_of, recorded, select, select_newest, select_raw
from journal.writelock import WAIT_S, WriteLock

__all__ = ["Journal", "own_actor"]

_POLL_S: Final = 1.0
_WAL_LIMIT_BYTES: Final = 4 << 20
_CHECKPOINT_EVENTS: Final = 512  # the WAL never shrinks: once above the limit, its size says no more when one is due
_CLOSE_WAIT_S: Final = 2.0


def _never() -> bool:
    return False


class Journal:
    """One connection to a journal. Made by `open` or `open_readonly`; a context manager that closes it.

    `path`: of the journal. `anchor_problem`: how the head file contradicts it, "" when it does not.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        writer: tuple[Actor, WriteLock] | None = None,
        copy: TemporaryDirectory[str] | None = None,
    ) -> None:
        self.path = path
        self.anchor_problem = ""
        self._connection = connection
        self._writer = writer
        self._copy = copy
        self._head_path = head_path(path if copy is None else Path(copy.name, path.name))
        self._file_id = _file_id(path)
        self._anchor = Anchor.OK
        self._busy_wait_s = BUSY_WAIT_S

    @classmethod
    def open(cls, path: Path, actor: Actor, *, wait_s: float = WAIT_S) -> Self:
        """For writing; created, or brought to this release's schema, as needed.

        `wait_s`: for the write lock. Raises JournalBusy, JournalForbidden, JournalOnNetwork, JournalReadOnly,
        JournalTooNew, JournalDamaged, JournalWriteFailed, and JournalMissing when there is no such folder.
        """
        path = path.resolve()
        with translating(path):
            if not path.parent.is_dir():
                raise JournalMissing(path, "no such folder")
        refuse_network(path)
        lock = WriteLock(path.with_suffix(".lock"), wait_s)
        with lock.held(), translating(path), contextlib.ExitStack() as undo:
            create_empty(path)
            connection = connect(path, "rw", min(wait_s, BUSY_WAIT_S))
            undo.callback(connection.close)
            found = schema.found_version(connection)
            prepare_for_writing(connection)
            if found < schema.VERSION:
                schema.migrate(connection, found)
            journal = cls(path, connection, (actor, lock))
            journal._busy_wait_s = min(wait_s, BUSY_WAIT_S)
            journal._begin()
            undo.pop_all()
        return journal

    @classmethod
    def open_readonly(cls, path: Path) -> Self:
        """For reading; changes nothing. Where the folder cannot be written, it reads a copy of what is there now.

        Raises JournalMissing (also for one that is just being created), JournalForbidden, JournalTooNew,
        JournalDamaged.
        """
        path = path.resolve()
        with translating(path), contextlib.ExitStack() as undo:
            if not path.is_file():
                raise JournalMissing(path)
            copy = None if is_writable(path.parent) else copy_aside(path)
            if copy is not None:
                undo.callback(copy.cleanup)
            connection = connect(path if copy is None else Path(copy.name, path.name), "ro")
            undo.callback(connection.close)
            if schema.found_version(connection) == 0:
                raise JournalMissing(path, "the journal has not been created yet")
            journal = cls(path, connection, None, copy)
            journal._look_at_anchor()
            undo.pop_all()
        return journal

    def writing(self, wait_s: float | None = None) -> AbstractContextManager[None]:
        """Hold the write lock of all processes in this block; reentrant. Raises JournalBusy, JournalReadOnly.

        `wait_s`: for it, and then for a program that does not take it, where that is less than without.
        """
        if wait_s is not None and wait_s < self._busy_wait_s:
            self._busy_wait_s = wait_s
            self._connection.execute(f"PRAGMA busy_timeout = {round(wait_s * 1000)}").close()
        return self._as_writer()[1].held(wait_s)

    def append(
        self, drafts: Sequence[Draft], expected_seq: int | None = None, at: Stamp | None = None
    ) -> tuple[Recorded, ...]:
        """Store all drafts or none, durably, with seqs in a row; `at` is now unless given.

        Raises JournalConflict when `expected_seq` is given and is not the last seq; JournalBusy, JournalWriteFailed,
        JournalReadOnly, JournalTooNew; JournalMissing when the file was removed or replaced meanwhile; TypeError for an
        event that would not be read back equal, ValueError for a switch or cause that cannot have happened.
        """
        actor, lock = self._as_writer()
        encoded = [(draft, encode(draft.event)) for draft in drafts]
        if not encoded:
            return ()
        with lock.held(), translating(self.path):
            if _file_id(self.path) != self._file_id:
                raise JournalMissing(self.path, "the file that was opened is no longer there")
            with self._transaction():
                before = head_of(self._connection)
                if expected_seq is not None and before.seq != expected_seq:
                    raise JournalConflict(expected_seq, before.seq)
                new = chained(before, encoded, at or clock.read(), actor)
                self._connection.executemany(INSERT, [row for row, _ in new])
            last = new[-1][1]
            self._after_commit(before.seq, Head(last.seq, last.hash))
        return tuple([record for _, record in new])

    def head(self) -> tuple[int, bytes]:
        """Seq and hash of the last event; (0, GENESIS) when there is none."""
        with translating(self.path):
            found = head_of(self._connection)
        return found.seq, found.hash

    def read(
        self, after: int = 0, *, until: int | None = None, switch: int | None = None, limit: int | None = None
    ) -> Iterator[Recorded]:
        """Events with a seq above `after` and at most `until`, ascending, also those that come while it is on its way.

        Holds no read transaction while the caller works. Raises JournalDamaged or JournalTooNew at the first event that
        is it.
        """
        with translating(self.path):
            yield from map(recorded, select(self._connection, after, until, switch, limit))

    def newest(self, limit: int, *, switch: int | None = None, types: Sequence[str] = ()) -> list[Recorded]:
        """The last `limit` events, ascending; of that switch, and with one of these stored names, where given."""
        with translating(self.path):
            return [recorded(row) for row in select_newest(self._connection, limit, switch, types)]

    def read_raw(self, after: int = 0, *, until: int | None = None) -> Iterator[RawRow]:
        """As `read`, but what is stored, neither checked nor decoded.

        Raises JournalDamaged where the file cannot be read on.
        """
        with translating(self.path):
            yield from select_raw(self._connection, after, until)

    def data_version(self) -> int:
        """A number that changes when another connection commits; to compare with an earlier one of this object."""
        with translating(self.path):
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def follow(
        self, after: int, *, poll_s: float = _POLL_S, stop: Callable[[], bool] = _never
    ) -> Generator[Recorded, None, None]:
        """Events above `after`, those to come as well: blocks until there is one.

        The head file wakes it; it looks every `poll_s` anyway, for a writer that died before writing that. Ends when
        `stop()` is true at a wake-up. In a folder that cannot be written it sees only what was there when the journal
        was opened.
        """
        with contextlib.closing(Doorbell(self._head_path)) as bell:
            while not stop():
                for record in self.read(after):
                    after = record.seq
                    yield record
                bell.wait(poll_s)

    def anchor(self) -> Anchor:
        """How the head file stands to the journal."""
        with translating(self.path):
            found = self._compare()
            return self._compare() if found is Anchor.BEHIND else found  # a writer may have been between the two

    def close(self) -> None:
        """Close it. Closing twice is harmless."""
        with contextlib.ExitStack() as stack:
            if self._writer is not None:  # the last one to close checkpoints
                with contextlib.suppress(
                    JournalError
                ):  # a holder has it open, so ours is not the last; or no lock can be
                    stack.enter_context(self._writer[1].held(_CLOSE_WAIT_S))
            self._connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _as_writer(self) -> tuple[Actor, WriteLock]:
        if self._writer is None:
            raise JournalReadOnly(self.path, "it was opened for reading")
        return self._writer

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            schema.refuse_newer(self._connection)  # a newer release may have migrated it under us
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # some failures have rolled back already
                self._connection.execute("ROLLBACK")
            raise

    def _begin(self) -> None:
        self._look_at_anchor()
        now = head_of(self._connection)
        if now.seq == 0:
            created = JournalCreated(journal_id=uuid.uuid4().hex, workspace=str(self.path.parent.parent))
            self.append([Draft(created)])
        elif self._anchor in {Anchor.BEHIND, Anchor.MISSING}:
            self._write_head(now)

    def _look_at_anchor(self) -> None:
        self._anchor = self.anchor()
        self.anchor_problem = head.problem(self.path, self._anchor)

    def _after_commit(self, before_seq: int, last: Head) -> None:
        """What belongs to an append but can no longer make it fail."""
        self._write_head(last)
        if before_seq // _CHECKPOINT_EVENTS != last.seq // _CHECKPOINT_EVENTS:
            with contextlib.suppress(OSError, sqlite3.Error):  # the WAL stays as it is until the next one
                if wal_path(self.path).stat().st_size > _WAL_LIMIT_BYTES:
                    self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _write_head(self, last: Head) -> None:
        try:
            if self._anchor.is_alarming:
                head.keep_lost(self.path)
                self._anchor = Anchor.OK
            head.write(self._head_path, last)
        except OSError as exc:
            self.anchor_problem = f"the head file could not be written: {exc}"

    def _compare(self) -> Anchor:
        file = head.read(self._head_path)  # before the journal
        return head.compare(file, head_of(self._connection), self._hash_at)

    def _hash_at(self, seq: int) -> bytes | None:
        row = self._connection.execute("SELECT hash FROM events WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else row[0]


def _file_id(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino

"""What a stored event is: its columns, its place in the hash chain, and how rows are read."""

import hashlib
import sqlite3
import struct
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from journal.clock import Stamp
from journal.codec import Actor, Draft, Recorded, decode, decode_actor, encode_actor
from journal.errors import JournalDamaged, JournalTooNew
from journal.head import Head

GENESIS: Final = bytes(32)
"""The hash before the first event."""

CHUNK: Final = 512
"""Rows per query: no read transaction is open while the caller works on what it got."""

COLUMNS: Final = "seq, id, type, version, wall_ns, monotonic_ns, boot_id, actor, switch, cause, data, hash"
Row: TypeAlias = tuple[Any, ...]
"""One of COLUMNS, texts as `str`."""
INSERT: Final = f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
_SELECT: Final = f"SELECT {COLUMNS} FROM events"  # noqa: S608 - constants
_SELECT_RAW: Final = (
    "SELECT seq, CAST(id AS BLOB), CAST(type AS BLOB), version, wall_ns, monotonic_ns, CAST(boot_id AS BLOB),"
    " CAST(actor AS BLOB), switch, cause, CAST(data AS BLOB), hash FROM events"
)

LOOKAHEAD: Final = 1000
"""An envelope names a switch at most this many events ahead of itself: in the transaction that requests it. So one
switch is found without an index, which would cost a page per commit (p50 + 6 %)."""

_FIXED: Final = struct.Struct(">qqqqqqBIIIII")


class RawRow(NamedTuple):
    """A row as it is stored, texts as their bytes: for checking and copying. A damaged one may hold anything."""

    seq: int
    id: bytes
    type: bytes
    version: int
    wall_ns: int
    monotonic_ns: int
    boot_id: bytes
    actor: bytes
    switch: int | None
    cause: int | None
    data: bytes
    hash: bytes


def link(previous: bytes, row: Row) -> bytes:
    """The hash of a row with its texts as bytes: sha256 of the hash before it and of every column but the hash.

    After the hash before it: seq, version, wall_ns, monotonic_ns, switch and cause (0 when null) as signed 64 bits, one
    byte with bit 0 for a switch and bit 1 for a cause that is not null, the lengths of id, type, boot_id, actor and
    data as unsigned 32 bits, all big endian; then these five texts. Raises struct.error or TypeError for a row that
    holds other types.
    """
    seq, row_id, stored_name, version, wall_ns, monotonic_ns, boot_id, actor, switch, cause, data = row[:11]
    fixed = _FIXED.pack(
        seq,
        version,
        wall_ns,
        monotonic_ns,
        0 if switch is None else switch,
        0 if cause is None else cause,
        (switch is not None) | (cause is not None) << 1,
        len(row_id),
        len(stored_name),
        len(boot_id),
        len(actor),
        len(data),
    )
    return hashlib.sha256(b"".join((previous, fixed, row_id, stored_name, boot_id, actor, data))).digest()


def chained(before: Head, encoded: Sequence[tuple[Draft, str]], at: Stamp, actor: Actor) -> list[tuple[Row, Recorded]]:
    """What follows `before`: rows of COLUMNS to insert, and the same as events.

    Raises ValueError for a switch or cause that cannot have happened.
    """
    new: list[tuple[Row, Recorded]] = []
    seq, previous, who = before.seq, before.hash, encode_actor(actor)
    stamp = (at.wall_ns, at.monotonic_ns, at.boot_id)
    for draft, data in encoded:
        seq += 1
        for name, other in (("switch", draft.switch), ("cause", draft.cause)):
            if other is not None and not 1 <= other <= seq + LOOKAHEAD:
                message = f"event {seq} cannot have {name} {other}: there is no such event yet"
                raise ValueError(message)
        row_id, kind = uuid.uuid4().hex, (draft.event.stored_name, draft.event.version)
        row = (seq, row_id, *kind, *stamp, who, draft.switch, draft.cause, data)
        previous = link(previous, tuple([column.encode() if type(column) is str else column for column in row]))
        record = Recorded(seq, row_id, draft.event, at, actor, draft.switch, draft.cause, previous)
        new.append(((*row, previous), record))
    return new


def head_of(connection: sqlite3.Connection) -> Head:
    """The last event; seq 0 and GENESIS when there is none."""
    row = connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(0, GENESIS) if row is None else Head(*row)


def recorded(row: Row) -> Recorded:
    """The event in a row of COLUMNS. Raises JournalDamaged, JournalTooNew."""
    seq, row_id, stored_name, version, wall_ns, monotonic_ns, boot_id, actor, switch, cause, data, digest = row
    try:
        event = decode(stored_name, version, data)
        stamp = Stamp(wall_ns, monotonic_ns, boot_id)
        who = decode_actor(actor)
    except JournalDamaged as exc:
        raise JournalDamaged(seq, exc.what) from exc
    except JournalTooNew as exc:
        found = f"{exc.found} at seq {seq}"
        raise JournalTooNew(found, exc.supported) from exc
    return Recorded(seq, row_id, event, stamp, who, switch, cause, digest)


def select(
    connection: sqlite3.Connection, after: int, until: int | None, switch: int | None, limit: int | None
) -> Iterator[Row]:
    """Rows of COLUMNS, ascending. Raises JournalDamaged where the file cannot be read on; all before that is given."""
    condition, values = "", []
    if switch is not None:
        condition, values = " AND switch = ?", [switch]
        after = max(after, switch - LOOKAHEAD - 1)
    yield from _page(connection, _SELECT, condition, values, after, until, limit)


def select_raw(connection: sqlite3.Connection, after: int, until: int | None) -> Iterator[RawRow]:
    """Every row after `after`, up to `until`, ascending, as it is stored. Raises JournalDamaged as `select` does."""
    for row in _page(connection, _SELECT_RAW, "", [], after, until, None):
        yield RawRow._make(row)


def select_newest(connection: sqlite3.Connection, limit: int, switch: int | None, types: Sequence[str]) -> list[Row]:
    """The last `limit` rows of COLUMNS that fit, ascending."""
    conditions, values = ["1"], list[object]()
    if switch is not None:
        conditions += ["seq >= ?", "switch = ?"]
        values += [switch - LOOKAHEAD, switch]
    if types:
        conditions.append(f"type IN ({', '.join('?' * len(types))})")
        values += types
    query = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY seq DESC LIMIT ?"
    return connection.execute(query, (*values, limit)).fetchall()[::-1]


def _page(
    connection: sqlite3.Connection,
    query: str,
    condition: str,
    values: list[int],
    after: int,
    until: int | None,
    limit: int | None,
) -> Iterator[Row]:
    last = 2**63 - 1 if until is None else until
    query += f" WHERE seq > ? AND seq <= ?{condition} ORDER BY seq LIMIT ?"
    left = 2**63 - 1 if limit is None else limit
    size = CHUNK
    while left > 0:
        wanted = min(size, left)
        try:
            chunk = connection.execute(query, (after, last, *values, wanted)).fetchall()
        except sqlite3.DatabaseError as exc:
            if not _is_damage(exc):
                raise
            if size == 1:
                raise JournalDamaged(after + 1, f"the file cannot be read on from here: {exc}") from exc
            size = max(1, size // 2)
            continue
        yield from chunk
        if len(chunk) < wanted:
            return
        left -= len(chunk)
        after = chunk[-1][0]


def _is_damage(exc: sqlite3.DatabaseError) -> bool:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # none: text that is not UTF-8
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR}

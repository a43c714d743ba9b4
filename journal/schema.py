"""The tables, as numbered steps. `PRAGMA user_version` says how many a file has seen.

sqlite-utils does the steps; its own bookkeeping of migrations is not used because it reads a clock. It is imported only
when a step is due: 0.1 s.
"""

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from journal.errors import JournalDamaged, JournalTooNew

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID: Final = 0x43474A31
"""Marks the file as ours for `file` and other tools: "CGJ1"."""


def _events_table(database: "Database") -> None:
    columns = {
        "seq": int,
        "id": str,
        "type": str,
        "version": int,
        "wall_ns": int,
        "monotonic_ns": int,
        "boot_id": str,
        "actor": str,
        "switch": int,
        "cause": int,
        "data": str,
        "hash": bytes,
    }
    required = set(columns) - {"seq", "switch", "cause"}
    database.table("events").create(columns, pk="seq", not_null=required, strict=True)
    is_no_successor = "WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)"
    for name, moment, message in (
        ("events_stay", "BEFORE UPDATE ON events", "events are never changed"),
        ("events_remain", "BEFORE DELETE ON events", "events are never deleted"),
        # It is also what stops INSERT OR REPLACE, which deletes without firing a trigger.
        ("events_follow", f"BEFORE INSERT ON events {is_no_successor}", "this is not the next seq"),
    ):
        database.execute(f"CREATE TRIGGER {name} {moment} BEGIN SELECT RAISE(ABORT, '{message}'); END")


STEPS: "tuple[Callable[[Database], None], ...]" = (_events_table,)
"""Step n makes schema version n of version n - 1. A released step never changes."""

VERSION: Final = len(STEPS)


def refuse_newer(connection: sqlite3.Connection) -> int:
    """How many steps the file has seen, 0 for a new one. Raises JournalTooNew."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        found = f"schema version {version}"
        raise JournalTooNew(found, f"up to version {VERSION}")
    return version


def found_version(connection: sqlite3.Connection) -> int:
    """As `refuse_newer`, and raises JournalDamaged for a database of another program."""
    found = refuse_newer(connection)
    (tables,) = connection.execute(
        "SELECT count(*) FROM sqlite_master"
    ).fetchone()  # first: it may be created right now
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID and (application_id or tables):
        raise JournalDamaged(None, "this is a database of another program")
    return found


def migrate(connection: sqlite3.Connection, found: int) -> None:
    """Take the steps after `found`, all or none. The caller holds the write lock."""
    from sqlite_utils import Database

    database = Database(connection, recursive_triggers=False, execute_plugins=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in STEPS[found:]:
            step(database)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

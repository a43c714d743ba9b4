"""The least that starts a program again: `Popen; wait`, as long as it leaves with 42. A program of its own.

`floor_loop.py DATABASE COMMAND...`: with a DATABASE ("-": none) it commits before and after each start, durably (SQLite,
WAL, FULL), what a journal of a restart holds: four rows of 600 bytes, and one.
"""

import sqlite3
import subprocess
import sys

ROW = ("process.exited", "x" * 600)


def main(database: str, command: list[str]) -> None:
    """Until it leaves with another code."""
    connection = None if database == "-" else opened(database)
    while True:
        commit(connection, 4)
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        commit(connection, 1)
        if child.wait() != 42:  # noqa: PLR2004 - as ComfyUI says it
            return


def opened(path: str) -> sqlite3.Connection:
    """A new database."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, type TEXT, data TEXT) STRICT")
    return connection


def commit(connection: sqlite3.Connection | None, rows: int) -> None:
    """One transaction."""
    if connection is None:
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO events (type, data) VALUES (?, ?)", [ROW] * rows)
    connection.execute("COMMIT")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

"""The commonest question, `log -n 20`, answered before click, attrs and cattrs could even be imported.

Whatever is not the plain case (another option, a folder that cannot be written, a journal that is damaged, has lost its
tail or is of another release) is left to the whole program by answering None: errors and help have one place.
"""

# pathlib takes as long to import as everything that is done here:
# ruff: noqa: PTH109, PTH110, PTH111, PTH112, PTH113, PTH118, PTH120, PTH123

import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from comfygit_journal.lines import document, rendered

SCHEMA_VERSION = 1
"""The schema that the query below was written for."""

_VALUED = {"-n": "count", "--number": "count", "-o": "output", "--output": "output", "--workspace": "workspace"}
_DIGITS_MAX = 10
_OUTPUTS = {"short", "json", "jsonl"}
_NEWEST = (
    "SELECT seq, id, type, version, wall_ns, monotonic_ns, boot_id, actor, switch, cause, data, hash"
    " FROM events ORDER BY seq DESC LIMIT ?"
)


def run(arguments: Sequence[str]) -> int | None:
    """Print the newest events and give 0; None, with nothing printed, when that is not all there is to do."""
    wish = understood(arguments)
    if wish is None:
        return None
    root = wish["workspace"] or workspace_root()
    rows = newest(root, int(wish["count"])) if root else None
    if rows is None:
        return None
    documents = [document(row) for row in rows]
    if any("damaged" in found for found in documents):
        return None
    sys.stdout.writelines(f"{line}\n" for line in rendered(documents, wish["output"]))
    return 0


def understood(arguments: Sequence[str]) -> dict[str, str] | None:
    """Count, output and workspace of a plain `log -n COUNT`; None for any other command line."""
    if not arguments or arguments[0] != "log":
        return None
    wish = {"count": "", "output": "short", "workspace": ""}
    rest = iter(arguments[1:])
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--json":
            wish["output"] = "json"
        elif name in _VALUED and (equals == "" or name.startswith("--")):
            wish[_VALUED[name]] = value if equals else next(rest, "")
        else:
            return None
    count = wish["count"]
    plain = count.isascii() and count.isdigit() and len(count) < _DIGITS_MAX and int(count) > 0
    return wish if plain and wish["output"] in _OUTPUTS else None


def workspace_root() -> str:
    """The workspace by the same rules as `orchestrator.workspace.find_workspace_root`; "" when there is none."""
    return next((folder for folder in _candidates() if os.path.isdir(os.path.join(folder, ".metadata"))), "")


def _candidates() -> Iterator[str]:
    named = os.environ.get("COMFYGIT_HOME")
    if named:
        yield named
    yield os.path.expanduser("~/comfygit")
    try:
        here = os.getcwd()
    except OSError:  # deleted under us
        return
    yield here
    while here != (above := os.path.dirname(here)):
        here = above
        yield here


def newest(root: str, count: int) -> list[Sequence[Any]] | None:
    """The last `count` rows, ascending; None where anything is out of the ordinary."""
    folder = os.path.realpath(os.path.join(root, ".metadata"))
    path = os.path.join(folder, "journal.db")
    if os.name == "nt" or not os.path.isfile(path) or not os.access(folder, os.W_OK):
        return None
    head = _head(folder)
    try:
        rows = _select(path, count)
    except (sqlite3.Error, OverflowError):
        return None
    if not rows or head is None:
        return None
    seq, digest = head
    known = {row[0]: row[-1] for row in rows}
    return rows if seq in known and known[seq] == digest else None


def _head(folder: str) -> tuple[int, bytes] | None:
    """What the head file says; None when it is no head file, or tells of a tail that was lost."""
    if os.path.exists(os.path.join(folder, "journal.head.lost")):
        return None
    try:
        with open(os.path.join(folder, "journal.head"), "rb") as file:
            content = file.read()
    except OSError:
        return None
    return int.from_bytes(content[8:16], "big"), content[16:]


def _select(path: str, count: int) -> list[Sequence[Any]]:
    uri = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(f"file:{uri}?mode=ro", uri=True)
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            return []
        return connection.execute(_NEWEST, (count,)).fetchall()[::-1]
    finally:
        connection.close()

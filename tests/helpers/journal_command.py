"""`comfygit-journal` run in this process, and journals to run it on."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from comfygit_journal.cli import main


@attrs.frozen
class Outcome:
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line on a workspace (None: the one that is found)."""

    def run(root: Path | None, command: str, *more: str) -> Outcome:
        where = [] if root is None else ["--workspace", str(root)]
        code = main([*command.split(), *more, *where])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def database(root: Path) -> Path:
    return root / ".metadata" / "journal.db"


@contextmanager
def tampering(root: Path) -> Iterator[sqlite3.Connection]:
    """A connection that is not held to what the journal allows."""
    connection = sqlite3.connect(database(root), isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    yield connection
    connection.close()

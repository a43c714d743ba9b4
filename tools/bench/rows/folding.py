"""A long journal: read and folded into the state, and verified."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Budget, Row, Sample
from bench.long_journal import write_long_journal
from bench.session import Session
from journal.chain import verify
from journal.store import Journal
from projections.evolve import fold

EVENTS = 200_000
TIMES = 3
FOLD_US = 8.0
VERIFIED = 200_000.0


def measure(session: Session) -> Iterator[Row]:
    """Two rows, of the same journal."""
    path = write_long_journal(session.fresh("long"), session.n(EVENTS, 1_000))
    folded = tuple(_us_per_event(path, _fold) for _ in range(TIMES))
    rows_only = tuple(_us_per_event(path, _rows_only) for _ in range(TIMES))
    checked = tuple(1e6 / _us_per_event(path, _verify) for _ in range(TIMES))
    yield Row(
        "fold",
        f"{session.n(EVENTS, 1_000):,} stored events folded into the state",
        "us/event",
        Sample("ours", folded),
        (Sample("rows only", rows_only),),
        budget=Budget(FOLD_US),
    )
    yield Row(
        "verify", "the same verified", "events/s", Sample("ours", checked), budget=Budget(VERIFIED, at_least=True)
    )


def _us_per_event(path: Path, work: Callable[[Path], int]) -> float:
    began = time.perf_counter()
    events = work(path)
    return (time.perf_counter() - began) * 1e6 / events


def _fold(path: Path) -> int:
    with Journal.open_readonly(path) as journal:
        return fold(journal.read()).seq


def _rows_only(path: Path) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return sum(1 for _ in connection.execute("SELECT * FROM events ORDER BY seq"))
    finally:
        connection.close()


def _verify(path: Path) -> int:
    with Journal.open_readonly(path) as journal:
        verdict = verify(journal)
    if not verdict.ok:
        raise RuntimeError(verdict.problems)
    return verdict.events

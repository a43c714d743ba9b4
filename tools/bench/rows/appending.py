"""One event, durably: our whole protocol, the disk alone, and the recorder of the `eventsourcing` package, taking turns."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Budget, Row, Sample
from bench.peers.install import eventsourcing_python
from bench.session import Session
from journal.codec import Draft, own_actor
from journal.events import StatusSet
from journal.store import Journal

BLOCKS = 10
EACH = 50
BYTES = 300
OF_FLOOR = 1.8
PEER = "eventsourcing"
PROGRAM = Path(__file__).parent.parent / "eventsourcing_append.py"


def measure(session: Session) -> Iterator[Row]:
    """One row."""
    ours: list[float] = []
    floor: list[float] = []
    theirs: list[float] = []
    folder = session.fresh("append")
    with (
        Journal.open(_metadata(folder) / "journal.db", own_actor("bench")) as journal,
        _eventsourcing(session, folder) as append,
    ):
        descriptor = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for _ in range(session.n(BLOCKS)):
            floor += _timed(lambda: _write(descriptor), EACH)
            ours += _timed(lambda: _append(journal), EACH)
            theirs += [] if append is None else append(EACH)
        os.close(descriptor)
    bottom = Sample(f"fdatasync of {BYTES} bytes", tuple(floor))
    peer = Sample(PEER, tuple(theirs), "" if theirs else "not installed")
    limit = min(OF_FLOOR * bottom.p50, peer.p50) if theirs else OF_FLOOR * bottom.p50
    yield Row(
        "append",
        "a durable append, the whole protocol",
        "ms",
        Sample("ours", tuple(ours)),
        (bottom,),
        (peer,),
        Budget(limit),
        notes=(f"the budget is {OF_FLOOR} x the floor, and not more than {PEER}",),
    )


def _metadata(folder: Path) -> Path:
    made = folder / "workspace" / ".metadata"
    made.mkdir(parents=True)
    return made


def _timed(act: Callable[[], object], count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter_ns()
        act()
        taken.append((time.perf_counter_ns() - began) / 1e6)
    return taken


def _write(descriptor: int) -> None:
    os.write(descriptor, b"x" * BYTES)
    os.fdatasync(descriptor)


def _append(journal: Journal) -> None:
    journal.append([Draft(StatusSet(state="x", progress=0, message="x" * 200, fields=""))])


@contextmanager
def _eventsourcing(session: Session, folder: Path) -> Iterator[Callable[[int], list[float]] | None]:
    """What appends that many events there, and says how long each took; None where the package is not installed."""
    python = None if not session.peers else eventsourcing_python()
    if python is None:
        yield None
        return
    pipe = subprocess.PIPE
    command = [str(python), str(PROGRAM), str(folder / "theirs.db")]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=session.environ()) as process:
        assert process.stdin is not None  # noqa: S101 - narrows the type
        assert process.stdout is not None  # noqa: S101
        asking, answering = process.stdin, process.stdout

        def append(count: int) -> list[float]:
            asking.write(f"{count}\n")
            asking.flush()
            taken: list[float] = json.loads(answering.readline())
            return taken

        yield append
        asking.close()

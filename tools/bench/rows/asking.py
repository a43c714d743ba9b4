"""How long somebody waits who asks: a command in a terminal, a page over HTTP, the end of a long log, a second orchestrator."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path

from bench.figures import Budget, Row, Sample
from bench.long_journal import write_long_journal
from bench.ours import Ours
from bench.session import Session
from orchestrator.logs.tail import tail

EVENTS = 1_000
LOG_TIMES, STATUS_TIMES = 5.0, 8.0
HTTP_MS = 2.0
LEAVES_MS = 200.0
TAIL_MS = 2.0
LOG_BYTES = 1 << 30
LOG_LINE = "2026-03-01 12:00:00,123 - root - INFO - [switch 4711] a line as long as most: {}\n"
LOG_LINES = 20_000
"""Real ones, at the log's end. What is before them is a hole: it costs no room, and is not to be read."""
LAST = 80


def measure(session: Session) -> Iterator[Row]:
    """Two commands on a journal of some length, the control server's status, who comes too late, and a log."""
    folder = session.fresh("asked")
    write_long_journal(folder, EVENTS)
    count = session.n(25, 1)
    pair = [
        ("log", "`comfygit-journal log -n 20`", _command("journal", "log", "-n", "20"), LOG_TIMES),
        ("status", "`comfygit-orchestrator status`", _command("orchestrator", "status"), STATUS_TIMES),
    ]
    bare = [sys.executable, "-c", "pass"]
    for key, what, command, times in pair:
        asked = [*command, "--workspace", str(folder)]
        ours, floor = [], []
        for _ in range(count):
            floor.append(_wall_ms(session, bare))
            ours.append(_wall_ms(session, asked))
        bottom = Sample("`python -c pass`", tuple(floor))
        yield Row(key, what, "ms", Sample("ours", tuple(ours)), (bottom,), budget=Budget(times * bottom.p50))
    with Ours(session) as running:
        answers = tuple(_timed_ms(lambda: _status(running.control_port)) for _ in range(session.n(500)))
        second = [sys.executable, "-m", "orchestrator", "--workspace", str(running.root), "--environment", "a"]
        leaving, floor = [], []
        for _ in range(count):
            floor.append(_wall_ms(session, bare))
            leaving.append(_wall_ms(session, second, status=1))
    yield Row("http", "status over HTTP, a connection each", "ms", Sample("ours", answers), budget=Budget(HTTP_MS))
    bottom = Sample("`python -c pass`", tuple(floor))
    what = "a second orchestrator: from its exec to its end"
    yield Row("second", what, "ms", Sample("ours", tuple(leaving)), (bottom,), budget=Budget(LEAVES_MS))
    yield _tail(session)


def _tail(session: Session) -> Row:
    """Of a log of a GiB."""
    path = session.fresh("log") / "orchestrator.log"
    lines = "".join(LOG_LINE.format(number) for number in range(LOG_LINES)).encode()
    with path.open("wb") as file:
        file.seek(LOG_BYTES - len(lines))
        file.write(lines)
    if len(tail(path, LAST)) != LAST:
        message = f"not {LAST} lines"
        raise RuntimeError(message)
    taken = tuple(_timed_ms(lambda: tail(path, LAST)) for _ in range(session.n(500)))
    return Row("tail", f"the last {LAST} lines of a log of 1 GiB", "ms", Sample("ours", taken), budget=Budget(TAIL_MS))


def _command(tool: str, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name(f"comfygit-{tool}")), *arguments]


def _wall_ms(session: Session, command: Sequence[str], status: int = 0) -> float:
    """What a command takes that ends with that status. Raises RuntimeError for another one."""

    def run() -> None:
        done = subprocess.run(list(command), capture_output=True, text=True, check=False, env=session.environ())
        if done.returncode != status:
            raise RuntimeError(f"{command}: exit {done.returncode}: {done.stderr[-300:]}")

    return _timed_ms(run)


def _timed_ms(act: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    act()
    return (time.perf_counter_ns() - began) / 1e6


def _status(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        if response.status != 200 or not response.read():  # noqa: PLR2004 - OK
            raise RuntimeError(response.status)
    finally:
        connection.close()

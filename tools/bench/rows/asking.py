"""How long somebody waits who asks: a command in a terminal, a page over HTTP."""

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

EVENTS = 1_000
LOG_TIMES, STATUS_TIMES = 5.0, 8.0
HTTP_MS = 2.0


def measure(session: Session) -> Iterator[Row]:
    """Two commands on a journal of some length, and the control server's status."""
    folder = session.fresh("asked")
    write_long_journal(folder, EVENTS)
    count = session.n(25)
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
    yield Row("http", "status over HTTP, a connection each", "ms", Sample("ours", answers), budget=Budget(HTTP_MS))


def _command(tool: str, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name(f"comfygit-{tool}")), *arguments]


def _wall_ms(session: Session, command: Sequence[str]) -> float:
    return _timed_ms(lambda: subprocess.run(list(command), capture_output=True, check=True, env=session.environ()))


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

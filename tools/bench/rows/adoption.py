"""SIGKILL of the supervisor: how soon another one has the child, and how many starts in vain there are meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from bench.contest import FAILURES, absent, failed, running
from bench.figures import Budget, Row, Sample
from bench.ours import Ours
from bench.session import Session
from comfyui_stand_in.environment import free_port
from journal.events import ProcessAdopted
from journal.identity import is_alive

ADOPTED_MS = 150.0
BACK_MS = 1_000.0
WATCHED_S = 12.0
QUICK_S = 2.0
OLD_ENOUGH_S = 1.2
"""A program that lives less long is a failed start to most peers."""
IMPORTS = "import time, orchestrator.cli, orchestrator.running; print(time.monotonic_ns())"


def measure(session: Session) -> Iterator[Row]:
    """The time, twice, and the starts in vain."""
    imports = Sample("imports alone", tuple(_imports_ms(session) for _ in range(session.n(10, 1))))
    found = []
    for _ in range(session.n(10, 1)):
        with Ours(session) as ours:  # a new one: the guard waits longer before each further start
            found.append(_kill_and_adopt(ours))
    yield Row(
        "adoption",
        "new orchestrator's start to `process.adopted`, beyond its imports",
        "ms",
        Sample("ours", tuple(adopted_ms - imports.p50 for adopted_ms, _ in found)),
        others=(),
        budget=Budget(ADOPTED_MS),
        notes=(f"imports alone, and Python's start: {imports.p50:.0f} ms",),
    )
    yield Row(
        "adoption wall",
        "the same: SIGKILL to adopted",
        "ms",
        Sample("ours", tuple(wall for _, wall in found)),
        budget=Budget(BACK_MS),
    )
    ours_doomed, *peers_doomed = _doomed(session)
    yield Row(
        "doomed starts",
        f"starts in vain in {WATCHED_S:.0f} s after the supervisor's SIGKILL",
        "starts",
        ours_doomed,
        others=tuple(peers_doomed),
        budget=Budget(0.0),
        counted=True,
    )


def _imports_ms(session: Session) -> float:
    """A Python's start with our imports, from before its exec."""
    environ = session.environ()
    began_ns = time.monotonic_ns()
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, check=True, env=environ)
    return (int(done.stdout) - began_ns) / 1e6


def _kill_and_adopt(ours: Ours) -> tuple[float, float]:
    """From the new one's start, and from the kill, to its `process.adopted`, in milliseconds."""
    ours.until_calm()
    before, seen = ours.orchestrator_pid(), len(ours.events)
    identity = ours.state.orchestrator
    assert identity is not None  # noqa: S101 - it has a pid
    killed_ns = time.monotonic_ns()
    os.kill(before, signal.SIGKILL)
    begun_ns = 0
    if ours.guard is None:
        while is_alive(identity):
            time.sleep(0.001)
        begun_ns = time.monotonic_ns()
        ours.start()
    ours.until(lambda _: _adopted(ours, seen) is not None, "the child adopted")
    adopted_ns = _adopted(ours, seen) or 0
    begun_ns = begun_ns or _began_ns(ours.orchestrator_pid())
    return (adopted_ns - begun_ns) / 1e6, (adopted_ns - killed_ns) / 1e6


def _adopted(ours: Ours, seen: int) -> int | None:
    fresh = [recorded for recorded in ours.events[seen:] if isinstance(recorded.event, ProcessAdopted)]
    return fresh[0].at.monotonic_ns if fresh else None


def _began_ns(pid: int) -> int:
    """When a process began, by the monotonic clock, to a hundredth of a second.

    Its start is told by the clock that goes on while the machine is suspended: so it is how long ago that counts.
    """
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123
        ticks = int(file.read().rpartition(")")[2].split()[19])
    suspended_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK") - suspended_ns


def _doomed(session: Session) -> Iterator[Sample]:
    """Of ours first, then of each peer: all are watched through the same seconds."""
    watched: list[tuple[str, Callable[[], int]]] = []
    notes: list[Sample] = []
    with ExitStack() as stack:
        ours = stack.enter_context(Ours(session))
        for peer in session.peers:
            try:
                with running(session, peer, 1, "--port", str(free_port())) as (service,):
                    time.sleep(OLD_ENOUGH_S)
                    peer.kill_daemon()
                    watched.append((peer.name, partial(service.count, "doomed")))
            except FAILURES as error:
                notes.append(failed(peer.name, error))
        os.kill(ours.orchestrator_pid(), signal.SIGKILL)
        time.sleep(QUICK_S if session.quick else WATCHED_S)
        yield Sample("ours", (float(ours.service().count("start") - 1),))  # any start after the first would be in vain
        for who, count in watched:
            yield Sample(who, (float(count()),))
    session.end_all()
    yield from notes
    yield from absent(session)

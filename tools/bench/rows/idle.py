"""What supervising one program costs while nothing happens. All contestants idle through the same seconds."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench.contest import FAILURES, absent, failed, running
from bench.figures import Budget, Row, Sample
from bench.ours import Ours
from bench.processes import Spent, memory_mib, spent
from bench.session import Session

WINDOW_S = 30.0
SETTLE_S = 3.0
QUICK_S = 1.0
SLEEPER = "a Python that sleeps for good"
CPU_US, WAKES, RSS_MIB, GUARD_RSS_MIB = 100.0, 1.2, 55.0, 12.0
"""The guard's memory is allowed on top of the orchestrator's."""


@dataclass(frozen=True)
class Idler:
    """One contestant by its processes."""

    who: str
    pids: tuple[int, ...]


def measure(session: Session) -> Iterator[Row]:
    """CPU, wake-ups, RSS and PSS, of orchestrator and guard together, as of all processes of a peer; then the guard alone."""
    with ExitStack() as stack:
        ours = stack.enter_context(Ours(session))
        idlers, missing = _idlers(session, stack, ours)
        time.sleep(SETTLE_S if not session.quick else 0)
        window_s = QUICK_S if session.quick else WINDOW_S
        before = [_spent(idler) for idler in idlers]
        began = time.monotonic()
        time.sleep(window_s)
        used = [_spent(idler).since(then) for idler, then in zip(idlers, before, strict=True)]
        lasted_s = time.monotonic() - began
        memory = [memory_mib(idler.pids) for idler in idlers]
    cpu = {idler.who: found.cpu_ns / 1e3 / lasted_s for idler, found in zip(idlers, used, strict=True)}
    wakes = {idler.who: found.sleeps / lasted_s for idler, found in zip(idlers, used, strict=True)}
    rss = {idler.who: found[0] for idler, found in zip(idlers, memory, strict=True)}
    pss = {idler.who: found[1] for idler, found in zip(idlers, memory, strict=True)}
    note = f"one window of {lasted_s:.0f} s"
    yield _row("idle cpu", f"idle with one child: CPU, guard included ({note})", "us/s", cpu, missing, CPU_US)
    yield _row("idle wake-ups", "the same: wake-ups", "/s", wakes, missing, WAKES)
    yield _row("idle rss", "the same: RSS", "MiB", rss, missing, RSS_MIB + GUARD_RSS_MIB)
    yield _row("idle pss", "the same: PSS", "MiB", pss, missing, None)
    yield from _guard_rows(cpu, wakes, rss)


def _idlers(session: Session, stack: ExitStack, ours: Ours) -> tuple[list[Idler], list[Sample]]:
    sleeper = session.popen([sys.executable, "-c", "import signal; signal.pause()"])
    guard = () if ours.guard is None else (ours.guard.pid,)
    idlers = [Idler("ours", (ours.orchestrator_pid(), *guard)), Idler(SLEEPER, (sleeper.pid,))]
    if guard:
        idlers.append(Idler("guard", guard))
    missing = list(absent(session))
    for peer in session.peers:
        try:
            stack.enter_context(running(session, peer, 1))
            idlers.append(Idler(peer.name, tuple(peer.own_pids())))
        except FAILURES as error:
            missing.append(failed(peer.name, error))
    return idlers, missing


def _spent(idler: Idler) -> Spent:
    return spent(idler.pids)


def _row(key: str, what: str, unit: str, found: dict[str, float], missing: list[Sample], limit: float | None) -> Row:
    others = [Sample(who, (value,)) for who, value in found.items() if who not in {"ours", "guard", SLEEPER}]
    floor = Sample(SLEEPER, (found[SLEEPER],))
    budget = None if limit is None else Budget(limit)
    return Row(key, what, unit, Sample("ours", (found["ours"],)), (floor,), (*others, *missing), budget)


def _guard_rows(cpu: dict[str, float], wakes: dict[str, float], rss: dict[str, float]) -> Iterator[Row]:
    nobody = Sample("guard", note="there is no guard")
    for key, unit, found, limit in (
        ("guard cpu", "us/s", cpu, None),
        ("guard wake-ups", "/s", wakes, 0.0),
        ("guard rss", "MiB", rss, GUARD_RSS_MIB),
    ):
        sample = Sample("guard", (found["guard"],)) if "guard" in found else nobody
        what = f"its guard alone: {key.removeprefix('guard ').replace('cpu', 'CPU').replace('rss', 'RSS')}"
        yield Row(key, what, unit, sample, budget=None if limit is None else Budget(limit))

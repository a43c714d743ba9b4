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
SLEEPER = "a Python that sleeps 1 s at a time"


@dataclass(frozen=True)
class Idler:
    """One contestant by its processes."""

    who: str
    pids: tuple[int, ...]


def measure(session: Session) -> Iterator[Row]:
    """CPU, wake-ups, RSS and PSS, and those of the guard."""
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
    yield _row("idle cpu", f"idle with one child: CPU ({note})", "us/s", cpu, missing, 100.0)
    yield _row("idle wake-ups", "the same: wake-ups", "/s", wakes, missing, 1.2)
    yield _row("idle rss", "the same: RSS", "MiB", rss, missing, 55.0)
    yield _row("idle pss", "the same: PSS", "MiB", pss, missing, None)
    yield from _guard_rows(wakes, rss)


def _idlers(session: Session, stack: ExitStack, ours: Ours) -> tuple[list[Idler], list[Sample]]:
    sleeper = session.popen([sys.executable, "-c", "import time\nwhile True: time.sleep(1)"])
    idlers = [Idler("ours", (ours.orchestrator_pid(),)), Idler(SLEEPER, (sleeper.pid,))]
    if ours.guard is not None:
        idlers.append(Idler("guard", (ours.guard.pid,)))
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


def _guard_rows(wakes: dict[str, float], rss: dict[str, float]) -> Iterator[Row]:
    if "guard" not in rss:
        nobody = Sample("guard", note="there is no guard")
        yield Row("guard rss", "guard: RSS", "MiB", nobody, budget=Budget(12.0))
        return
    yield Row("guard rss", "guard: RSS", "MiB", Sample("guard", (rss["guard"],)), budget=Budget(12.0))
    yield Row("guard wake-ups", "guard: wake-ups", "/s", Sample("guard", (wakes["guard"],)), budget=Budget(0.0))

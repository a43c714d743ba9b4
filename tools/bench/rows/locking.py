"""The switch lock, as a process that means to ask for a switch takes it: of a holder that was killed, and by 64 at once."""

import fcntl
import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import SynchronizedArray
from multiprocessing.synchronize import Barrier
from pathlib import Path

from bench.figures import Budget, Row, Sample
from bench.session import Session
from orchestrator.compat.locking import acquire_switch_lock

TAKEN_OVER_MS = 20.0
CONTENDERS = 64
ROUNDS = 1000
ROUNDS_S = 200.0
"""No more rounds after that: `n` says how many there were."""


def measure(session: Session) -> Iterator[Row]:
    """Two rows."""
    count = session.n(60)
    ours = [_taken_over_ms(_claim, session.fresh("claim")) for _ in range(count)]
    floor = [_taken_over_ms(_flock, session.fresh("flock")) for _ in range(count)]
    yield Row(
        "takeover",
        "the switch lock of a holder that got SIGKILL: taken by another process",
        "ms",
        Sample("ours", tuple(ours)),
        (Sample("flock", tuple(floor)),),
        budget=Budget(TAKEN_OVER_MS),
    )
    yield Row(
        "contention",
        f"rounds in which {CONTENDERS} processes ask at once and not exactly one gets it",
        "rounds",
        Sample("ours", tuple(float(winners != 1) for winners in _rounds(session))),
        budget=Budget(0.0),
        counted=True,
    )


def _claim(folder: Path) -> bool:
    """What is measured: opens the workspace's journal, and claims the lock."""
    metadata = folder / ".metadata"
    metadata.mkdir(exist_ok=True)
    return acquire_switch_lock(metadata)


def _flock(folder: Path) -> bool:
    """The least: a kernel lock."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


def _taken_over_ms(take: Callable[[Path], bool], folder: Path) -> float:
    """From the kill of a holder, who is not even reaped, to our having it."""
    context = multiprocessing.get_context("fork")
    ours, its = context.Pipe()
    holder = context.Process(target=_hold, args=(take, folder, its), daemon=True)
    holder.start()
    taken = ours.recv()
    if not taken or take(folder):
        message = "the lock was not exclusive to begin with"
        raise RuntimeError(message)
    began_ns = time.monotonic_ns()
    os.kill(holder.pid or 0, signal.SIGKILL)
    while not take(folder):
        pass
    ended_ns = time.monotonic_ns()
    holder.join()
    return (ended_ns - began_ns) / 1e6


def _hold(take: Callable[[Path], bool], folder: Path, tell: "multiprocessing.connection.Connection") -> None:
    tell.send(take(folder))
    signal.pause()


def _rounds(session: Session) -> list[int]:
    """How many got the lock, of each round: each is a workspace of its own that nobody has used."""
    base = session.fresh("rounds")
    count = session.n(ROUNDS, 3)
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(CONTENDERS + 1), context.Array("b", CONTENDERS)
    contenders = [
        context.Process(target=_contend, args=(one, base, barrier, answers), daemon=True) for one in range(CONTENDERS)
    ]
    for contender in contenders:
        contender.start()
    try:
        return _winners(base, count, barrier, answers)
    finally:
        for contender in contenders:
            contender.kill()
            contender.join()


def _winners(base: Path, count: int, barrier: Barrier, answers: "SynchronizedArray[int]") -> list[int]:
    winners: list[int] = []
    deadline = time.monotonic() + ROUNDS_S
    while len(winners) < count and time.monotonic() < deadline:
        _metadata(base, len(winners)).mkdir(parents=True)
        barrier.wait()
        barrier.wait()
        winners.append(sum(answers[:]))
    return winners


def _contend(number: int, base: Path, barrier: Barrier, answers: "SynchronizedArray[int]") -> None:
    """Take part until killed."""
    for number_of_signal in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number_of_signal, signal.SIG_DFL)
    for turn in itertools.count():
        barrier.wait()
        answers[number] = int(acquire_switch_lock(_metadata(base, turn)))
        barrier.wait()


def _metadata(base: Path, number: int) -> Path:
    return base / f"w{number}" / ".metadata"

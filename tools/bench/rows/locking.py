"""The switch lock, as a process that means to ask for a switch takes it: of a holder that was killed, and by 64 at once."""

import fcntl
import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
"""No more rounds after that: a note says how many there were."""
GROUPS_MAX = 4


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
    winners = _rounds(session)
    wanted = session.n(ROUNDS, 3)
    short = (f"{len(winners)} of {wanted:,} rounds: that was all in {ROUNDS_S:.0f} s",) if len(winners) < wanted else ()
    yield Row(
        "contention",
        f"rounds in which {CONTENDERS} processes ask at once and not exactly one gets it",
        "rounds",
        Sample("ours", tuple(float(number != 1) for number in winners)),
        budget=Budget(0.0),
        counted=True,
        notes=short,
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


@dataclass(frozen=True)
class Group:
    """So many contenders, who begin a round and end it together with us."""

    base: Path
    barrier: Barrier
    answers: "SynchronizedArray[int]"
    contenders: "list[multiprocessing.context.ForkProcess]"


def _rounds(session: Session) -> list[int]:
    """How many got the lock, of each round: each is a workspace of its own that nobody has used.

    Contenders of one lock wait for each other, so there is a group for each core, all at it at once.
    """
    groups = [_group(session) for _ in range(session.n(min(os.cpu_count() or 1, GROUPS_MAX), 1))]
    try:
        for group in groups:
            for contender in group.contenders:
                contender.start()
        return _winners(groups, session.n(ROUNDS, 3))
    finally:
        for contender in (one for group in groups for one in group.contenders if one.pid is not None):
            contender.kill()
            contender.join()


def _group(session: Session) -> Group:
    context = multiprocessing.get_context("fork")
    base, barrier, answers = session.fresh("rounds"), context.Barrier(CONTENDERS + 1), context.Array("b", CONTENDERS)
    contenders = [
        context.Process(target=_contend, args=(one, base, barrier, answers), daemon=True) for one in range(CONTENDERS)
    ]
    return Group(base, barrier, answers, contenders)


def _winners(groups: Sequence[Group], count: int) -> list[int]:
    winners: list[int] = []
    deadline = time.monotonic() + ROUNDS_S
    turn = 0
    while len(winners) < count and time.monotonic() < deadline:
        for group in groups:
            _metadata(group.base, turn).mkdir(parents=True)
            group.barrier.wait()
        for group in groups:
            group.barrier.wait()
            winners.append(sum(group.answers[:]))
        turn += 1
    return winners[:count]


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

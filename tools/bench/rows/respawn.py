"""Exit 42 to the new life's first stamp, environment unchanged. All contestants take turns, so that noise hits all alike."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.contest import FAILURES, absent, failed, running
from bench.figures import Budget, Row, Sample
from bench.ours import Ours
from bench.service import Service, make_service
from bench.session import Session

FLOOR_LOOP = Path(__file__).parent.parent / "floor_loop.py"
LEAST_AGE_S = 1.3
"""How old a life is when it leaves: most peers take a younger one for a failure, and wait."""
PROGRAMS = 3
"""How many each peer supervises: while one leaves, the others grow old enough."""
BEYOND_MS = 5.0
WORST = 2.0


class Contestant:
    """One that starts a program again; `settle` waits until it takes the next exit for an ordinary one."""

    def __init__(self, who: str, services: Sequence[Service], settle: Callable[[], None] | None = None) -> None:
        self.who = who
        self._services = services
        self._service = services[0]
        self._settle = settle or self._age
        self._turn = self._asked = 0
        self._note = ""

    def _age(self) -> None:
        born_ns = self._service.stamps()[-1].at_ns
        time.sleep(max(0.0, LEAST_AGE_S - (time.monotonic_ns() - born_ns) / 1e9))

    def ask(self) -> None:
        """Have its program leave, when that is due."""
        if self._note:
            return
        self._turn += 1
        self._service = self._services[self._turn % len(self._services)]
        try:
            self._settle()
            self._asked = self._service.count("ready")
            self._service.ask_restart()
        except FAILURES as error:
            self._note = failed(self.who, error).note

    def collect(self) -> None:
        """Wait for the next life."""
        if self._note:
            return
        try:
            self._service.ready(self._asked + 1)
        except FAILURES as error:
            self._note = failed(self.who, error).note

    def sample(self) -> Sample:
        """What it took."""
        found = [taken_ms for service in self._services for taken_ms in service.respawns_ms()]
        return Sample(self.who, () if self._note else tuple(found), self._note)


def measure(session: Session) -> Iterator[Row]:
    """One row."""
    with ExitStack() as stack:
        ours = stack.enter_context(Ours(session))
        own = Contestant("ours", [ours.service()], ours.until_calm)
        bare, committed = _floors(session)
        quick, slow, missing = _peers(session, stack)
        for _ in range(session.n(60)):
            for contestant in (own, bare, committed, *quick):
                contestant.ask()
                contestant.collect()
        for _ in range(session.n(12)):
            for contestant in slow:
                contestant.ask()
            for contestant in slow:
                contestant.collect()
    floor = committed.sample()
    yield Row(
        "respawn",
        "exit 42 to the new child running",
        "ms",
        own.sample(),
        (floor, bare.sample()),
        (*(contestant.sample() for contestant in (*quick, *slow)), *missing),
        Budget(floor.p50 + BEYOND_MS, WORST * (floor.p50 + BEYOND_MS)) if floor.values else None,
        notes=("Python's start is in all of them",),
    )


def _floors(session: Session) -> tuple[Contestant, Contestant]:
    found = []
    for who, name, database in (("`Popen; wait`", "bare", "-"), ("the same, two commits", "committed", "floor.db")):
        folder = session.fresh(name)
        service = make_service(folder / "s", session.python)
        place = database if database == "-" else str(folder / database)
        session.popen([sys.executable, str(FLOOR_LOOP), place, *service.command])
        service.ready()
        found.append(Contestant(who, [service], _at_once))
    return found[0], found[1]


def _at_once() -> None:
    """A bare loop takes any exit."""


def _peers(session: Session, stack: ExitStack) -> tuple[list[Contestant], list[Contestant], list[Sample]]:
    """Started: the quick ones, the slow ones, and notes on the others."""
    quick: list[Contestant] = []
    slow: list[Contestant] = []
    missing = list(absent(session))
    for peer in session.peers:
        try:
            services = stack.enter_context(running(session, peer, PROGRAMS))
        except FAILURES as error:
            missing.append(failed(peer.name, error))
            continue
        (slow if peer.is_slow else quick).append(Contestant(peer.name, services))
    return quick, slow, missing

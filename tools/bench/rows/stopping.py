"""Stops of programs that have started others, in sessions of their own and without a parent: what lives on."""

import time
from collections.abc import Iterator, Sequence

from bench.contest import each_peer, running
from bench.figures import Budget, Row, Sample
from bench.ours import Ours
from bench.peers.base import Peer
from bench.processes import end_marked, marked
from bench.service import TREE_MARK, Service
from bench.session import Session
from bench.waiting import until
from orchestrator.asking import ask_restart

STOPS = 200
SETTLE_S = 0.5
"""What was signalled has ended by then."""


def measure(session: Session) -> Iterator[Row]:
    """One row."""
    count = session.n(STOPS, 3)
    ours = Sample("ours", tuple(_ours(session, count)))
    others = each_peer(session, lambda peer: _peer(session, peer, min(count, peer.most_programs)))
    yield Row(
        "survivors",
        f"processes that live on after {count} stops; each child has one in a session of its own and an orphan",
        "processes",
        ours,
        others=others,
        budget=Budget(0.0),
        counted=True,
    )


def _ours(session: Session, count: int) -> list[float]:
    """Restarts that were asked for: each is a stop, and nothing of the old life is left when the new one begins."""
    with Ours(session, "--tree") as ours:
        for _ in range(count):
            ours.until_calm()
            lives = ours.service().count("ready")
            with ours.ledger() as ledger:
                ask_restart(ledger)
            ours.service().ready(lives + 1)
        last = ours.service().pid()
        time.sleep(SETTLE_S)
        return _survivors([ours.service()], but=last)


def _peer(session: Session, peer: Peer, count: int) -> Sequence[float]:
    """All of them at once, by its own command."""
    with running(session, peer, count, "--tree") as services:
        peer.stop_all()
        until(lambda: all(service.count("exit") for service in services), f"{peer.name}: all stopped")
        time.sleep(SETTLE_S)
        return _survivors(services)


def _survivors(services: Sequence[Service], but: int = 0) -> list[float]:
    """How many live on of each life that has ended; and end them."""
    trees = [
        f"{service.folder}:{stamp.pid}" for service in services for stamp in service.stamps() if stamp.what == "exit"
    ]
    left = [process.environ()[TREE_MARK] for process in marked(TREE_MARK, lambda tree: not tree.endswith(f":{but}"))]
    found = [float(left.count(tree)) for tree in trees]
    end_marked(TREE_MARK, lambda tree: tree in trees)
    return found

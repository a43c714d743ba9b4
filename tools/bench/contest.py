"""Running a peer for one row: set up, started, ended, and a note in the table where it fails."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.figures import Sample
from bench.peers.base import Peer, PeerFailed
from bench.service import Service
from bench.session import Session
from bench.waiting import TookTooLong

FAILURES = (OSError, PeerFailed, TookTooLong)


_SHOWN = 60


@contextmanager
def running(session: Session, peer: Peer, count: int, *arguments: str) -> Iterator[list[Service]]:
    """`peer` with that many programs, all of them alive. The session ends it. Raises what FAILURES lists."""
    folder = session.fresh(peer.name[0])  # short: there are sockets below it
    services = session.services(folder, count, *arguments)
    peer.set_up(folder, services, session.environ())
    peer.start()
    yield services


def each_peer(session: Session, measure: Callable[[Peer], Sequence[float]]) -> tuple[Sample, ...]:
    """What `measure` finds of each, one after the other; a note for those that fail or are not here. Each is ended."""
    samples = []
    for peer in session.peers:
        try:
            samples.append(Sample(peer.name, tuple(measure(peer))))
        except FAILURES as error:
            samples.append(failed(peer.name, error))
        session.end_all()
    return (*samples, *absent(session))


def absent(session: Session) -> Iterator[Sample]:
    """Those that are not here."""
    return (Sample(missing.name, note=f"not here: {missing.why[:_SHOWN]}") for missing in session.missing)


def failed(name: str, error: Exception) -> Sample:
    """One that could not be measured."""
    return Sample(name, note=f"failed: {_short(error)}")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} ... {text[-_SHOWN // 2 :]}"

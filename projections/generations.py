"""Which environment, in which content, was healthy when; and from that, where a rollback goes, in order."""

from collections.abc import Sequence

import attrs

from journal.clock import Stamp
from journal.events import Evidence

KEPT = 20
"""Generations that the state remembers; older ones stay in the journal."""


@attrs.frozen
class Generation:
    """`generation` is the seq of its `generation.recorded`."""

    generation: int
    environment: str
    fingerprint: str
    evidence: Evidence
    recorded: Stamp
    arguments: tuple[str, ...]
    proven: bool = False
    disproved: str = ""


@attrs.frozen
class Candidate:
    """Where a rollback may go. `generation` is None for an environment that serves but was never seen healthy by us."""

    environment: str
    generation: int | None


@attrs.frozen
class Probation:
    """A content that was just seen healthy and may still crash."""

    spawn: int
    environment: str
    generation: int
    since: Stamp
    of_switch: bool


def find(generations: Sequence[Generation], generation: int) -> Generation | None:
    """The generation of that number, while it is remembered."""
    return next((known for known in generations if known.generation == generation), None)


def latest_of(generations: Sequence[Generation], environment: str) -> Generation | None:
    """The newest generation of `environment` that nothing speaks against."""
    return next((g for g in reversed(generations) if g.environment == environment and not g.disproved), None)


def same_content(generations: Sequence[Generation], environment: str, fingerprint: str) -> Generation | None:
    """The newest generation that nothing speaks against with exactly this content; an unknown content ("") is never the same."""
    found = latest_of(generations, environment)
    return found if found is not None and fingerprint and found.fingerprint == fingerprint else None


def rollback_candidates(
    generations: Sequence[Generation], *, served: Candidate | None, source: str, spent: frozenset[str]
) -> tuple[Candidate, ...]:
    """Where to go back to, best first: what served just before, then proven generations, then unproven ones, newest first.

    An environment is offered once: its content is what is on disk, so another generation of it would start the same
    thing. `spent` names the environments that have failed already.
    """
    first = served or _as_candidate(latest_of(generations, source))
    newest_first = [g for g in reversed(generations) if not g.disproved]
    ordered = [first, *(_as_candidate(g) for g in sorted(newest_first, key=lambda g: not g.proven))]
    offered: dict[str, Candidate] = {}
    for candidate in ordered:
        if candidate is not None and candidate.environment not in spent:
            offered.setdefault(candidate.environment, candidate)
    return tuple(offered.values())


def _as_candidate(generation: Generation | None) -> Candidate | None:
    return None if generation is None else Candidate(generation.environment, generation.generation)

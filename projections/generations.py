"""Which environment, in which content, was healthy when; and from that, where a rollback goes, in order."""

from collections.abc import Iterator, Sequence

import attrs

from journal.clock import Stamp
from journal.events import Evidence

KEPT = 20
"""Generations of an environment that are remembered: so many proven ones, as many that are not, as many that were saved
before a restore, and all that are pinned. The journal keeps all.
"""


@attrs.frozen
class Kept:
    """How a generation's content is kept: in the journal, in the event `captured`, or (`commit`) in the manifest repository."""

    captured: int
    commit: str


@attrs.frozen
class Generation:
    """`generation` is the seq of its `generation.recorded`, `seen` that of the newest event that found it healthy.

    `kept` is None while its content cannot be brought back; `not_kept` says why it never will be.
    """

    generation: int
    environment: str
    fingerprint: str
    evidence: Evidence
    recorded: Stamp
    arguments: tuple[str, ...]
    proven: bool = False
    disproved: str = ""
    seen: int = 0
    kept: Kept | None = None
    not_kept: str = ""
    pinned: bool = False
    name: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it was healthy, and nothing has spoken against it since."""
        return self.evidence is not Evidence.SAVED and not self.disproved

    @property
    def content(self) -> str:
        """What of its fingerprint a restore would bring back."""
        return content_of(self.fingerprint)

    @property
    def age_key(self) -> int:
        """Greater for what was healthy later."""
        return max(self.seen, self.generation)


@attrs.frozen
class Candidate:
    """Where a rollback may go. `generation` is None for an environment that serves but was never seen healthy by us.

    `restores`: the generation's content is written back first; else the environment is started as it is on the disk.
    """

    environment: str
    generation: int | None
    restores: bool = False


@attrs.frozen
class Spent:
    """What is not to be offered again: (environment, content) pairs that have failed, content "" where it was not known.

    An environment that has failed as it is on the disk is only offered with another content, and only if that content
    was known. `others`: environments that are not offered at all. `tried`: candidates that came to nothing.
    """

    failed: frozenset[tuple[str, str]] = frozenset()
    others: frozenset[str] = frozenset()
    tried: tuple[Candidate, ...] = ()

    @property
    def environments(self) -> frozenset[str]:
        """The environments that have failed as they are."""
        return frozenset(environment for environment, _ in self.failed)


@attrs.frozen
class Probation:
    """A content that was just seen healthy and may still crash."""

    spawn: int
    environment: str
    generation: int
    since: Stamp
    of_switch: bool


def content_of(fingerprint: str) -> str:
    """The half of a fingerprint that stands for what a restore brings back: the manifests, not what is installed."""
    return fingerprint.partition("-")[0]


def find(generations: Sequence[Generation], generation: int | None) -> Generation | None:
    """The generation of that number, while it is remembered."""
    return next((known for known in generations if known.generation == generation), None)


def named(generations: Sequence[Generation], name: str) -> Generation | None:
    """The pinned generation that people call so."""
    return next((known for known in generations if name and known.name == name), None)


def newest_first(generations: Sequence[Generation]) -> list[Generation]:
    """By when they were last healthy."""
    return sorted(generations, key=lambda g: g.age_key, reverse=True)


def latest_of(generations: Sequence[Generation], environment: str) -> Generation | None:
    """The newest generation of `environment` that nothing speaks against."""
    return next((g for g in newest_first(generations) if g.environment == environment and g.is_good), None)


def same_content(generations: Sequence[Generation], environment: str, fingerprint: str) -> Generation | None:
    """The newest generation that nothing speaks against with exactly this fingerprint; an unknown one ("") is never the same."""
    found = latest_of(generations, environment)
    return found if found is not None and fingerprint and found.fingerprint == fingerprint else None


def holder_of(generations: Sequence[Generation], environment: str, fingerprint: str) -> Generation | None:
    """A generation, good or not, that keeps the content of this fingerprint: what is there need not be saved again."""
    content = content_of(fingerprint)
    return next(
        (
            g
            for g in newest_first(generations)
            if g.environment == environment and g.kept and content and g.content == content
        ),
        None,
    )


def remembered(generations: Sequence[Generation], in_use: frozenset[int | None]) -> tuple[Generation, ...]:
    """Those that are kept on, in their order: the pinned, those `in_use`, and KEPT of each kind of each environment."""
    counted: dict[tuple[str, bool, bool], int] = {}
    wanted = set(in_use)
    for g in newest_first(generations):
        kind = (g.environment, g.proven, g.evidence is Evidence.SAVED)
        counted[kind] = counted.get(kind, 0) + 1
        if counted[kind] <= KEPT:
            wanted.add(g.generation)
    return tuple(g for g in generations if g.pinned or g.generation in wanted)


def rollback_candidates(
    generations: Sequence[Generation], *, served: Candidate | None, source: str, spent: Spent
) -> tuple[Candidate, ...]:
    """Where to go back to, best first: what served just before, the rest of that environment, the proven, the unproven.

    Each is newest first. An environment is offered once as it is on the disk, whatever generation speaks for it; with a
    generation's content only once what is on the disk has failed: nothing of anybody's is overwritten before that.
    """
    offered: dict[tuple[str, str], Candidate] = {}
    for candidate, content in _ordered(generations, served, source, spent):
        if candidate.environment not in spent.others and candidate not in spent.tried:
            offered.setdefault((candidate.environment, content), candidate)
    return tuple(offered.values())


def _ordered(
    generations: Sequence[Generation], served: Candidate | None, source: str, spent: Spent
) -> Iterator[tuple[Candidate, str]]:
    """With the content that each would bring back, "" for what is on the disk."""
    failed = spent.environments
    if served is not None and served.restores:
        yield served, _content(generations, served.generation)
    elif served is not None and served.environment not in failed:
        yield served, ""
    good = [g for g in newest_first(generations) if g.is_good]
    for g in sorted(good, key=lambda g: (g.environment != source, g.environment != source and not g.proven)):
        if g.environment not in failed:
            yield Candidate(g.environment, g.generation), ""
        elif g.kept and _differs(g, spent):
            yield Candidate(g.environment, g.generation, restores=True), g.content


def _content(generations: Sequence[Generation], generation: int | None) -> str:
    found = find(generations, generation)
    return "" if found is None else found.content


def _differs(generation: Generation, spent: Spent) -> bool:
    """Whether its content is another one than all those of its environment that have failed."""
    contents = {content for environment, content in spent.failed if environment == generation.environment}
    return contents != {""} and generation.content not in contents

"""Probes, what they add up to, and the generations that were seen healthy."""

from enum import StrEnum

from journal.events.registry import Event, event


class Evidence(StrEnum):
    """Why we believe that a generation was healthy: our own probes, or that it asked for the switch itself."""

    PROBED = "probed"
    REQUESTER = "requester"


@event("health.probed")
class HealthProbed(Event):
    """One `GET /system_stats`. `successes`: how many in a row, this one included, and never across two orchestrators."""

    spawn: int
    ok: bool
    latency_ns: int
    status: int | None
    error: str
    successes: int


@event("health.confirmed")
class HealthConfirmed(Event):
    """Enough successes in a row, from a socket of its own. `generation`: what it is an instance of, known or just recorded."""

    spawn: int
    generation: int


@event("health.failed")
class HealthFailed(Event):
    """It will not become healthy: `timeout`, `exited` or `stranger`."""

    spawn: int
    why: str
    detail: str


@event("generation.recorded")
class GenerationRecorded(Event):
    """An environment as it was when it was healthy. This event's seq names the generation."""

    environment: str
    fingerprint: str
    evidence: Evidence
    spawn: int | None
    arguments: tuple[str, ...]


@event("generation.proven")
class GenerationProven(Event):
    """It outlived its probation."""

    generation: int


@event("generation.disproved")
class GenerationDisproved(Event):
    """It crashed in its probation, or failed when it was tried again."""

    generation: int
    why: str

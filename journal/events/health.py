"""Probes, and what they add up to."""

from journal.events.registry import Event, event


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

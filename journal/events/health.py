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


@event("health.unresponsive")
class HealthUnresponsive(Event):
    """One that serves has stopped answering: so many liveness probes in a row have failed, the first `silent_ns` ago.

    Nothing is done about it: it may be busy, and hold work. Probes that change nothing are no events.
    """

    spawn: int
    error: str
    failures: int
    silent_ns: int


@event("health.responsive")
class HealthResponsive(Event):
    """It answers again, `silent_ns` after the first probe that failed."""

    spawn: int
    silent_ns: int

"""The only place that reads a clock, and the two rules for comparing what it read.

Durations are monotonic nanoseconds as integers: float deadlines disagreed with themselves in the last bit. Wall time
is recorded and shown. It is compared in one case only, the age of foreign files (`age_ns`).
"""

import time
from datetime import UTC, datetime
from typing import Final

import attrs

from journal.identity import boot_id

S: Final = 1_000_000_000
"""Nanoseconds in a second."""
MS: Final = 1_000_000
"""Nanoseconds in a millisecond."""
FOREVER_NS: Final = 1 << 62
"""Longer than anything here waits: what has passed since a stamp of another boot."""


@attrs.frozen
class Stamp:
    """One reading of both clocks. `monotonic_ns` only means something next to another one of the same `boot_id`."""

    wall_ns: int
    monotonic_ns: int
    boot_id: str


def read() -> Stamp:
    """Now. Frozen by freezegun, which sets the monotonic clock to the frozen wall time."""
    return Stamp(time.time_ns(), time.monotonic_ns(), boot_id())


def seconds(value_s: float) -> int:
    """Nanoseconds in `value_s` seconds, rounded."""
    return round(value_s * S)


def before(stamp: Stamp, duration_ns: int) -> Stamp:
    """`duration_ns` earlier, on both clocks."""
    return Stamp(stamp.wall_ns - duration_ns, stamp.monotonic_ns - duration_ns, stamp.boot_id)


def elapsed_ns(since: Stamp, now: Stamp) -> int:
    """Nanoseconds from `since` to `now`, never negative; FOREVER_NS when the machine was booted in between."""
    if since.boot_id != now.boot_id:
        return FOREVER_NS
    return max(0, now.monotonic_ns - since.monotonic_ns)


def is_over(since: Stamp, duration_ns: int, now: Stamp) -> bool:
    """Whether `duration_ns` has passed since `since`: the one answer to "is it time?"."""
    return elapsed_ns(since, now) >= duration_ns


def age_ns(since: Stamp, now: Stamp) -> int:
    """How old something foreign is, stepped and frozen clocks included.

    On the same boot with a wall age of at least 0: the smaller of wall and monotonic age. Wall age negative: the
    monotonic one. Another boot: the wall age, at least 0.
    """
    wall_age_ns = now.wall_ns - since.wall_ns
    if since.boot_id != now.boot_id:
        return max(0, wall_age_ns)
    monotonic_age_ns = elapsed_ns(since, now)
    return monotonic_age_ns if wall_age_ns < 0 else min(wall_age_ns, monotonic_age_ns)


def as_datetime(wall_ns: int) -> datetime:
    """An aware UTC datetime, to the microsecond."""
    return datetime.fromtimestamp(wall_ns // S, UTC).replace(microsecond=wall_ns % S // 1000)


def iso(wall_ns: int) -> str:
    """ISO 8601 in UTC with milliseconds, as in `2026-03-01T12:00:00.123Z`."""
    return as_datetime(wall_ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")

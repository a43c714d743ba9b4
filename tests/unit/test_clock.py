"""The rules for time: what has passed, what is over, how old a foreign thing is."""

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from journal import clock
from journal.clock import FOREVER_NS, MS, S, Stamp

MOMENTS = st.integers(0, 1 << 61)
START = Stamp(1_000 * S, 500 * S, "boot")


def later(wall_s: float = 0, monotonic_s: float = 0, boot_id: str = "boot") -> Stamp:
    """A stamp so many seconds after START on each clock."""
    return Stamp(START.wall_ns + clock.seconds(wall_s), START.monotonic_ns + clock.seconds(monotonic_s), boot_id)


def test_what_has_passed_is_monotonic_time_whatever_the_wall_clock_did():
    assert clock.elapsed_ns(START, later(wall_s=-3600, monotonic_s=5)) == 5 * S
    assert clock.elapsed_ns(START, later(wall_s=3600, monotonic_s=5)) == 5 * S


def test_what_has_passed_is_never_negative():
    assert clock.elapsed_ns(START, later(monotonic_s=-1)) == 0


def test_everything_is_over_after_a_reboot():
    assert clock.elapsed_ns(START, later(boot_id="another")) == FOREVER_NS
    assert clock.is_over(START, 86_400 * S, later(boot_id="another"))


@given(start=MOMENTS, duration=MOMENTS)
def test_it_is_over_exactly_at_the_end_and_not_a_nanosecond_before(start: int, duration: int):
    since = Stamp(0, start, "boot")

    assert clock.is_over(since, duration, Stamp(0, start + duration, "boot"))
    assert duration == 0 or not clock.is_over(since, duration, Stamp(0, start + duration - 1, "boot"))


@pytest.mark.parametrize(
    ("now", "age_s"),
    [
        (later(wall_s=10, monotonic_s=10), 10),
        (later(wall_s=3610, monotonic_s=10), 10),  # the wall clock was put forward
        (later(wall_s=4, monotonic_s=10), 4),  # and back, but not before the start
        (later(wall_s=-3590, monotonic_s=10), 10),  # and back to before it
        (later(wall_s=10, monotonic_s=1e9), 10),  # frozen: the monotonic clock shows the wall time
        (later(wall_s=10, monotonic_s=-400, boot_id="another"), 10),
        (later(wall_s=-10, monotonic_s=-400, boot_id="another"), 0),
    ],
)
def test_the_age_of_a_foreign_thing(now: Stamp, age_s: int):
    assert clock.age_ns(START, now) == age_s * S


@given(
    since=st.builds(Stamp, MOMENTS, MOMENTS, st.just("a")),
    now=st.builds(Stamp, MOMENTS, MOMENTS, st.sampled_from("ab")),
)
def test_an_age_is_never_negative(since: Stamp, now: Stamp):
    assert clock.age_ns(since, now) >= 0


def test_seconds_become_whole_nanoseconds():
    assert clock.seconds(0.1) == 100 * MS
    assert clock.seconds(0.1) + clock.seconds(0.2) == clock.seconds(0.3)


def test_a_frozen_clock_stands_still_and_is_moved():
    with freeze_time("2026-03-01T12:00:00Z") as frozen:
        first = clock.read()
        assert clock.iso(first.wall_ns) == "2026-03-01T12:00:00.000Z"
        assert clock.read() == first

        frozen.tick(299)
        assert clock.age_ns(first, clock.read()) == 299 * S


def test_wall_time_is_shown_in_utc_to_the_millisecond():
    assert clock.iso(1_772_366_400 * S + 123_999_999) == "2026-03-01T12:00:00.123Z"
    assert clock.as_datetime(1_772_366_400 * S + 123_999_999).microsecond == 123_999


def test_two_readings_are_in_order_and_of_this_boot():
    first, second = clock.read(), clock.read()

    assert second.monotonic_ns >= first.monotonic_ns
    assert first.boot_id == second.boot_id != ""

"""When a foreign lock file may be taken away. Whose lock ours is: test_evolve_switching."""

import attrs
import pytest
from freezegun import freeze_time

from journal import clock
from projections.locking import ForeignLock
from tests.helpers.histories import stamp

TIMEOUT_S = 300.0


@pytest.mark.parametrize(
    ("age_s", "stale"), [(0, False), (299, False), (299.999, False), (300, True), (301, True), (86_400, True)]
)
def test_a_foreign_lock_is_stale_from_its_timeout_on(age_s, stale):
    assert ForeignLock(stamp(0)).is_stale(stamp(age_s), TIMEOUT_S) is stale


@pytest.mark.parametrize(("age_s", "stale"), [(299, False), (300, True)])
def test_also_under_frozen_time(age_s, stale):
    with freeze_time("2026-03-01 12:00:00") as frozen:
        lock = ForeignLock(clock.read())
        frozen.tick(age_s)

        assert lock.is_stale(clock.read(), TIMEOUT_S) is stale


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_step_of_the_wall_clock_makes_it_neither_old_nor_young(step_s):
    lock = ForeignLock(stamp(0))

    def stepped(age_s: float) -> clock.Stamp:
        now = stamp(age_s)
        return attrs.evolve(now, wall_ns=now.wall_ns + clock.seconds(step_s))

    assert not lock.is_stale(stepped(299), TIMEOUT_S)
    assert lock.is_stale(stepped(300), TIMEOUT_S)


def test_a_lock_from_before_the_boot_ages_by_the_wall_clock():
    assert not ForeignLock(stamp(0, "boot-0")).is_stale(stamp(299), TIMEOUT_S)
    assert ForeignLock(stamp(0, "boot-0")).is_stale(stamp(300), TIMEOUT_S)

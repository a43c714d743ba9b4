"""How old a lock file of others is, when somebody has set the clock."""

import os
from pathlib import Path

import attrs
import pytest

from journal.clock import S, Stamp
from orchestrator.observing import touched_at

NOW = Stamp(1_800_000_000 * S, 50_000 * S, "this boot")
AGE_NS = 100 * S


def at(seconds: int, stepped_s: int = 0) -> Stamp:
    """So long after NOW, the wall clock set by so much meanwhile."""
    return Stamp(NOW.wall_ns + (seconds + stepped_s) * S, NOW.monotonic_ns + seconds * S, NOW.boot_id)


@pytest.fixture
def lock(tmp_path):
    """Touched AGE_NS before NOW."""
    path = tmp_path / ".switch.lock"
    path.touch()
    os.utime(path, ns=(NOW.wall_ns - AGE_NS,) * 2)
    return path


def age_s(path: Path, now: Stamp, earlier: Stamp | None = None) -> float:
    touched = touched_at(path, now, earlier)
    assert touched is not None
    assert touched.wall_ns == NOW.wall_ns - AGE_NS
    return (now.monotonic_ns - touched.monotonic_ns) / S


def test_without_an_earlier_stamp_the_mtime_is_believed(lock):
    assert age_s(lock, NOW) == 100


@pytest.mark.parametrize("stepped_s", [0, 3600, -3600])
def test_an_earlier_stamp_tells_the_age_whatever_the_clock_was_set_to(lock, stepped_s):
    assert age_s(lock, at(10, stepped_s), NOW) == 110


def test_a_stamp_of_another_boot_tells_nothing(lock):
    assert age_s(lock, at(10), attrs.evolve(NOW, boot_id="another", monotonic_ns=0)) == 110


def test_what_is_in_the_future_was_touched_now(lock):
    assert age_s(lock, at(0, -3600)) == 0


def test_a_file_that_is_gone_was_touched_never(tmp_path):
    assert touched_at(tmp_path / "gone", NOW) is None

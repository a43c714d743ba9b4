"""Random histories: whatever happens in whatever order, no invariant breaks and everything that was begun comes to its end.

10,000 with `tools/test --long`, others each day; the same 500 otherwise. `python -m tests.simulation.replay SEED` replays one.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal import clock
from projections.evolve import fold
from projections.views import views
from tests.simulation.cases import Case, failure, play, shrunk

# slow when measured, and what it runs has unit tests of its own
pytestmark = [pytest.mark.slow, pytest.mark.no_cover, pytest.mark.timeout(900)]

IS_LONG = settings.get_current_profile_name() == "long"
HISTORIES = 10_000 if IS_LONG else 500
FIRST_SEED = clock.read().wall_ns // (86_400 * clock.S) * HISTORIES if IS_LONG else 0
"""Of --long: that of the day. A failure names its seed, which replays it on any day."""
ONCE_FAILED = (20047, 20733, 26407, 30051, 30704, 33437, 33709)
"""At rest while a signal waited or the end was near; a probation that a request had ended."""
BATCHES = 20
"""Each is a test of its own, so that several processes share them."""


@pytest.mark.scenario("B-18")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_histories_keep_every_invariant(batch):
    begin, end = (FIRST_SEED + part * HISTORIES // BATCHES for part in (batch, batch + 1))
    for seed in range(begin, end):
        found = failure(Case(seed))
        if found:
            pytest.fail(f"seed {seed}: {found}\nreplay it: {shrunk(Case(seed)).command}")


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_a_history_that_once_failed_does_not_any_more(seed):
    assert failure(Case(seed)) == ""


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_any_history_can_be_folded_in_two_parts_and_shows_the_same(seed, share):
    world = play(Case(seed, kept=(0, 1, 2)))
    cut = int(share * len(world.journal))
    state = fold(world.journal[cut:], fold(world.journal[:cut]))

    assert state == world.state
    assert views(state) == views(world.state)


def test_the_same_seed_is_the_same_history():
    assert play(Case(7)).journal == play(Case(7)).journal


def test_leaving_something_out_changes_nothing_of_what_happens_before_it():
    whole, part = play(Case(9)), play(Case(9, kept=tuple(range(6))))
    same = [one == other for one, other in zip(whole.journal, part.journal, strict=False)]

    assert len(same) > 20
    assert all(same[:20])

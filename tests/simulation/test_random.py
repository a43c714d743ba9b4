"""Random histories: whatever happens in whatever order, no invariant breaks and everything that was begun comes to its end."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.evolve import fold
from projections.views import views
from tests.helpers.chaos import Chaos, come_to_rest, random_world, run_history

# slow when measured, and what it runs has unit tests of its own
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

BATCHES, BATCH = 4, 25


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_histories_keep_every_invariant(batch):
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        try:
            run_history(seed, happenings=8)
        except AssertionError as error:
            message = f"history {seed}: {error}"
            raise AssertionError(message) from error


@settings(max_examples=25)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.sampled_from(
            [
                "ask_switch",
                "write_request",
                "kill_orchestrator",
                "end_a_process",
                "write_command",
                "lose_power",
                "take_the_port",
                "vanish",
            ]
        ),
        max_size=6,
    ),
    st.floats(0, 5),
)
def test_whatever_is_chosen_to_happen_comes_to_rest(seed, happenings, every_s):
    chance = random.Random(seed)
    world = random_world(chance)
    world.run_orchestrator("a")
    for name in happenings:
        world.run(every_s)
        getattr(Chaos(chance, world), name)()
        if world.orchestrator is None:
            world.run_orchestrator(manual=False)
    come_to_rest(world)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_any_history_can_be_folded_in_two_parts_and_shows_the_same(seed, share):
    world = run_history(seed, happenings=3)
    cut = int(share * len(world.journal))
    state = fold(world.journal[cut:], fold(world.journal[:cut]))

    assert state == world.state
    assert views(state) == views(world.state)


def test_the_same_seed_is_the_same_history():
    assert run_history(7).journal == run_history(7).journal

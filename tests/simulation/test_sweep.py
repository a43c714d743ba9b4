"""One death at every point there is: after each transaction, and after each effect before its outcome, of every story.

The orchestrator dies at every point of every switch, its guard starts another one; at a third of those with accidents too, and
at another third without a guard, where a person does. `tools/test --long` lets it die at every point of all of them in both ways,
and guards and ComfyUIs too.
"""

import pytest
from hypothesis import settings

from journal.events import ShutdownRequested, SwitchAborted
from projections.state import OutcomeState
from tests.helpers.broken_invariant import BrokenInvariantError, must
from tests.helpers.simulated_comfyui import Script
from tests.helpers.simulated_world import SimulatedWorld
from tests.simulation.stories import SWITCHES, environment, serving
from tests.simulation.stories_of_accidents import ACCIDENTS
from tests.simulation.sweeping import Death, swept

# slow when measured, and what it runs has unit tests of its own
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

STORIES = {**SWITCHES, **ACCIDENTS}
IS_LONG = settings.get_current_profile_name() == "long"
BY_HAND = STORIES if IS_LONG else ACCIDENTS
IN_OTHER_WAYS = STORIES if IS_LONG else {}


@pytest.mark.parametrize(
    ("name", "death"),
    [
        *((name, Death.GUARDED) for name in STORIES),
        *((name, Death.BY_HAND) for name in BY_HAND),
        *((name, death) for name in IN_OTHER_WAYS for death in (Death.OF_GUARD, Death.OF_COMFYUI)),
    ],
)
def test_one_death_at_every_boundary(name, death):
    every = 1 if IS_LONG or name in SWITCHES else 3
    first = 1 + (len(name) + (death is Death.BY_HAND)) % every  # not always the same third
    assert swept(STORIES[name], death, every, first) > 0


def test_there_are_stories_enough():
    assert len(SWITCHES) >= 60
    assert len(ACCIDENTS) >= 60


def test_a_sweep_says_where_it_was_that_a_story_did_not_end_as_it_should():
    story = ACCIDENTS["a restart by command"]
    wrong = type(story)(story.begin, story.ask, frozenset({"c"}))

    with pytest.raises(BrokenInvariantError, match=r"guarded at boundary 0: 'a' serves, not one of \['c'\]"):
        swept(wrong, Death.GUARDED)


@pytest.mark.parametrize("urgent", [True, False])
def test_a_shutdown_is_finished_by_whoever_the_guard_starts_next(urgent):
    def told_with(dies_at: int) -> SimulatedWorld:
        world = serving(target=lambda: environment("b", Script(serves_after_s=60.0)))(True)
        world.ask_switch("b")
        world.run(0.3)
        world.dies_at_boundary = world.boundaries + dies_at if dies_at else 0
        if urgent:
            world.signal_orchestrator()
        else:
            world.ask_shutdown()
        world.run(40)
        return world

    for boundary in range(30):
        world = told_with(boundary)
        if urgent and not world.events(ShutdownRequested):
            continue  # a signal that was not journaled dies with whoever got it
        must(world.orchestrator is None and not world.machine.alive(), "killed at {}\n{}", boundary, world.story())
        must(len(world.events(SwitchAborted)) == 1, "killed at {}\n{}", boundary, world.story())


@pytest.mark.parametrize("every_s", [0.0, 0.05, 0.37])
def test_dying_again_and_again_does_not_keep_a_switch_from_its_end(every_s):
    world = serving()(True)
    world.ask_switch("b")
    for _ in range(12):
        world.run(every_s + 0.1)
        world.kill_orchestrator()
    world.run_until(lambda w: w.state.job is None, within_s=60)

    assert world.state.serving == "b"
    assert world.state.outcome.state is OutcomeState.COMPLETE

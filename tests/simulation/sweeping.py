"""One death at a boundary of a story, and the checks that hold wherever it was."""

import contextlib
from enum import StrEnum

from tests.helpers.broken_invariant import BrokenInvariantError, must
from tests.helpers.simulated_workspace import DiskFullError
from tests.helpers.simulated_world import SimulatedWorld
from tests.simulation.stories import Story

MOST_S = 40
"""How long a story may take until it is at rest."""
CALM_S = 6
"""How long it has to be at rest: longer than a probation."""


class Death(StrEnum):
    """Who dies, and what follows. `GUARDED`: its guard starts another orchestrator. `BY_HAND`: a person does, later.

    `OF_GUARD`: the orchestrator takes its guard's place, and is started by itself. `OF_COMFYUI`: nobody but a ComfyUI.
    """

    GUARDED = "guarded"
    BY_HAND = "started again by hand"
    OF_GUARD = "its guard dies"
    OF_COMFYUI = "a ComfyUI dies"


def told(story: Story, death: Death, boundary: int) -> SimulatedWorld:
    """The story with that death at that boundary of it (0: nobody dies), at rest."""
    world = story.begin(death is not Death.BY_HAND)
    if boundary:
        deaths = {
            Death.GUARDED: world.kill_orchestrator,
            Death.BY_HAND: world.kill_orchestrator,
            Death.OF_GUARD: world.kill_guard,
            Death.OF_COMFYUI: lambda: _kill_a_comfyui(world),
        }
        world.at_boundary[world.boundaries + boundary] = deaths[death]
    story.ask(world)
    calm_s = 0
    for _ in range(MOST_S):
        world.run(1.0)
        if world.orchestrator is None and world.state.orchestrator is not None and not world.machine.guarded:
            with contextlib.suppress(DiskFullError):
                world.run_orchestrator()
        calm_s = calm_s + 1 if world.is_at_rest() else 0
        if calm_s > CALM_S:
            break
    return world


def _kill_a_comfyui(world: SimulatedWorld) -> None:
    for process in world.machine.alive():
        process.end(world.machine.now_ns, 7)
    world.machine.schedule(world.machine.now_ns)


def boundaries(story: Story, death: Death) -> int:
    """How many boundaries the undisturbed story has; it is checked on the way."""
    world = told(story, death, 0)
    check(story, death, 0, world)
    return world.boundaries - story.begin(death is not Death.BY_HAND).boundaries


def check(story: Story, death: Death, boundary: int, world: SimulatedWorld) -> None:
    """What must have come of it."""
    try:
        _check(story, death, boundary, world)
    except BrokenInvariantError as error:
        message = f"{death} at boundary {boundary}: {error}\n{world.story()}"
        raise BrokenInvariantError(message) from error


def _check(story: Story, death: Death, boundary: int, world: SimulatedWorld) -> None:
    state = world.state
    must(world.is_at_rest(), "not at rest after {} s", MOST_S)
    must((state.lock, state.job, state.worker) == (None, None, None), "something is left open: {}", state.job)
    lost = world.invariants.given_up
    alive = [one.environment for one in world.machine.alive() if one.spawn is not None and one.spawn not in lost]
    must(alive == ([state.serving] if state.serving else []), "alive: {}, serving: {!r}", alive, state.serving)
    must(not world.machine.files or world.orchestrator is None, "a request is left lying")
    world.check_replay()
    if world.orchestrator is not None:
        world.invariants.at_rest(state)
    if death is Death.OF_COMFYUI and boundary:
        return  # its death is a reason for more than one end
    unsure = boundary and death is Death.BY_HAND
    must(story.also(world), "it did not come to what it should")
    may_serve = story.serves | (story.by_hand if unsure else frozenset())
    must(state.serving in may_serve, "{!r} serves, not one of {}", state.serving, sorted(may_serve))
    if story.outcomes and not (unsure and story.by_hand):
        ended = state.switches[-1].state if state.switches else None
        must(ended in story.outcomes, "it ended {}, not {}", ended, sorted(story.outcomes))


def swept(story: Story, death: Death, every: int = 1, first: int = 1) -> int:
    """The story with a death at every boundary, or every so-manyth; how many it has. Raises BrokenInvariantError."""
    count = boundaries(story, death)
    for boundary in range(first, count + 1, every):
        check(story, death, boundary, told(story, death, boundary))
    return count

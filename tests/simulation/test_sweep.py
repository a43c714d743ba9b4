"""The orchestrator dies at every boundary there is: after each transaction, and after each effect before its outcome."""

from collections.abc import Callable

import attrs
import pytest

from journal.events import ShutdownRequested, SwitchAborted
from orchestrator.config import Config
from orchestrator.world import AskKind
from projections.state import OutcomeState
from tests.helpers.broken_invariant import must
from tests.helpers.simulated_comfyui import DIES_AT_START, Script, SimulatedEnvironment, Work
from tests.helpers.simulated_world import SimulatedWorld

# slow when measured, and what it runs has unit tests of its own
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

QUICK = Script(serves_after_s=0.0)
CONFIG = Config(probe_interval_s=0.2, probation_s=5.0, calm_after_s=5.0)


def quick_to_leave_with(code: int, after_s: float = 3.0) -> Script:
    return attrs.evolve(QUICK, exits_after_s=after_s, code=code)


def environment(name: str, *scripts: Script) -> SimulatedEnvironment:
    work = [Work(takes_s=0.1)]
    return SimulatedEnvironment(name, list(scripts or (QUICK,)), preflights=work, syncs=list(work))


def serving(*others: SimulatedEnvironment, first: tuple[Script, ...] = (QUICK,), guarded: bool) -> SimulatedWorld:
    world = SimulatedWorld(environment("a", *first), *others, config=CONFIG, guarded=guarded)
    world.run_orchestrator("a")
    world.run_until(lambda w: w.state.serving)
    return world


# Each story: how it begins, what is asked, and what must have come of it, wherever the orchestrator died.


@attrs.frozen
class Story:
    begin: Callable[[bool], SimulatedWorld]
    ask: Callable[[SimulatedWorld], object]
    serves: str
    outcome: OutcomeState | None = None


def first_switch(*target: Script) -> Callable[[bool], SimulatedWorld]:
    def begin(guarded: bool) -> SimulatedWorld:
        world = SimulatedWorld(environment("a"), environment("b", *target), config=CONFIG, guarded=guarded)
        source = world.start_foreign("a")
        world.run(5)
        world.at(0.6, lambda: source.end(world.machine.now_ns, 43))
        world.at(0.6, lambda: None)
        return world

    return begin


def from_panel(world: SimulatedWorld) -> None:
    world.write_request("b", "a", takes_s=0.05)
    world.run_orchestrator("b")


def by_page(world: SimulatedWorld) -> None:
    old = world.machine.alive()[0]
    world.write_request("b", "a", takes_s=0.05)
    world.at(0.5, lambda: old.end(world.machine.now_ns, 43))
    world.at(0.5, lambda: None)


def leave_with_42(world: SimulatedWorld) -> None:
    world.machine.alive()[0].end(world.machine.now_ns, 42)
    world.machine.schedule(world.machine.now_ns)


def abort_in_the_middle(world: SimulatedWorld) -> None:
    world.ask_switch("b")
    world.run(0.15)
    world.ask_abort()


STORIES = {
    "a good switch": Story(
        lambda guarded: serving(environment("b"), guarded=guarded),
        lambda world: world.ask_switch("b"),
        "b",
        OutcomeState.COMPLETE,
    ),
    "a good switch by a page": Story(
        lambda guarded: serving(environment("b"), guarded=guarded), by_page, "b", OutcomeState.COMPLETE
    ),
    "a broken target": Story(
        lambda guarded: serving(environment("b", DIES_AT_START), guarded=guarded),
        lambda world: world.ask_switch("b"),
        "a",
        OutcomeState.ROLLED_BACK,
    ),
    "a switch that is aborted": Story(
        lambda guarded: serving(environment("b"), guarded=guarded),
        abort_in_the_middle,
        "a",
        OutcomeState.ROLLED_BACK,
    ),
    "the first switch": Story(first_switch(QUICK), from_panel, "b", OutcomeState.COMPLETE),
    "the first switch, broken": Story(first_switch(DIES_AT_START), from_panel, "a", OutcomeState.ROLLED_BACK),
    "a restart by command": Story(lambda guarded: serving(guarded=guarded), SimulatedWorld.ask_restart, "a"),
    "a restart by file": Story(
        lambda guarded: serving(guarded=guarded), lambda world: world.write_command(AskKind.RESTART), "a"
    ),
    "a survivor of a restart": Story(
        lambda guarded: serving(first=(attrs.evolve(QUICK, survivors=2), QUICK), guarded=guarded),
        SimulatedWorld.ask_restart,
        "a",
    ),
    "a crash in probation": Story(
        lambda guarded: serving(environment("b", quick_to_leave_with(7)), guarded=guarded),
        lambda world: world.ask_switch("b"),
        "a",
        OutcomeState.ROLLED_BACK,
    ),
    "a crash": Story(
        lambda guarded: serving(first=(quick_to_leave_with(7), QUICK), guarded=guarded), lambda world: world.run(3), "a"
    ),
}
OF_EXIT_CODES = {
    "a restart by 42": Story(lambda guarded: serving(guarded=guarded), leave_with_42, "a"),
    "a target that asks for 42 first": Story(
        lambda guarded: serving(environment("b", quick_to_leave_with(42, 0.3), QUICK), guarded=guarded),
        lambda world: world.ask_switch("b"),
        "b",
        OutcomeState.COMPLETE,
    ),
}
"""What an orphan's exit code decides is only known where somebody reaps orphans."""
BY_HAND = [
    "a good switch",
    "a broken target",
    "the first switch, broken",
    "a restart by command",
    "a crash in probation",
]
"""Told once more where nobody starts a dead orchestrator again but a person, a while later."""


def told(story: Story, dies_at: int, *, guarded: bool) -> SimulatedWorld:
    """The story, with the orchestrator killed at that boundary of it (0: never) and started again."""
    world = story.begin(guarded)
    world.dies_at_boundary = world.boundaries + dies_at if dies_at else 0
    story.ask(world)
    for _ in range(25):
        world.run(1)
        if world.orchestrator is None and not guarded:
            world.run_orchestrator()
    return world


def check(story: Story, world: SimulatedWorld) -> None:
    state = world.state
    must(state.serving == story.serves, "{} serves, not {}", state.serving, story.serves)
    alive = [process.environment for process in world.machine.alive()]
    must(alive == [story.serves], "alive: {}", alive)
    must((state.lock, state.job, state.worker) == (None, None, None), "something is left open")
    must(not world.machine.files, "a request is left lying")
    if story.outcome is not None:
        must(state.switches[-1].state is story.outcome, "it ended {}", state.switches[-1])
    world.check_replay()


@pytest.mark.parametrize(
    ("name", "guarded"),
    [*((name, True) for name in STORIES | OF_EXIT_CODES), *((name, False) for name in BY_HAND)],
)
def test_one_death_at_every_boundary(name, guarded):
    story = (STORIES | OF_EXIT_CODES)[name]
    undisturbed = told(story, 0, guarded=guarded)
    check(story, undisturbed)
    begun = story.begin(guarded).boundaries
    for boundary in range(1, undisturbed.boundaries - begun + 1):
        world = told(story, boundary, guarded=guarded)
        try:
            check(story, world)
        except AssertionError as error:
            message = f"killed at boundary {boundary}: {error}\n{world.story()}"
            raise AssertionError(message) from error


@pytest.mark.parametrize("urgent", [True, False])
def test_a_shutdown_is_finished_by_whoever_the_guard_starts_next(urgent):
    def told_with(dies_at: int) -> SimulatedWorld:
        world = serving(environment("b", Script(serves_after_s=60.0)), guarded=True)
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
    world = serving(environment("b"), guarded=True)
    world.ask_switch("b")
    for _ in range(12):
        world.run(every_s + 0.1)
        world.kill_orchestrator()
    world.run_until(lambda w: w.state.job is None, within_s=60)

    assert world.state.serving == "b"
    assert world.state.outcome.state is OutcomeState.COMPLETE

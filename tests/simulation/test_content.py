"""Content in virtual time: what was healthy is kept, an update that breaks is taken back, and nothing of anybody's is lost."""

import functools
import math
from collections.abc import Callable

import pytest

from journal.clock import S
from journal.events import (
    CaptureFinished,
    CaptureSkipped,
    Evidence,
    GenerationRecorded,
    ProcessIntended,
    RestoreFinished,
    RestoreStarted,
    RollbackTried,
    RollbackTryFailed,
    StartPlanned,
    SupervisionParked,
    SwitchRolledBack,
)
from orchestrator.config import Config
from projections.generations import Candidate, find
from projections.rollback import ways_back
from projections.state import OutcomeState, WorkKind
from tests.helpers.simulated_comfyui import HEALTHY, Script, SimulatedEnvironment, Work, leaves_with
from tests.helpers.simulated_world import SimulatedWorld

# slow when measured, and what it runs has unit tests of its own
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

A_MINUTE_AND_MORE = 75
GOOD, BAD = "content of a", "an update that breaks"


def serving(*others: SimulatedEnvironment | str, guarded: bool = False) -> SimulatedWorld:
    """`a` serves, proven, and its content is kept."""
    world = SimulatedWorld("a", *others, config=Config(probe_interval_s=0.5), guarded=guarded)
    world.run_orchestrator("a")
    world.run_to_rest()
    world.run(A_MINUTE_AND_MORE)
    assert world.state.generations[0].kept
    return world


def update(world: SimulatedWorld, content: str = BAD, *, breaks: bool = True) -> None:
    world["a"].content = content
    if breaks:
        world["a"].poisoned.add(content)


def over(world: SimulatedWorld) -> object:
    return world.state.switches and world.state.job is None and world.state.worker is None


def test_what_serves_is_kept_once_and_beside_it():
    world = serving()

    assert len(world.events(CaptureFinished)) == 1
    assert world["a"].refs == {world.state.generations[0].generation: GOOD}
    world.ask_restart()
    world.run_to_rest()
    assert len(world.events(CaptureFinished)) == 1  # the same content is the same generation


def test_what_was_changed_before_it_could_be_kept_is_not_kept():
    world = SimulatedWorld("a")
    world.run_orchestrator("a")
    world.run_until(lambda w: w.state.job and w.state.job_process)
    world["a"].content = "edited while it started"
    world.run_to_rest()

    assert [event.generation for event in world.events(CaptureSkipped)] == [world.state.generations[0].generation]
    assert not world["a"].refs


@pytest.mark.scenario("B-09")
@pytest.mark.parametrize("by", ["an exit with 42", "a command"])
def test_a_restart_that_no_longer_comes_up_goes_back_to_the_last_healthy_content(by):
    world = serving("b")
    update(world)
    if by == "a command":
        world.ask_restart()
    else:
        serves = world.machine.alive()[0]
        serves.end(world.machine.now_ns, 42)
        world.machine.schedule(world.machine.now_ns)
    world.run_until(over)

    [restored] = world.events(RestoreFinished)
    saved = find(world.state.generations, world.events(RestoreStarted)[0].saved)
    assert restored.ok
    assert (world["a"].content, world.state.serving) == (GOOD, "a")
    assert saved.evidence is Evidence.SAVED
    assert world["a"].refs[saved.generation] == BAD
    assert world.state.outcome.state is OutcomeState.ROLLED_BACK
    assert "exit code 7" in world.state.outcome.error
    assert len([one for one in world.events(StartPlanned) if one.kind == "retry"]) == 0  # it would have been no use


@pytest.mark.scenario("B-09")
def test_it_goes_back_to_what_was_healthy_last_though_another_environment_was_healthy_since():
    world = serving("b")
    world.ask_switch("b")
    world.run_until(over)
    world.run(A_MINUTE_AND_MORE)
    world.ask_switch("a")
    world.run_until(lambda w: w.state.serving == "a" and w.state.job is None)
    update(world)
    world.ask_restart()
    world.run_until(lambda w: len(w.state.switches) == 3 and w.state.job is None)

    assert [(one.environment, one.restores) for one in world.events(RollbackTried)] == [("a", True)]


@pytest.mark.scenario("B-09")
def test_it_goes_back_once():
    world = serving()
    update(world)
    world["a"].poisoned.add(GOOD)  # what was healthy is not any more
    world.ask_restart()
    world.run_until(lambda w: w.state.parked)
    world.run(300)

    assert len(world.events(RestoreStarted)) == 1
    assert len(world.events(SupervisionParked)) == 1


def test_an_update_that_works_is_left_alone():
    world = serving()
    update(world, breaks=False)
    world.ask_restart()
    world.run_to_rest()
    world.run(5)

    assert not world.events(RestoreStarted)
    assert sorted(world["a"].refs.values()) == sorted([GOOD, BAD])


def test_the_same_content_that_fails_is_tried_again_as_before():
    world = SimulatedWorld(SimulatedEnvironment("a", [leaves_with(7, 80.0), leaves_with(7, 0.5), HEALTHY]))
    world.run_orchestrator("a")
    world.run_to_rest()
    world.run(100)
    world.run_to_rest()

    assert not world.events(RestoreStarted)
    assert world.state.serving == "a"


def back_to(world: SimulatedWorld, number: int) -> None:
    world.ask_switch(world.state.generations[number].environment, generation=world.state.generations[number].generation)


def test_a_rollback_by_command_brings_the_content_back_and_can_be_undone():
    world = serving()
    update(world, "a newer one", breaks=False)
    world.ask_restart()
    world.run_to_rest()
    world.run(5)
    back_to(world, 0)
    world.run_until(over)
    assert (world["a"].content, world.state.serving) == (GOOD, "a")

    undone = world.events(RestoreStarted)[0].saved
    world.ask_switch("a", generation=undone)
    world.run_until(lambda w: len(w.state.switches) == 2 and w.state.job is None)
    assert (world["a"].content, world.state.serving) == ("a newer one", "a")
    assert not [one for one in world.events(GenerationRecorded) if one.evidence is Evidence.SAVED]  # both were kept


def test_a_rollback_by_command_that_fails_brings_back_what_it_had_overwritten():
    world = serving()
    update(world, "a newer one", breaks=False)
    world.ask_restart()
    world.run_to_rest()
    world.run(5)
    world["a"].poisoned.add(GOOD)
    world["a"].content = "edited since, and never started"
    back_to(world, 0)
    world.run_until(over)

    assert (world["a"].content, world.state.serving) == ("edited since, and never started", "a")
    assert world.state.outcome.state is OutcomeState.ROLLED_BACK


@pytest.mark.parametrize("moment_s", [0.01, 0.25, 0.45, 1.0, 2.5, 3.5])
def test_an_aborted_rollback_leaves_what_there_was(moment_s):
    world = serving()
    update(world, "a newer one", breaks=False)
    world.ask_restart()
    world.run_to_rest()
    world.run(5)
    world["a"].content = "edited since"
    back_to(world, 0)
    world.at(moment_s, world.ask_abort)
    world.run_until(over)

    assert (world["a"].content, world.state.serving) == ("edited since", "a")


def test_what_cannot_be_saved_is_not_overwritten():
    world = serving()
    world["a"].captures = [Work(ok=False, problem="no space left on device")]
    update(world)
    world.ask_restart()
    world.run_until(lambda w: w.state.parked)

    assert not world.events(RestoreStarted)
    assert world["a"].content == BAD
    assert "no space left on device" in world.events(RollbackTryFailed)[0].error


def test_going_back_from_a_switch_overwrites_nothing_of_what_served():
    world = serving(SimulatedEnvironment("b", poisoned={"content of b"}))
    update(world, "edited, not restarted", breaks=False)
    world.ask_switch("b")
    world.run_until(over)

    assert world.events(SwitchRolledBack)[0].environment == "a"
    assert not world.events(RestoreStarted)
    assert (world["a"].content, world.state.serving) == ("edited, not restarted", "a")


def test_of_what_served_the_kept_content_comes_next_when_what_is_on_the_disk_fails_too():
    world = serving(SimulatedEnvironment("b", poisoned={"content of b"}))
    update(world)
    world.ask_switch("b")
    world.run_until(over)

    assert [(one.environment, one.restores) for one in world.events(RollbackTried)] == [("a", False), ("a", True)]
    assert (world["a"].content, world.state.serving) == (GOOD, "a")


def break_and_restart(world: SimulatedWorld) -> None:
    update(world)
    world.ask_restart()


def roll_back(world: SimulatedWorld) -> None:
    world["a"].content = "edited since"
    back_to(world, 0)


@pytest.mark.scenario("B-09")
@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "started again by hand"])
@pytest.mark.parametrize("story", [break_and_restart, roll_back])
def test_wherever_the_orchestrator_dies_the_content_comes_back_and_what_was_there_is_kept(
    story: Callable[[SimulatedWorld], None], guarded: bool
):
    boundary = 0
    while True:
        boundary += 1
        world = serving(guarded=guarded)
        world.dies_at_boundary = world.boundaries + boundary
        story(world)
        overwritten = world["a"].content
        world.run_until(lambda w: over(w) or w.orchestrator is None)
        if world.orchestrator is None and not guarded:
            world.run(1)  # a worker of its may end by itself meanwhile
            world.run_orchestrator(manual=False)
        world.run_until(over)
        assert (world["a"].content, world.state.serving) == (GOOD, "a")
        assert overwritten in world["a"].refs.values()
        assert [one.ok for one in world.events(RestoreFinished)] == [True]
        world.check_replay()
        if world.boundaries < world.dies_at_boundary:
            break
    assert boundary > 15


def test_every_start_is_of_what_its_event_says():
    world = serving()
    update(world)
    world.ask_restart()
    world.run_until(over)

    assert [event.fingerprint for event in world.events(ProcessIntended)] == [GOOD, BAD, GOOD]


def test_whoever_works_on_it_after_the_orchestrator_died_loses_nothing():
    """At every boundary of a rollback: it dies, somebody edits, and the next one goes on."""
    boundary, work = 0, "an hour of work"
    while True:
        boundary += 1
        world = serving()
        world.dies_at_boundary = world.boundaries + boundary
        roll_back(world)
        world.run_until(lambda w: over(w) or w.orchestrator is None)
        if world.orchestrator is not None:
            break
        world["a"].content = work
        world.run_orchestrator(manual=False)
        world.run_until(over)
        assert work in {*world["a"].refs.values(), world["a"].content}
        assert world.state.serving == "a"
    assert boundary > 15


def test_what_is_changed_again_and_again_is_not_overwritten():
    world = serving()
    roll_back(world)
    for number in range(40):
        world.at(number * 0.25, functools.partial(setattr, world["a"], "content", f"edit {number}"))
    world.run_until(over)
    world.run(15)

    assert world["a"].content == "edit 39"
    assert world.state.serving == "a"


def slow_to_capture(takes_s: float, *others: SimulatedEnvironment | str) -> SimulatedWorld:
    """`a` serves, and its capture hangs."""
    slow = SimulatedEnvironment("a", captures=[Work(takes_s=takes_s)])
    world = SimulatedWorld(slow, *others, config=Config(probe_interval_s=0.5))
    world.run_orchestrator("a")
    world.run_until(lambda w: w.state.worker and w.state.worker.kind is WorkKind.CAPTURE)
    return world


@pytest.mark.scenario("B-33")
def test_a_capture_that_hangs_is_in_nobodys_way():
    world = slow_to_capture(40.0, "b")
    asked_ns = world.machine.now_ns
    world.ask_switch("b")
    world.run_until(over)
    assert (world.machine.now_ns - asked_ns) / S < 10

    world = slow_to_capture(40.0, "b")
    world.ask_switch("b")
    world.run(0.1)
    world.ask_abort()
    asked_ns = world.machine.now_ns
    world.run_until(over)
    assert (world.machine.now_ns - asked_ns) / S < 2
    assert world.state.serving == "a"


def test_a_capture_that_was_in_the_way_is_done_another_time():
    world = slow_to_capture(40.0)
    world["a"].captures = [Work(takes_s=0.2)]
    world.ask_restart()
    world.run(30)

    assert world["a"].refs


@pytest.mark.parametrize("how", [{"code": 0}, {"code": None, "signal": "SIGINT"}])
def test_one_that_somebody_ended_while_it_started_says_nothing_about_its_content(how):
    world = serving()
    update(world, "a fine edit", breaks=False)
    world["a"].scripts = [Script(serves_after_s=math.inf, exits_after_s=1.0, **how), HEALTHY]
    world.ask_restart()
    world.run(60)

    assert world["a"].content == "a fine edit"
    assert not world.events(RestoreStarted)


def test_a_rollback_to_an_environment_that_did_nothing_wrong_starts_it_as_it_is():
    world = serving("b")
    world.ask_switch("b")
    world.run_until(over)
    world["a"].content = "work in a"
    best = ways_back(world.state, asked=True)[0]
    assert best == Candidate("a", world.state.generations[0].generation, restores=False)

    world.ask_switch(best.environment, generation=best.generation, restores=best.restores)
    world.run_until(lambda w: len(w.state.switches) == 2 and w.state.job is None)
    assert (world["a"].content, world.state.serving) == ("work in a", "a")


def test_with_nothing_serving_the_way_back_leads_from_what_was_healthy_last():
    world = serving()
    update(world, "a newer one", breaks=False)
    world.ask_restart()
    world.run_to_rest()
    world.run(5)
    world.ask_shutdown()
    world.run_until(lambda w: w.orchestrator is None)

    assert ways_back(world.state, asked=True) == (Candidate("a", world.state.generations[0].generation, restores=True),)
    assert ways_back(world.state) == ()

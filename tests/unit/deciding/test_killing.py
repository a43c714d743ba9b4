"""What SIGKILL does not end is named and left, and whatever has waited for it goes on."""

import attrs

from journal.clock import S, elapsed_ns
from journal.events import (
    Event,
    ExitCause,
    Ladder,
    LeftBehind,
    Origin,
    ProcessExited,
    ProcessSignalled,
    ProcessStopAsked,
    RestartRequested,
    SourceSeen,
    StartPlanned,
)
from journal.identity import Identity
from orchestrator.actions import Decision, Sweep
from orchestrator.deciding.killing import IN_VAIN, SWEEPS_MAX
from orchestrator.ladders import KILLS_MAX
from orchestrator.world import ChildFacts, Presence, World
from tests.helpers.histories import (
    ME,
    History,
    acted,
    decided,
    events_of,
    gone,
    only,
    seen,
    waits_s,
)


def found(decision: Decision, kind: type[Event]) -> bool:
    return any(isinstance(event, kind) for event in events_of(decision))


def survivor(pid: int, why: str = "") -> LeftBehind:
    return LeftBehind(Identity(pid, 7, ME.boot_id), "helper", why)


def swept_in_vain(history: History, world: World) -> ProcessExited:
    """Sweeps until that is given up."""
    for _ in range(SWEEPS_MAX):
        act = acted(history, world)
        assert act.effect == Sweep(history.state.main)
        history.add(*events_of(act))
        history.after(max(waits_s(decided(history, world), history), 2.0))
    return only(acted(history, world), ProcessExited)


def test_what_no_sweep_ends_is_left_after_some_10_s_with_its_pid_and_why():
    history = History().serving("a")
    world = gone(history, history.state.main, 42, left_behind=(survivor(41), survivor(42, "another user's")))
    begun = history.now
    exited = swept_in_vain(history, world)

    assert exited.left == (survivor(41, IN_VAIN), survivor(42, "another user's"))
    assert (exited.code, exited.cause, exited.given_up) == (42, ExitCause.RESTART, False)
    assert 5 < elapsed_ns(begun, history.now) / S < 20
    history.add(exited)
    assert history.state.left == exited.left
    assert history.state.processes == {}


def test_what_we_may_not_signal_is_swept_once_and_left():
    history = History().serving("a")
    world = gone(history, history.state.main, 0, left_behind=(survivor(41, "another user's"),))
    history.add(*events_of(acted(history, world)))
    assert waits_s(decided(history, world), history) == 0.05
    history.after(0.2)

    assert only(acted(history, world), ProcessExited).left == (survivor(41, "another user's"),)


def killed_in_vain(history: History) -> World:
    """It was asked to stop, and SIGKILL does nothing; the world after the last one."""
    process = history.state.main_process
    history.add(ProcessStopAsked(spawn=process.spawn, why="room", ladder=Ladder.DRAINED))
    history.add(ProcessSignalled(spawn=process.spawn, signal="SIGTERM", rung=0, whole_tree=True))
    for _ in range(KILLS_MAX):
        assert not found(decided(history), ProcessExited)
        history.after(1.0)
        history.add(ProcessSignalled(spawn=process.spawn, signal="SIGKILL", rung=1, whole_tree=True))
    left = (LeftBehind(process.identity, "python", ""),)
    facts = ChildFacts(Presence.ALIVE, process.identity, left_behind=left)
    return attrs.evolve(seen(history), processes={process.spawn: facts})


def test_a_comfyui_that_sigkill_does_not_end_is_given_up_and_nobody_waits_for_it_any_more():
    history = History().serving("a")
    history.add(RestartRequested(origin=Origin.CLI))
    process, world = history.state.main_process, killed_in_vain(history)
    assert not found(decided(history, world), ProcessExited), "the last one has had no second yet"
    history.after(1.0)
    exited = only(acted(history, world), ProcessExited)

    assert exited == ProcessExited(
        spawn=process.spawn,
        code=None,
        signal="",
        cause=ExitCause.STOPPED,
        left=(LeftBehind(process.identity, "python", IN_VAIN),),
        given_up=True,
    )
    history.add(exited)
    assert only(acted(history), StartPlanned).environment == "a"


def test_a_source_that_was_given_up_is_not_seen_again():
    history = History().serving("a")
    left = LeftBehind(Identity(77, 7, ME.boot_id), "python", IN_VAIN)
    history.add(ProcessExited(spawn=history.state.main, code=0, signal="", cause=ExitCause.SWITCH, left=(left,)))
    history.switching("b", source="a", origin=Origin.FILE)
    assert found(decided(history, attrs.evolve(seen(history), source=Identity(78, 7, ME.boot_id))), SourceSeen)
    assert not found(decided(history, attrs.evolve(seen(history), source=left.identity)), SourceSeen)


def test_a_comfyui_of_another_workspace_is_neither_adopted_nor_waited_for():
    """This one is a copy: its journal was copied, too, while that one served."""
    history = History().serving("a").succeeded_by()
    history.add(*events_of(acted(history)))
    history.after(1).succeeded_by(attrs.evolve(ME, pid=201))
    process = history.state.main_process
    left = (LeftBehind(process.identity, "python", "another workspace's"),)
    facts = ChildFacts(Presence.ALIVE, process.identity, left_behind=left, elsewhere=True)
    decision = acted(history, attrs.evolve(seen(history), processes={process.spawn: facts}))

    assert events_of(decision) == (
        ProcessExited(spawn=process.spawn, code=None, signal="", cause=ExitCause.STOPPED, left=left, given_up=True),
    )

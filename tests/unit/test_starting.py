"""The first events of an orchestrator."""

import attrs

from journal.clock import S, Stamp
from journal.codec import Actor, Recorded
from journal.events import (
    Event,
    GuardLost,
    GuardStarted,
    LockAcquired,
    OrchestratorLost,
    OrchestratorStarted,
    Role,
    SwitchRequested,
)
from journal.identity import Identity
from orchestrator.config import Config
from orchestrator.starting import StartOptions, first_events
from projections.evolve import fold
from projections.state import Process, WorkspaceState

NOW = Stamp(S, S, "boot")
OLD, NEW = Identity(10, 1, "boot"), Identity(20, 2, "boot")


def events(state: WorkspaceState, options: StartOptions) -> list[Event]:
    return [draft.event for draft in first_events(state, NEW, "1.0", options, NOW, Config())]


def serving(environment: str) -> WorkspaceState:
    main = Process(
        spawn=1,
        role=Role.MAIN,
        environment=environment,
        fingerprint="",
        generation=None,
        port=1,
        url="",
        owner=OLD,
        since=NOW,
    )
    return WorkspaceState(seq=5, environment=environment, main=1, processes={1: attrs.evolve(main, confirmed=NOW)})


def test_a_first_start_is_one_event():
    (started,) = events(WorkspaceState(), StartOptions("stable", ("--cpu",)))
    assert isinstance(started, OrchestratorStarted)
    assert (started.environment, started.arguments, started.manual) == ("stable", ("--cpu",), True)


def test_a_predecessor_that_never_stopped_is_lost_first():
    lost, started = events(WorkspaceState(orchestrator=OLD), StartOptions())
    assert lost == OrchestratorLost(identity=OLD)
    assert isinstance(started, OrchestratorStarted)


def test_how_the_guard_says_that_it_ended_is_journaled_of_that_predecessor_only():
    killed = OrchestratorLost(identity=OLD, signal="SIGKILL")
    assert events(WorkspaceState(orchestrator=OLD), StartOptions(lost=killed))[0] == killed
    other = OrchestratorLost(identity=Identity(11, 1, "boot"), signal="SIGKILL")
    assert events(WorkspaceState(orchestrator=OLD), StartOptions(lost=other))[0] == OrchestratorLost(identity=OLD)
    assert len(events(WorkspaceState(), StartOptions(lost=killed))) == 1


def test_another_environment_than_the_one_that_serves_is_a_switch():
    drafts = first_events(serving("stable"), NEW, "1.0", StartOptions("nightly"), NOW, Config())
    kinds = [type(draft.event) for draft in drafts]
    assert kinds == [OrchestratorStarted, SwitchRequested, LockAcquired]
    assert {draft.switch for draft in drafts[1:]} == {7}


def test_the_environment_that_serves_is_no_switch():
    assert len(events(serving("stable"), StartOptions("stable"))) == 1


def test_the_events_can_be_folded():
    state = attrs.evolve(serving("stable"), orchestrator=OLD)
    drafts = first_events(state, NEW, "1.0", StartOptions("nightly"), NOW, Config())
    actor = Actor("orchestrator", NEW, "host")
    recorded = [
        Recorded(
            seq=state.seq + 1 + index, id="", event=d.event, at=NOW, actor=actor, switch=d.switch, cause=None, hash=b""
        )
        for index, d in enumerate(drafts)
    ]
    after = fold(recorded, state)
    assert after.orchestrator == NEW
    assert after.lock is not None
    assert after.job is not None
    assert after.job.environment == "nightly"


def test_its_guard_is_journaled_once_and_a_dead_one_is_lost():
    guard, next_guard = Identity(30, 3, "boot"), Identity(31, 3, "boot")
    again = StartOptions(manual=False, guard=guard)

    assert events(WorkspaceState(), again)[1:] == [GuardStarted(identity=guard)]
    assert events(WorkspaceState(guard=guard), again)[1:] == []
    assert events(WorkspaceState(guard=guard), attrs.evolve(again, guard=next_guard))[1:] == [
        GuardLost(identity=guard),
        GuardStarted(identity=next_guard),
    ]
    assert events(WorkspaceState(guard=guard), StartOptions())[1:] == [GuardLost(identity=guard)]

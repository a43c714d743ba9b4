"""How decisions become one step: one transaction, up to the first effect."""

import attrs
import pytest

from journal.clock import S, seconds
from journal.events import OrchestratorStopped, RestartRequested, ShutdownRequested
from orchestrator import decide as deciding
from orchestrator.actions import Act, End, Took, Wait
from orchestrator.config import Config
from orchestrator.decide import DecisionLoopError, decide, plan
from orchestrator.deciding.situation import Situation, soonest
from orchestrator.world import ProbeFacts
from projections.switching import Stage
from tests.helpers.histories import (
    History,
    acted,
    decided,
    gone,
    in_stage,
    names_of,
    planned_step,
    seen,
    stamp,
    waits_s,
)


def test_a_step_goes_on_to_the_first_effect():
    history = History().serving("a")

    step = planned_step(history, gone(history, history.state.main, 0))

    assert names_of(step) == ["process.exited", "shutdown.requested", "orchestrator.stopped"]
    assert step.effect == End(0)


def test_a_step_stops_where_a_fact_is_missing_and_appends_what_it_has():
    history = History().serving("a")
    world = attrs.evolve(gone(history, history.state.main, 42), environments={})

    step = planned_step(history, world)

    assert names_of(step) == ["process.exited", "start.planned"]
    assert step.effect is None


def test_nothing_to_do_is_a_wait():
    history = History().serving("a")

    assert isinstance(planned_step(history), Wait)


def test_what_was_used_up_without_an_event_is_told_all_the_same():
    history = History().serving("a")

    step = planned_step(history, seen(history, probe=ProbeFacts(99, True, 1, 200, "")))

    assert step == Act((), None, frozenset({Took.PROBE}))


def test_a_step_takes_what_all_its_decisions_took():
    history = in_stage(Stage.VALIDATING)
    world = seen(history, probe=ProbeFacts(history.job_spawn, False, 1, None, "refused"), signal="SIGINT")

    step = planned_step(history, world)

    assert step.took == {Took.PROBE, Took.SIGNAL}
    assert names_of(step) == ["shutdown.requested", "health.probed", "process.stop_asked", "process.signalled"]


def test_a_rule_that_does_not_notice_its_own_events_is_a_bug_that_is_named(monkeypatch):
    def restless(situation):
        return situation.act(RestartRequested(origin="test"))

    monkeypatch.setattr(deciding, "_RULES", (restless,))
    history = History().serving("a")

    with pytest.raises(DecisionLoopError, match=r"does not come to rest; it last wanted restart\.requested"):
        planned_step(history)


def test_where_no_rule_has_anything_to_say_there_is_nothing_to_wait_for(monkeypatch):
    monkeypatch.setattr(deciding, "_RULES", ())

    assert decided(History().serving("a")) == Wait(None)


def test_deciding_reads_nothing_but_its_arguments():
    history = in_stage(Stage.CLEARING)
    arguments = (history.state, seen(history), history.now, Config())

    assert decide(*arguments) == decide(*arguments)
    assert plan(*arguments, history.actor) == plan(*arguments, history.actor)


def test_it_does_not_need_to_know_that_there_was_a_crash():
    """A successor that has adopted everything goes on exactly where its predecessor stood."""
    for stage in (Stage.SYNCING, Stage.CLEARING, Stage.CHOOSING):
        before, after = in_stage(stage), in_stage(stage).succeeded_by()
        while names_of(decided(after)) == ["process.adopted"]:
            after.add(*(draft.event for draft in acted(after).events))

        assert names_of(decided(before)) == names_of(decided(after))


def test_the_soonest_wait_wins():
    waits = (Wait(stamp(5)), None, Wait(None), Wait(stamp(3)), Act())

    assert soonest(*waits) == Wait(stamp(3))
    assert soonest(None, Wait(None)) == Wait(None)


@pytest.mark.parametrize("passed_s", [0, 0.5, 1, 7])
def test_a_wait_is_never_for_the_past(passed_s):
    situation = Situation(History().state, seen(History().begun()), stamp(10 + passed_s), Config())

    until = situation.wait(stamp(10), S).until
    assert until.monotonic_ns == stamp(10 + max(1, passed_s)).monotonic_ns
    assert situation.over(stamp(10), S) is (passed_s >= 1)


def test_what_happened_in_another_boot_is_over():
    situation = Situation(History().state, seen(History().begun()), stamp(0, "boot-2"), Config())

    assert situation.over(stamp(0, "boot-1"), seconds(86_400))


def test_a_stopped_orchestrators_state_can_be_decided_on_by_the_next():
    history = History().serving("a")
    history.add(ShutdownRequested(origin="cli"))
    history.add(*(draft.event for draft in planned_step(history, gone(history, history.state.main, 0)).events))
    assert isinstance(history.records[-1].event, OrchestratorStopped)

    history.after(1).begun("a")
    assert names_of(decided(history)) == ["start.planned"]


def test_waiting_for_a_worker_is_bounded_by_its_limit():
    history = in_stage(Stage.PREPARING)
    history.add(*(draft.event for draft in acted(history).events))

    assert waits_s(decided(history), history) == 30

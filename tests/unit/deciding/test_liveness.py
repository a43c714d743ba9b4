"""What serves is looked at now and then: events only on change, nothing done about it, and a busy one has its time."""

import attrs
import pytest

from journal.clock import MS, S, before, elapsed_ns
from journal.events import HealthResponsive, HealthUnresponsive
from orchestrator.actions import Act, Probe, Took
from orchestrator.config import Config
from orchestrator.deciding.liveness import FAILURES
from orchestrator.world import Looks, ProbeFacts, looks_after
from projections.switching import Stage
from tests.helpers.histories import (
    History,
    acted,
    decided,
    events_of,
    in_stage,
    names_of,
    only,
    seen,
    stamp,
    waits_s,
)

CONFIG = Config()
MUTE = "no answer within 2.0 s"


class Watched:
    """An environment that serves, proven, and whoever looks at it: probes as the shell would make and remember them."""

    def __init__(self) -> None:
        self.history = History().serving("a")
        self.looks: Looks | None = None
        self.history.after(60).add(*events_of(acted(self.history)))

    @property
    def spawn(self) -> int:
        return int(self.history.state.main)

    def world(self, **changes):
        return seen(self.history, looks=self.looks, **changes)

    def decided(self, **changes):
        return decided(self.history, self.world(**changes), CONFIG)

    def look(self, ok: bool, stranger: str = "") -> Act:
        """The look that is due, and what came of it."""
        act = self.decided()
        process = self.history.state.main_process
        in_doubt = self.looks is None or self.looks.failures > 0 or process.unresponsive is not None
        assert act == Act((), Probe(self.spawn, process.url, process.port, 2 * S, whose=in_doubt))
        facts = ProbeFacts(self.spawn, ok, 5 * MS, 200 if ok else None, "" if ok else MUTE, stranger)
        self.history.after(0.1)
        self.looks = looks_after(self.looks, facts, self.history.now)
        act = acted(self.history, self.world(probe=facts), CONFIG)
        assert act.took == {Took.PROBE}
        self.history.add(*events_of(act))
        return act

    def later(self) -> "Watched":
        self.history.after(15)
        return self


@pytest.mark.scenario("B-46")
def test_what_serves_is_looked_at_every_15_seconds():
    watched = Watched()
    for _ in range(3):
        assert events_of(watched.look(ok=True)) == ()
        assert waits_s(watched.decided(), watched.history) == 15
        watched.history.after(14.9)
        assert waits_s(watched.decided(), watched.history) == pytest.approx(0.1)
        watched.history.after(0.1)


def test_the_first_look_is_due_as_long_after_it_was_confirmed():
    history = History().serving("a")

    assert waits_s(decided(history, config=CONFIG), history) == 5


def test_a_successor_looks_that_long_after_its_own_start():
    history = History().serving("a").after(60)
    history.add(*events_of(acted(history)))
    history.succeeded_by()
    history.add(*events_of(acted(history, config=CONFIG)))  # adopted

    assert waits_s(decided(history.after(1), config=CONFIG), history) == 14


@pytest.mark.scenario("B-46")
def test_it_is_unresponsive_after_some_failures_in_a_row_and_that_is_one_event():
    watched = Watched()
    for _ in range(FAILURES - 1):
        assert events_of(watched.look(ok=False)) == ()
        watched.later()
    act = watched.look(ok=False)
    (event,) = events_of(act)
    silent_ns = round(15.1 * (FAILURES - 1) * S)
    assert event == HealthUnresponsive(spawn=watched.spawn, error=MUTE, failures=FAILURES, silent_ns=silent_ns)
    assert act.effect is None
    for _ in range(5):
        assert events_of(watched.later().look(ok=False)) == ()


@pytest.mark.scenario("B-46")
def test_nothing_is_done_about_it():
    watched = Watched()
    for _ in range(10):
        watched.look(ok=False)
        watched.later()
    state = watched.history.state
    assert (state.serving, state.crashes, state.main_process.stopping) == ("a", 0, None)
    assert elapsed_ns(state.main_process.unresponsive.since, watched.history.now) == 10 * 15 * S + round(0.9 * S)


@pytest.mark.scenario("B-46")
def test_one_that_answers_in_between_has_only_been_busy():
    watched = Watched()
    for ok in [*[False] * (FAILURES - 1), True] * 3:
        assert events_of(watched.look(ok)) == ()
        watched.later()


@pytest.mark.scenario("B-46")
def test_that_it_answers_again_is_an_event_and_says_for_how_long_it_did_not():
    watched = Watched()
    for _ in range(FAILURES):
        watched.look(ok=False)
        watched.later()
    (event,) = events_of(watched.look(ok=True))
    assert event == HealthResponsive(spawn=watched.spawn, silent_ns=round(15.1 * FAILURES * S))
    assert watched.history.state.main_process.unresponsive is None
    assert events_of(watched.later().look(ok=True)) == ()


def test_an_answer_of_somebody_else_is_none():
    watched = Watched()
    for _ in range(FAILURES - 1):
        watched.look(ok=True, stranger="pid 9 (nginx)")
        watched.later()
    event = only(watched.look(ok=True, stranger="pid 9 (nginx)"), HealthUnresponsive)
    assert event.error == "answered by another process: pid 9 (nginx)"


def test_one_look_at_a_time():
    watched = Watched()
    assert isinstance(watched.decided(), Act)
    assert not isinstance(watched.decided(probing=True), Act)


def test_looks_at_another_start_do_not_count():
    watched = Watched()
    watched.looks = Looks(watched.spawn + 99, watched.history.now, failures=99, failing_since=watched.history.now)
    assert isinstance(watched.decided(), Act)
    assert events_of(watched.look(ok=False)) == ()


def test_a_successor_knows_that_it_hangs_and_sees_that_it_does_not_any_more():
    watched = Watched()
    for _ in range(FAILURES):
        watched.look(ok=False)
        watched.later()
    watched.history.succeeded_by()
    watched.looks = None
    watched.history.add(*events_of(acted(watched.history, watched.world(), CONFIG)))
    assert watched.history.state.main_process.unresponsive is not None
    assert names_of(watched.later().look(ok=True)) == ["health.responsive"]


def test_a_start_that_is_being_validated_is_probed_as_ever():
    history = in_stage(Stage.VALIDATING)
    facts = ProbeFacts(history.job_spawn, False, 1, None, "connection refused")
    looks = Looks(history.job_spawn, history.now, failures=50, failing_since=history.now)

    assert names_of(acted(history, seen(history, probe=facts, looks=looks), CONFIG)) == ["health.probed"]


def test_looks_are_counted_by_start_and_begin_anew_with_an_answer():
    bad, good = ProbeFacts(7, False, 1, None, MUTE), ProbeFacts(7, True, 1, 200, "")
    looks = looks_after(None, bad, stamp(1))
    assert looks == Looks(7, stamp(1), 1, stamp(1))
    looks = looks_after(looks, bad, stamp(2))
    assert looks == Looks(7, stamp(2), 2, stamp(1))
    assert looks_after(looks, attrs.evolve(bad, spawn=8), stamp(3)) == Looks(8, stamp(3), 1, stamp(3))
    assert looks_after(looks, attrs.evolve(good, stranger="pid 9"), stamp(3)).failures == 3
    assert looks_after(looks, good, stamp(3)) == Looks(7, stamp(3))


def test_since_when_is_told_from_the_event():
    history = History().serving("a").after(100)
    spawn = history.state.main
    history.add(HealthUnresponsive(spawn=spawn, error=MUTE, failures=3, silent_ns=30 * S))
    process = history.state.main_process
    assert (process.unresponsive.since, process.unresponsive.error) == (before(history.now, 30 * S), MUTE)
    history.add(HealthResponsive(spawn=spawn, silent_ns=40 * S))
    assert history.state.main_process == attrs.evolve(process, unresponsive=None)

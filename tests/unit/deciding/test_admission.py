"""Whether a switch is begun."""

import attrs
import pytest

from journal.clock import S
from journal.events import (
    LockBroken,
    Origin,
    RefusalReason,
    ShutdownRequested,
    SwitchKind,
    SwitchRefused,
    SwitchRequested,
)
from orchestrator.config import Config
from orchestrator.deciding.admission import admit
from orchestrator.world import SwitchAsk
from projections.jobs import JobKind
from projections.locking import ForeignLock
from projections.switching import Stage
from tests.helpers.histories import PERSON, History, draft_events, in_stage, stamp

ASK = SwitchAsk(target="b", origin=Origin.CLI, requester=PERSON)
BY_FILE = attrs.evolve(ASK, origin=Origin.FILE)


def answered(history: History, ask: SwitchAsk = ASK, lock_age_s: float | None = None):
    lock = None if lock_age_s is None else ForeignLock(stamp(history.now_s - lock_age_s))
    return admit(history.state, ask, lock, history.now, Config())


def refusal(history: History, ask: SwitchAsk = ASK, lock_age_s: float | None = None) -> SwitchRefused:
    (event,) = draft_events(answered(history, ask, lock_age_s))
    assert isinstance(event, SwitchRefused)
    return event


def test_a_switch_and_its_lock_are_one_transaction_in_its_own_name():
    history = History().serving("a")
    drafts = answered(history)
    requested, lock = draft_events(drafts)

    assert (requested.target, requested.source, requested.kind) == ("b", "a", SwitchKind.SWITCH)
    assert (lock.holder, lock.foreign) == (PERSON, False)
    assert {draft.switch for draft in drafts} == {history.state.seq + 1}


@pytest.mark.parametrize("after", [1, 2])
def test_the_switch_knows_its_seq_behind_other_events_of_the_transaction(after):
    history = History().serving("a")

    drafts = admit(history.state, ASK, None, history.now, Config(), after=after)

    assert {draft.switch for draft in drafts} == {history.state.seq + 1 + after}


def test_a_generation_makes_it_a_rollback_even_to_what_serves():
    requested = draft_events(answered(History().serving("b"), attrs.evolve(ASK, generation=7)))[0]

    assert (requested.kind, requested.generation) == (SwitchKind.ROLLBACK, 7)


@pytest.mark.parametrize(
    ("history", "source"),
    [(History().serving("a"), "a"), (History().begun("c"), "c"), (in_stage(Stage.SYNCING, JobKind.START), "a")],
)
def test_what_serves_or_would_is_the_source(history, source):
    assert draft_events(answered(history))[0].source == source


@pytest.mark.scenario("B-14")
def test_the_second_of_two_is_refused_with_the_holder_named():
    history = in_stage(Stage.PREPARING)

    refused = refusal(history, attrs.evolve(ASK, target="c"))

    assert refused.why is RefusalReason.SWITCH_OPEN
    assert f"switch {history.state.job.job} to 'b' holds the lock, asked for by pid {PERSON.pid}" in refused.message
    assert (refused.target, refused.origin) == ("c", Origin.CLI)


def test_what_serves_already_is_refused_under_that_name():
    assert refusal(History().serving("b")).why is RefusalReason.ALREADY_SERVING


def test_what_only_starts_does_not_serve_already():
    history = in_stage(Stage.VALIDATING, JobKind.START)

    assert isinstance(draft_events(answered(history, attrs.evolve(ASK, target="a")))[0], SwitchRequested)


def test_who_stops_begins_nothing():
    history = History().serving("a")
    history.add(ShutdownRequested(origin="cli"))

    assert refusal(history).why is RefusalReason.STOPPING


def test_an_environment_that_is_none_is_refused_before_anything_else():
    refused = refusal(in_stage(Stage.PREPARING), attrs.evolve(ASK, target="../x", problem="it holds a path separator"))

    assert (refused.why, refused.message) == (RefusalReason.UNKNOWN, "it holds a path separator")


def test_a_name_of_any_length_is_journaled_in_part():
    assert len(refusal(History().serving("a"), attrs.evolve(ASK, target="x" * 300, problem="too long")).target) == 255


# ---------------------------------------------------------- foreign locks


def test_a_young_foreign_lock_stands_in_the_way_of_a_command():
    refused = refusal(History().serving("a"), lock_age_s=299)

    assert refused.why is RefusalReason.LOCKED
    assert "299 s ago" in refused.message


def test_a_stale_one_is_broken_with_its_age():
    broken, requested, lock = draft_events(answered(History().serving("a"), lock_age_s=300))

    assert broken == LockBroken(why="foreign_stale", age_ns=300 * S)
    assert isinstance(requested, SwitchRequested)
    assert not lock.foreign


def test_the_switch_of_a_broken_lock_knows_its_seq():
    history = History().serving("a")
    drafts = answered(history, lock_age_s=300)

    assert [draft.switch for draft in drafts] == [None, history.state.seq + 2, history.state.seq + 2]


@pytest.mark.parametrize("age_s", [0, 299, 300, 9999])
def test_a_request_by_file_brings_its_lock_along(age_s):
    requested, lock = draft_events(answered(History().serving("a"), BY_FILE, lock_age_s=age_s))

    assert isinstance(requested, SwitchRequested)
    assert lock.foreign


def test_a_request_by_file_without_a_lock_is_as_good():
    assert not draft_events(answered(History().serving("a"), BY_FILE))[1].foreign

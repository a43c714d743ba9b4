"""A status that somebody set: shown until there is something newer, and never for ever."""

import json

import pytest

from journal.clock import S
from journal.events import LockReleased, StatusCleared, StatusSet, SwitchFailed, SwitchRolledBack
from projections.switching import Stage
from projections.views import status_document
from tests.helpers.histories import History, decided, event_of, events_of, in_stage, waits_s

FIELDS = json.dumps({"target_env": "b", "source_env": "a", "error": "out of memory"})


def posted(state: str = "failed", fields: str = FIELDS) -> StatusSet:
    return StatusSet(state=state, progress=40, message="it broke", fields=fields)


def shown(history: History) -> dict[str, object]:
    document = status_document(history.state)
    assert document is not None
    return document


def test_it_is_shown_with_all_its_fields_in_the_order_that_readers_know():
    history = History().serving("a")
    history.add(posted())

    assert list(shown(history).items()) == [
        ("state", "failed"),
        ("progress", 40),
        ("message", "it broke"),
        ("updated_at", history.now.wall_ns / S),
        ("target_env", "b"),
        ("source_env", "a"),
        ("error", "out of memory"),
    ]


def test_its_own_fields_do_not_take_the_place_of_the_four():
    history = History().serving("a")
    history.add(posted(fields='{"state": "complete", "updated_at": 1}'))

    assert (shown(history)["state"], shown(history)["target_env"]) == ("failed", None)
    assert shown(history)["updated_at"] == history.now.wall_ns / S


def test_an_open_switch_is_shown_again_as_soon_as_it_goes_on():
    history = in_stage(Stage.PREPARING)
    history.add(posted())
    assert shown(history)["state"] == "failed"
    history.add(event_of("preflight.started", history))
    assert shown(history)["state"] == "failed"
    history.add(event_of("switch.preflighted", history))
    assert shown(history)["state"] == "syncing"


def test_the_outcome_of_a_switch_is_newer_than_what_was_set_before():
    history = in_stage(Stage.PREPARING)
    history.add(SwitchFailed(reason="preflight", error="no main.py"))
    history.add(posted())
    history.add(SwitchRolledBack(environment="a", error="no main.py", nothing_stopped=True), LockReleased())

    assert shown(history)["state"] == "rolled_back"


def test_it_can_be_cleared():
    history = History().serving("a")
    history.add(posted(), StatusCleared())

    assert status_document(history.state) is None


@pytest.mark.parametrize("state", ["syncing", "complete"])
def test_an_orchestrator_lets_it_linger_and_then_clears_it_whatever_it_says(state):
    history = History().serving("a").after(3600)
    history.add(*events_of(decided(history)))
    history.add(posted(state=state))
    assert waits_s(decided(history), history) == 10
    history.after(10)
    assert events_of(decided(history)) == (StatusCleared(),)

"""A line for each switch."""

from comfygit_journal.switch_list import summaries
from journal.clock import MS
from journal.events import Origin, RefusalReason, SwitchRefused, SwitchRolledBack
from projections.story import Ending
from tests.helpers.story_events import broken_target, completed, rolled_back, serving


def test_an_ended_switch_has_outcome_duration_and_error():
    [line] = summaries(rolled_back().events)
    assert (line.switch, line.source, line.target) == (16, "old", "new")
    assert (line.ending, line.duration_ns) == (Ending.ROLLED_BACK, 9700 * MS)
    assert line.error.startswith("ComfyUI ended with exit code 7")


def test_a_good_switch_has_no_error():
    [line] = summaries(completed().events)
    assert (line.ending, line.error) == (Ending.COMPLETE, "")


def test_an_open_switch_has_no_duration():
    [line] = summaries(broken_target().events)
    assert (line.ending, line.duration_ns) == (Ending.OPEN, None)


def test_a_refusal_during_an_open_switch_is_a_line_of_its_own_and_ends_nothing():
    history = serving()
    history.ask("new", "old")
    why = RefusalReason.SWITCH_OPEN
    refused = history.add(SwitchRefused(target="x", source="old", origin=Origin.CLI, why=why, message="wait"))
    history.end(SwitchRolledBack(environment="old", error="", nothing_stopped=True))
    first, second = summaries(history.events)
    assert (first.ending, second.switch, second.ending) == (Ending.ROLLED_BACK, refused, Ending.REFUSED)


def test_an_end_without_its_request_is_passed_over():
    events = rolled_back().events
    assert summaries(events[20:]) == []

"""A state and its files, in a few lines."""

import json

from comfygit_journal.lines import as_json
from comfygit_journal.replay_text import (
    candidate_lines,
    candidates,
    difference_documents,
    difference_lines,
    state_document,
    state_lines,
    summary,
)
from comfygit_journal.replaying import Difference
from journal.events import GenerationDisproved, LockAcquired, SupervisionParked
from journal.identity import Identity
from projections.evolve import fold
from projections.state import WorkspaceState
from tests.helpers.story_events import History, broken_target, completed, rolled_back, serving


def lines(history: History) -> dict[str, str]:
    """The text under each label."""
    return {line[:14].strip(): line[14:] for line in state_lines(fold(history.events))}


def test_an_empty_journal_has_a_state_too():
    assert list(state_lines(WorkspaceState())) == [
        "journal       0 events",
        "orchestrator  none",
        "serves        nothing",
        "switch        none so far",
        "lock          free",
        "generations   0",
    ]


def test_a_served_workspace_in_a_few_lines():
    shown = lines(completed())
    assert shown["journal"] == "35 events, the last at 2026-03-01T12:01:53.900Z"
    assert shown["orchestrator"] == "pid 100, since 2026-03-01T12:00:00.000Z"
    assert shown["serves"] == "new (start 26, pid 1026, http://127.0.0.1:8188), healthy"
    assert shown["switch"] == "none open; the last, 16 to new, ended complete"
    assert shown["generations"] == "2, the newest: 14 of old, 32 of new"


def test_an_open_switch_holds_the_lock():
    shown = lines(broken_target())
    assert shown["switch"] == "16 to new is open: rolling_back"
    assert shown["lock"] == "held for switch 16 since 2026-03-01T12:01:45.900Z"
    assert shown["serves"] == "nothing; old is to"


def test_a_start_under_way_and_a_stop_are_said():
    history = serving()
    history.ask("new", "old")
    history.preflight("new")
    history.sync("new")
    history.stop(history.main, "room for new")
    history.spawn("new")
    assert lines(history)["serves"].endswith("not yet healthy")


def test_a_parked_workspace_says_why_and_what_to_do():
    history = serving()
    history.add(SupervisionParked(why="eight starts\x1b[0m", advice="mend it"))
    assert lines(history)["parked"].endswith("eight starts\\x1b[0m; mend it")


def test_differences_show_what_is_expected_and_what_was_found():
    wrong = [
        Difference(".switch.lock", None, b"", foreign=True),
        Difference(".orchestrator.pid", b"12", b"\xff\x1b[2J", foreign=False),
        Difference(".control_port", b"5050", None, foreign=False),
    ]
    assert list(difference_lines(wrong)) == [
        ".switch.lock differs (a foreign file: another program wrote it, and nobody has taken it in yet)",
        "  expected  no file",
        "  found     an empty file",
        ".orchestrator.pid differs",
        "  expected  12",
        "  found     \\xff\\x1b[2J",
        ".control_port differs",
        "  expected  5050",
        "  found     no file",
    ]
    assert summary(wrong) == "3 of 7 views differ"
    assert summary([]) == "all views agree"
    found = json.loads(as_json(difference_documents(wrong)))
    assert found[1] == {"name": ".orchestrator.pid", "expected": "12", "found": "\\xff\x1b[2J", "foreign": False}


def test_the_rollback_target_is_another_environment_that_was_healthy():
    state = fold(completed().events)
    assert list(candidate_lines(state, candidates(state))) == [
        "rollback target: old, generation 14, healthy at 2026-03-01T12:00:05.900Z (probed), not yet proven"
    ]


def test_during_a_switch_it_is_what_the_switch_would_go_back_to():
    history = serving()
    history.ask("new", "old")
    [candidate] = candidates(fold(history.events))
    assert candidate.environment == "old"


def test_a_disproved_generation_is_none():
    history = completed()
    history.add(GenerationDisproved(generation=14, why="crashed"))
    assert candidates(fold(history.events)) == ()


def test_what_served_before_without_a_generation_is_named_as_that():
    history = rolled_back()
    state = fold(history.events)
    assert candidates(state) == ()
    assert list(candidate_lines(WorkspaceState(), candidates(fold(broken_target().events)))) == [
        "rollback target: old, which served before"
    ]


def test_the_state_as_json():
    document = json.loads(as_json(state_document(fold(completed().events))))
    assert document["serving"] == "new"
    assert document["main"] == {
        "spawn": 26,
        "environment": "new",
        "pid": 1026,
        "url": "http://127.0.0.1:8188",
        "healthy": True,
    }
    assert document["last_switch"] == {"switch": 16, "state": "complete"}
    assert document["lock"] is None
    open_switch = state_document(fold(broken_target().events))
    assert open_switch["switch"] == {"switch": 16, "target": "new", "state": "rolling_back"}
    assert state_document(WorkspaceState())["at"] is None


def test_a_lock_without_a_switch_names_who_claimed_it():
    history = serving()
    history.add(LockAcquired(holder=Identity(4711, 1, "boot")))
    shown = lines(history)["lock"]
    assert shown.startswith("claimed by pid 4711 since 2026-")
    assert state_document(fold(history.events))["claim"]["pid"] == 4711

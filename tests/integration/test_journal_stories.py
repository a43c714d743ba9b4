"""`comfygit-journal show`, `switches` and `explain` on real journals."""

import shutil
from pathlib import Path

import pytest

from journal.events import (
    ControlListening,
    Origin,
    RefusalReason,
    SwitchRefused,
)
from journal.identity import own_identity
from tests.helpers.journal_command import Run, runner
from tests.helpers.story_events import journal_of, rolled_back, serving

SWITCH = 16


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journal_of(rolled_back(), tmp_path_factory.mktemp("template"))


@pytest.fixture
def ws(template: Path, tmp_path: Path) -> Path:
    """A workspace with a switch that was rolled back; no view was ever written."""
    shutil.copytree(template, tmp_path / "ws")
    return tmp_path / "ws"


def test_show_prints_the_envelope_the_content_and_the_causes(run, tmp_path):
    history = serving()
    first = history.add(ControlListening(host="", port=None, why="first"))
    second = history.add(ControlListening(host="", port=None, why="second"), cause=first)
    third = history.add(ControlListening(host="", port=None, why="third"), cause=second)
    root = journal_of(history, tmp_path)
    outcome = run(root, f"show {third}")
    assert outcome.code == 0
    assert outcome.out.startswith(f"event {third}: control.listening, version 1\n")
    assert [line.split()[0] for line in outcome.out.splitlines()[-2:]] == [str(second), str(first)]
    document = run(root, f"show --json {third}").json
    assert document["data"]["why"] == "third"
    assert [cause["seq"] for cause in document["causes"]] == [second, first]


def test_an_event_that_caused_itself_is_shown_once(run, tmp_path):
    history = serving()
    seq = len(history.events) + 1
    history.add(ControlListening(host="", port=None), cause=seq)
    assert len(run(journal_of(history, tmp_path), f"show --json {seq}").json["causes"]) == 1


def test_an_event_that_is_not_there_is_an_error(run, ws):
    outcome = run(ws, "show 999")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: showing event 999: there is none\nhint: there are events 1 to 45\n"


def test_switches_are_a_line_each(run, ws):
    heading, line = run(ws, "switches").out.splitlines()
    assert heading.split()[:2] == ["switch", "when"]
    assert line.split()[:7] == ["16", "2026-03-01T12:01:45.900Z", "old", "->", "new", "rolled_back", "9.7"]
    [document] = run(ws, "switches --json").json
    assert (document["switch"], document["ending"], document["duration_ns"]) == (SWITCH, "rolled_back", 9_700_000_000)


def test_without_a_switch_the_list_is_empty_and_that_is_no_failure(run, tmp_path):
    root = journal_of(serving(), tmp_path)
    outcome = run(root, "switches")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "warning: there is no switch yet\n")
    assert run(root, "switches --json").json == []


def test_explain_tells_the_newest_switch(run, ws):
    outcome = run(ws, "explain")
    assert outcome.code == 0
    assert outcome.out.startswith("Switch 16: old -> new: rolled back to old after 9.7 s\n")
    assert f"less {ws}/.metadata/logs/new/26.log" in outcome.out
    assert "nothing: old (start 36, pid 1036) was the last, and no longer runs" in outcome.out
    assert run(ws, "explain 16").out == outcome.out
    assert run(ws, "explain -o json").json["cause"]["code"] == 7


def test_explain_says_what_serves_and_who_supervises(run, tmp_path):
    me = own_identity()
    history = serving()
    history.ask("new", "old")
    history.supervise(me)
    history.serve("new", me)
    outcome = run(journal_of(history, tmp_path), "explain")
    assert f"serves now  new (start 20, pid {me.pid})\n" in outcome.out


def test_explain_without_any_switch_is_an_error(run, tmp_path):
    outcome = run(journal_of(serving(), tmp_path), "explain")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: explaining the newest switch: there has been none\nhint: ")


def test_explain_tells_a_refusal_where_nothing_else_was_asked(run, tmp_path):
    history = serving()
    refused = SwitchRefused(target="x", source="", origin=Origin.CLI, why=RefusalReason.UNKNOWN, message="no x")
    seq = history.add(refused)
    root = journal_of(history, tmp_path)
    assert "no x" in run(root, "explain").out
    assert run(root, f"explain {seq} --json").json["ending"] == "refused"


def test_explain_of_an_event_that_is_no_switch_names_its_switch(run, ws):
    outcome = run(ws, "explain 20")
    assert outcome.code == 1
    assert "event 20 is sync.started, and belongs to switch 16" in outcome.err
    assert "event 999 is not there" in run(ws, "explain 999").err

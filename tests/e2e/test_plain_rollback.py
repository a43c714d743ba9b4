"""Plain folders with a manifest: an update that breaks is taken back from the journal's bytes, and people go back and forth."""

import json

import pytest

from journal.events import (
    CaptureFinished,
    Evidence,
    RestoreFinished,
    RestoreStarted,
    StartPlanned,
    SupervisionParked,
    SwitchCompleted,
    SwitchRequested,
)
from projections.state import OutcomeState
from projections.switching import Stage
from tests.helpers.live_content import BREAKS, add_plain, kept, plain_content, write_plain
from tests.helpers.live_workspace import LiveWorkspace

pytestmark = pytest.mark.slow


@pytest.fixture
def live(workspace) -> LiveWorkspace:
    """`plain` serves, and its content is kept."""
    live: LiveWorkspace = workspace()
    add_plain(live, "plain")
    live.serve("plain")
    kept(live, "plain")
    return live


@pytest.mark.scenario("B-09")
def test_an_update_that_breaks_is_taken_back_from_the_journals_bytes_once(live):
    live.configure(crash_retry_max=0)
    good, broken = plain_content(live, "plain"), write_plain(live, "plain", BREAKS)
    live.leave(42)
    state = live.until_over()
    assert (state.serving, plain_content(live, "plain")) == ("plain", good)
    assert "version 2.0.dev0" in live.shown("rolled_back")["error"]
    [started], [finished] = live.of(RestoreStarted), live.of(RestoreFinished)
    assert finished.written == ("pyproject.toml", "uv.lock")
    [saved] = [event for event in live.of(CaptureFinished) if event.generation == started.saved]
    assert {file.name: file.text.encode() for file in saved.files} == broken
    told = live.cli("explain", tool="journal").stdout
    assert "brought back: pyproject.toml, uv.lock; what was there" in told
    assert f"--to {started.saved}" in told

    # Nobody has asked for anything, and it was not healthy for a minute: the second time it waits for somebody.
    live.order("plain", {"die_at_start": 8})
    again = write_plain(live, "plain", BREAKS)
    live.leave(42)
    state = live.until(lambda state: state.parked is not None)
    assert (len(live.of(RestoreStarted)), len(live.of(SwitchRequested))) == (1, 1)
    assert plain_content(live, "plain") == again

    live.order("plain", None)
    done = live.cli("rollback", "--to", str(started.generation), "--json")
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (0, "complete")
    assert plain_content(live, "plain") == good


@pytest.mark.scenario("B-09")
def test_where_the_content_before_it_does_not_help_either_it_is_a_critical_failure_and_no_loop(live):
    broken = write_plain(live, "plain", BREAKS)
    live.order("plain", {"die_at_start": 8})
    live.leave(42)
    state = live.until(lambda state: state.parked is not None)
    [outcome] = state.switches
    assert (outcome.state, state.serving, state.lock) == (OutcomeState.CRITICAL_FAILURE, "", None)
    [restored] = live.of(RestoreStarted)
    assert len(live.of(SupervisionParked)) == 1
    told = live.cli("explain", tool="journal").stdout
    assert f"rollback --workspace {live.root} --to {restored.saved}" in told
    live.order("plain", None)
    done = live.cli("rollback", "--to", str(restored.saved))
    assert (done.returncode, "critical failure" in done.stdout) == (1, True)
    assert f"to undo: comfygit-orchestrator rollback --to {restored.generation}\n" in done.stdout
    assert plain_content(live, "plain") == broken  # as it was asked for; the other one has failed as well
    assert live.cli("rollback", "--to", str(restored.generation)).returncode == 0
    assert live.state().serving == "plain"


def test_rollback_without_a_number_goes_to_the_content_before_an_update_that_works(live):
    old = plain_content(live, "plain")
    new = write_plain(live, "plain", "1.1")
    live.leave(42)
    live.until(lambda state: len(state.generations) == 2)
    second = kept(live, "plain")
    last = live.cli("replay", "--last-healthy", tool="journal").stdout
    assert "rollback target: plain, generation" in last.splitlines()[0]
    assert "its content brought back" in last.splitlines()[0]
    planned = live.cli("rollback", "--dry-run", "--json")
    assert json.loads(planned.stdout)["write"] == ["pyproject.toml", "uv.lock"]
    assert plain_content(live, "plain") == new
    done = live.cli("rollback")
    assert (done.returncode, plain_content(live, "plain")) == (0, old)
    assert f"to undo: comfygit-orchestrator rollback --to {second.generation}\n" in done.stdout
    assert live.of(RestoreStarted)[-1].saved == second.generation  # what was there is kept already
    assert live.of(SwitchCompleted)

    # With no orchestrator alive one is started, and it serves what was asked for.
    assert live.stop() == 0
    done = live.cli("rollback", "--to", str(second.generation), "--json")
    assert (done.returncode, json.loads(done.stdout)["serving"]) == (0, "plain")
    assert "no orchestrator was running; started one" in done.stderr
    assert plain_content(live, "plain") == new


def test_a_rollback_to_an_environment_that_does_not_serve_saves_what_was_edited_there(live):
    generation = kept(live, "plain").generation
    good = plain_content(live, "plain")
    live.add("other")
    live.switch("other")
    kept(live, "other")
    edited = write_plain(live, "plain", "1.2")
    listed = json.loads(live.cli("generations", "--json").stdout)
    assert [one["environment"] for one in listed] == ["other", "plain"]
    assert live.cli("generations", "pin", str(generation), "good").returncode == 0
    done = live.cli("rollback", "--to", "good", "--json")
    assert (done.returncode, live.state().serving, plain_content(live, "plain")) == (0, "plain", good)
    saved = json.loads(done.stdout)["saved"]
    assert saved == live.of(RestoreStarted)[-1].saved
    assert live.cli("rollback", "--to", str(saved)).returncode == 0
    assert plain_content(live, "plain") == edited
    assert [g.evidence for g in live.state().generations if g.generation == saved] == [Evidence.SAVED]


def test_a_rollback_that_is_aborted_gives_back_what_had_been_there(live):
    generation = kept(live, "plain").generation
    new = write_plain(live, "plain", "1.1")
    live.leave(42)
    live.until(lambda state: len(state.generations) == 2)
    kept(live, "plain")
    live.order("plain", {"starts": [{"hang": True}, {}]})
    asked = live.cli("rollback", "--to", str(generation), "--timeout", "0.1")
    assert (asked.returncode, "goes on without us" in asked.stderr) == (1, True)
    live.until(lambda state: state.job is not None and state.job.stage is Stage.VALIDATING)
    assert plain_content(live, "plain") != new
    assert live.cli("abort").returncode == 0
    state = live.until_over()
    assert (state.serving, plain_content(live, "plain")) == ("plain", new)
    assert live.shown("rolled_back")["target_env"] == "plain"
    assert not [event for event in live.of(StartPlanned) if event.kind == "retry"]

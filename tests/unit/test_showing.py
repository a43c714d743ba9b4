"""State as words: rendering is a function from state to string."""

import attrs
import pytest

from journal.clock import S, Stamp
from journal.events import LeftBehind, OrchestratorLost, Role
from journal.identity import Identity
from orchestrator import showing
from projections.state import Control, Outcome, OutcomeState, Parked, Process, Unresponsive, WorkspaceState

NOW = Stamp(1_000 * S, 1_000 * S, "boot")
US = Identity(100, 1, "boot")


def ago(seconds: float) -> Stamp:
    return attrs.evolve(
        NOW, wall_ns=NOW.wall_ns - round(seconds * S), monotonic_ns=NOW.monotonic_ns - round(seconds * S)
    )


MAIN = Process(
    spawn=7,
    role=Role.MAIN,
    environment="stable",
    fingerprint="f",
    generation=12,
    port=8188,
    url="http://127.0.0.1:8188",
    owner=US,
    since=ago(90),
    identity=Identity(4711, 5, "boot"),
    confirmed=ago(80),
)
SERVING = WorkspaceState(
    orchestrator=US, control=Control("127.0.0.1", 5050), environment="stable", main=7, processes={7: MAIN}
)
FAILED = Outcome(
    switch=40,
    state=OutcomeState.CRITICAL_FAILURE,
    target="nightly",
    source="stable",
    serving="",
    error="exit code 7\x1b[31m",
    recovery_command="comfygit-orchestrator switch --workspace /w stable",
    at=ago(30),
)


def test_who_serves_where_and_for_how_long():
    text = showing.status_text(SERVING, alive=True, now=NOW)
    assert text.splitlines() == [
        "serving       stable on http://127.0.0.1:8188, pid 4711, up 2 min",
        "orchestrator  pid 100, without a guard, control server http://127.0.0.1:5050",
    ]


def test_its_guard_is_named():
    guarded = attrs.evolve(SERVING, guard=Identity(99, 5, "boot"))
    text = showing.status_text(guarded, alive=True, now=NOW, guard_alive=True)
    assert "pid 100, guard pid 99, control server" in text
    facts = showing.status_facts(guarded, alive=True, now=NOW, guard_alive=True)
    assert facts["guard"] == {"alive": True, "pid": 99}


def test_a_guard_that_is_dead_is_called_that():
    guarded = attrs.evolve(SERVING, guard=Identity(99, 5, "boot"))
    assert "pid 100, guard pid 99 (dead), control server" in showing.status_text(guarded, alive=True, now=NOW)
    assert showing.status_facts(guarded, alive=False, now=NOW)["guard"] == {"alive": False, "pid": 99}
    assert "start it with: comfygit-orchestrator spawn" in showing.status_text(guarded, alive=False, now=NOW)


@pytest.mark.parametrize("known", [US, None])
def test_while_a_guard_is_about_to_start_the_next_one_nobody_is_told_to_start_one(known):
    guarded = attrs.evolve(SERVING, guard=Identity(99, 5, "boot"), orchestrator=known)
    text = showing.status_text(guarded, alive=False, now=NOW, guard_alive=True)
    assert "orchestrator  not running; its guard (pid 99) is starting it again" in text
    assert "spawn" not in text


def test_how_the_one_before_died_is_said():
    lost = OrchestratorLost(identity=Identity(98, 5, "boot"), signal="SIGKILL")
    state = attrs.evolve(SERVING, lost=lost, lost_at=ago(300))
    lines = showing.status_text(state, alive=True, now=NOW).splitlines()
    assert lines[-1] == "  before it   orchestrator pid 98 ended by SIGKILL; that was found 5 min ago"
    facts = showing.status_facts(state, alive=True, now=NOW)["lost"]
    assert facts == {
        "pid": 98,
        "code": None,
        "signal": "SIGKILL",
        "became_guard": False,
        "found": "1970-01-01T00:11:40.000Z",
    }


def test_with_a_dead_orchestrator_the_state_is_called_last_known():
    text = showing.status_text(SERVING, alive=False, now=NOW)
    assert "as last known" in text
    assert "start it with: comfygit-orchestrator spawn" in text


@pytest.mark.parametrize(
    ("changes", "word"), [({"confirmed": None}, "starting"), ({"environment": "nightly"}, "nightly on")]
)
def test_a_process_is_shown_as_what_it_is_doing(changes, word):
    state = attrs.evolve(SERVING, processes={7: attrs.evolve(MAIN, **changes)})
    assert word in showing.status_text(state, alive=True, now=NOW)


@pytest.mark.scenario("B-46")
def test_one_that_hangs_is_said_to_with_since_when_and_what_to_do():
    main = attrs.evolve(MAIN, unresponsive=Unresponsive(ago(45), "no answer within 2.0 s\x1b[31m"))
    state = attrs.evolve(SERVING, processes={7: main})
    lines = showing.status_text(state, alive=True, now=NOW).splitlines()
    assert lines[0].startswith("serving       stable on")
    assert lines[1] == "  hangs       no answer since 1970-01-01T00:15:55.000Z, 45.0 s: no answer within 2.0 s [31m"
    assert "comfygit-orchestrator restart" in lines[2]
    facts = showing.status_facts(state, alive=True, now=NOW)
    assert facts["serving"] == "stable"
    assert facts["comfyui"]["unresponsive"]["since"] == "1970-01-01T00:15:55.000Z"


def test_a_critical_failure_shows_why_and_how_to_recover_without_what_a_terminal_would_act_on():
    state = WorkspaceState(outcome=FAILED, switches=(FAILED,), parked=Parked("gone", "run: x restart", NOW))
    text = showing.status_text(state, alive=True, now=NOW)
    assert "critical_failure (100 %)" in text
    assert "exit code 7 [31m" in text
    assert "\x1b" not in text
    assert "to recover  comfygit-orchestrator switch --workspace /w stable" in text
    assert "to do       run: x restart" in text


def test_an_outcome_that_has_been_cleared_is_still_told_as_the_last_switch():
    rolled_back = attrs.evolve(FAILED, state=OutcomeState.ROLLED_BACK, serving="stable", recovery_command="")
    text = showing.status_text(attrs.evolve(SERVING, switches=(rolled_back,)), alive=True, now=NOW)
    assert "last switch   40 to nightly: rolled_back 30.0 s ago" in text


def test_the_json_form_has_the_same_facts():
    facts = showing.status_facts(attrs.evolve(SERVING, switches=(FAILED,)), alive=True, now=NOW)
    assert facts["serving"] == "stable"
    assert facts["comfyui"] == {
        "pid": 4711,
        "environment": "stable",
        "url": "http://127.0.0.1:8188",
        "healthy": True,
        "stopping": False,
        "unresponsive": None,
        "uptime_s": 90.0,
        "last_probe_error": None,
        "start": 7,
    }
    assert facts["last_switch"]["outcome"] == "critical_failure"
    assert facts["control_url"] == "http://127.0.0.1:5050"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min"), (7_100, "118 min"), (7_200, "2.0 h"), (86_400 * 3, "3 days")],
)
def test_durations_are_rough(seconds, text):
    assert showing.duration(round(seconds * S)) == text


def test_an_outcome_says_what_it_cost_and_what_to_do():
    assert showing.outcome_text(FAILED, 3 * S).splitlines() == [
        "switch 40: critical failure after 3.0 s; nothing serves",
        "because: exit code 7 [31m",
        "to recover: comfygit-orchestrator switch --workspace /w stable",
    ]


def test_what_could_not_be_ended_is_shown_with_why():
    left = [LeftBehind(Identity(4712, 5, "boot"), "hel\x1bper", "it is another user's")]
    lines = showing.status_text(SERVING, alive=True, now=NOW, left=left).splitlines()

    assert lines[-1] == "left          pid 4712 (hel per): it is another user's"
    facts = showing.status_facts(SERVING, alive=True, now=NOW, left=left)
    assert facts["left"] == [{"pid": 4712, "name": "hel\x1bper", "why": "it is another user's"}]

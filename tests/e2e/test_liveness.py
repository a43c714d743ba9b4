"""A ComfyUI that stops answering while it serves: seen, said, left alone."""

import json

import pytest

from journal.clock import S, iso
from journal.events import (
    HealthConfirmed,
    HealthProbed,
    HealthResponsive,
    HealthUnresponsive,
    ProcessSignalled,
    ProcessSpawned,
)
from journal.identity import is_alive
from orchestrator.config import Config
from projections.state import OutcomeState
from tests.helpers.waiting import until

QUICK_LOOKS = {"liveness_interval_s": 0.2, "probe_timeout_s": 0.3, "probation_s": 1}


def is_hanging(state):
    return state.main_process is not None and state.main_process.unresponsive is not None


@pytest.mark.scenario("B-46")
def test_unless_told_otherwise_what_serves_is_looked_at_every_15_seconds():
    assert Config().liveness_interval_s == 15


@pytest.mark.scenario("B-46")
def test_one_that_hangs_after_complete_is_told_of_once_shown_everywhere_and_left_alone(workspace):
    live = workspace(good=None, other=None)
    live.configure(**QUICK_LOOKS, status_linger_s=0)
    live.serve("good")
    assert live.switch("other").switches[-1].state is OutcomeState.COMPLETE
    port, served = live.control_port(), live.recorded(HealthConfirmed)[-1]
    live.ask("/stand_in/misbehave", {"mute": True})
    state = live.until(is_hanging)
    since = iso(state.main_process.unresponsive.since.wall_ns)

    assert state.serving == "other"
    shown = json.loads(live.cli("status", "--json").stdout)
    assert shown["serving"] == "other"
    assert shown["comfyui"]["unresponsive"] == {"since": since, "error": "no answer within 0.3 s"}
    said = live.cli("status").stdout
    assert f"no answer since {since}" in said
    assert "comfygit-orchestrator restart" in said
    assert f"which has not answered since {since}" in " ".join(live.cli("explain", tool="journal").stdout.split())
    health = live.ask("/health", port=port)
    assert (health["status"], health["comfyui"]["unresponsive_since"]) == ("alive", since)
    until(lambda: live.ask("/status", port=port)["state"] == "idle")
    assert since in live.ask("/status", port=port)["message"]
    assert "health.unresponsive" in live.log()

    told = live.recorded(HealthUnresponsive)[0]
    assert told.event.failures == 3
    until(lambda: state.at is not None and live.state().probation is None)
    assert len(live.of(HealthUnresponsive)) == 1
    assert not [probe for probe in live.recorded(HealthProbed) if probe.seq > served.seq]
    assert not [sent for sent in live.recorded(ProcessSignalled) if sent.seq > served.seq]
    assert is_alive(live.of(ProcessSpawned)[-1].identity)


@pytest.mark.scenario("B-46")
def test_one_that_answers_again_is_forgiven_and_that_is_journaled_too(workspace):
    live = workspace(good=None)
    live.configure(**QUICK_LOOKS)
    live.serve("good")
    port = live.control_port()
    live.ask("/stand_in/misbehave", {"mute": True})
    live.until(is_hanging)
    live.ask("/stand_in/misbehave", {})
    live.until(lambda state: not is_hanging(state))
    (answered,) = live.of(HealthResponsive)
    assert answered.silent_ns >= 0.6 * S
    assert "unresponsive_since" not in live.ask("/health", port=port)["comfyui"]
    assert "no answer" not in live.cli("status").stdout
    assert len(live.starts("good")) == 1


@pytest.mark.scenario("B-46")
@pytest.mark.parametrize("how", ["it crashes", "it is restarted by command"])
def test_one_that_hangs_ends_as_any_other(workspace, how):
    live = workspace(good=None)
    live.configure(**QUICK_LOOKS, stop_timeout_s=1)
    live.serve("good")
    live.ask("/stand_in/misbehave", {"mute": True})
    live.until(is_hanging)
    if how == "it crashes":
        live.leave(7)
    else:
        assert live.cli("restart").returncode == 0
    live.until(lambda state: len(live.of(HealthConfirmed)) == 2 and state.serving == "good")
    assert not is_hanging(live.state())


@pytest.mark.scenario("B-46")
def test_one_that_misses_looks_now_and_then_is_not_called_hanging(workspace):
    live = workspace(good=None)
    live.configure(liveness_interval_s=0.05, probation_s=2)  # some 30 looks, of which every other one fails
    live.serve("good")
    live.ask("/stand_in/misbehave", {"flapping": True})
    live.until(lambda state: state.probation is None)
    assert not live.of(HealthUnresponsive)
    live.ask("/stand_in/misbehave", {"status": 500})
    live.until(is_hanging)
    assert live.of(HealthUnresponsive)[0].error == "HTTP 500"

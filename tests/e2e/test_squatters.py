"""Who listens on ComfyUI's port and is not of the tree that we started is never healthy, named, and never signalled."""

import pytest

from journal.events import (
    GenerationDisproved,
    HealthConfirmed,
    HealthFailed,
    HealthProbed,
    ProcessIntended,
    StartFailed,
    SwitchFailed,
)
from journal.identity import identify
from projections.state import OutcomeState
from tests.helpers.squatters import KINDS, share_its_port, squatting

pytestmark = [pytest.mark.slow, pytest.mark.scenario("B-19")]

SHARED = ["comfyui", "404", "trickle"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_started_beside_a_squatter_and_a_start_says_who_it_is(workspace, tmp_path, kind):
    live = workspace(one=None)
    live.configure(port_free_timeout_s=0.2, crash_retry_max=1)
    with squatting(tmp_path, kind, live.port) as squatter:
        live.start("one")
        parked = live.until(lambda state: state.parked is not None).parked
        status = live.cli("status").stdout
        assert squatter.was_left_alone()
    assert parked is not None
    for said in (parked.why, status, *(event.error for event in live.of(StartFailed))):
        assert f"pid {squatter.pid} (" in said
        assert "squatter.py" in said
    assert live.of(ProcessIntended) == []
    assert live.of(HealthProbed) == []
    assert live.cli("restart").returncode == 0
    live.until(lambda state: state.serving == "one")


def test_a_stale_comfyui_of_the_same_environment_is_not_taken_for_the_one_that_was_to_be_started(workspace, by_hand):
    live = workspace(one=None)
    live.configure(port_free_timeout_s=0.2, crash_retry_max=0)
    stale = by_hand(live, "one")
    live.start("one")
    parked = live.until(lambda state: state.parked is not None).parked
    assert parked is not None
    assert f"pid {stale.pid} (" in parked.why
    assert "main.py" in parked.why
    assert stale.poll() is None
    assert live.of(HealthConfirmed) == []


@pytest.mark.parametrize("kind", SHARED)
def test_a_comfyui_that_shares_its_port_with_a_stranger_is_not_healthy_until_the_stranger_is_gone(
    workspace, tmp_path, kind
):
    live = workspace(one={"start_delay_s": 1})
    live.configure(health_check_timeout_s=60, probe_timeout_s=0.5)
    share_its_port(live.comfyui("one"))
    live.start("one")
    live.until(lambda state: state.main_process is not None and state.main_process.identity is not None)
    with squatting(tmp_path, kind, live.port) as squatter:
        named = live.until(
            lambda state: (
                state.main_process is not None and f"pid {squatter.pid} (" in state.main_process.last_probe_error
            )
        )
        assert named.main_process is not None
        assert "squatter.py" in named.main_process.last_probe_error
        live.until(lambda _: len([event for event in live.of(HealthProbed) if "another process" in event.error]) >= 5)
        assert f"pid {squatter.pid} (" in live.cli("status").stdout
        assert not any(event.ok for event in live.of(HealthProbed))
        assert live.of(HealthConfirmed) == []
        assert squatter.was_left_alone()
    live.until(lambda state: state.serving == "one")
    assert len(live.starts("one")) == 1


@pytest.mark.parametrize("kind", ["comfyui", "401", "mute"])
def test_a_switch_whose_target_is_kept_from_its_port_names_who_has_it_and_blames_nobody_else(workspace, tmp_path, kind):
    """The squatter came between the old one's end and the new one's bind; the target dies of it."""
    live = workspace(one=None, two={"start_delay_s": 1.5})
    live.configure(probe_timeout_s=0.5)
    live.serve_kept("one")
    assert live.cli("switch", "two").returncode == 0
    live.until(lambda state: state.job_process is not None and state.job_process.environment == "two")
    with squatting(tmp_path, kind, live.port) as squatter:
        live.until(lambda _: live.of(SwitchFailed))
        assert squatter.was_left_alone()
    ended = live.until_over()

    assert (ended.serving, ended.switches[-1].state) == ("one", OutcomeState.ROLLED_BACK)
    (failed,) = live.of(SwitchFailed)
    assert failed.reason == "port"
    explained = live.cli("explain", tool="journal").stdout
    status = live.cli("status").stdout
    for said in (failed.error, explained, status):
        assert f"pid {squatter.pid} (" in " ".join(said.split())
        assert "squatter.py" in said
    assert live.of(GenerationDisproved) == []


def test_a_start_that_a_stranger_answers_for_until_its_time_is_over_says_so(workspace, tmp_path):
    live = workspace(one={"start_delay_s": 1})
    live.configure(health_check_timeout_s=3, crash_retry_max=0)
    share_its_port(live.comfyui("one"))
    live.start("one")
    live.until(lambda state: state.main_process is not None and state.main_process.identity is not None)
    with squatting(tmp_path, "comfyui", live.port) as squatter:
        live.until(lambda _: live.of(StartFailed))
        (failed,) = live.of(StartFailed)
        assert failed.reason == "port"
        assert f"pid {squatter.pid} (" in failed.error
        assert [event.why for event in live.of(HealthFailed)] == ["stranger"]
        live.until(lambda state: state.parked is not None)
        assert squatter.was_left_alone()
        assert identify(squatter.pid) is not None

"""Nothing in the loop waits: in every stage it says where it is, and an abort or a stop is acted on at once."""

import json

import pytest

from journal.clock import S, elapsed_ns
from journal.events import (
    AbortRequested,
    LockReleased,
    OrchestratorStopped,
    ProcessIntended,
    ShutdownRequested,
    WorkerCancelled,
)
from tests.helpers.held_stages import is_under_way, preparing, rolling_back, syncing, validating

PROMPT_NS = 8 * S
"""A wide margin for what takes half a second; each stage is made to last 20 s at least."""


def with_targets(workspace, url, *stages):
    """A workspace that serves, with a target for each of `stages`, named after the one that it gets stuck in."""
    live = workspace(good=None, **{arrange.__name__: None for arrange in stages})
    live.configure(health_check_timeout_s=60, probe_timeout_s=60, source_grace_s=0)
    for arrange in stages:
        arrange(live, arrange.__name__, url)
    process = live.serve("good")
    live.control_port()
    return live, process


def switch_into(live, stage):
    """Ask for the target that gets stuck in `stage`, and return when it has."""
    live.request(stage, "good")
    live.until(lambda state: is_under_way(live, state, stage))
    assert live.ask("/status", port=live.control_port())["state"] == stage
    assert live.ask("/health", port=live.control_port())["status"] == "alive"


@pytest.mark.scenario("B-33")
def test_an_abort_is_acted_on_before_the_stage_would_end(workspace, mute_url):
    stages = [preparing, syncing, validating]
    live, _ = with_targets(workspace, mute_url, *stages)
    for number, stage in enumerate(stage.__name__ for stage in stages):
        switch_into(live, stage)
        if stage == "syncing":
            assert live.cli("abort").returncode == 0
        else:
            live.command(command="abort_switch", reason="changed my mind")
        assert live.until_over(number + 1).serving == "good"
        asked, ended = live.recorded(AbortRequested)[number], live.recorded(LockReleased)[number]
        assert elapsed_ns(asked.at, ended.at) < PROMPT_NS
        shown = live.shown("rolled_back")
        assert (shown["target_env"], "aborted" in shown["error"]) == (stage, True)
        assert ("changed my mind" in shown["error"]) is (stage != "syncing")
        assert len(live.starts("good")) == (2 if stage == "validating" else 1)
    assert len(live.of(WorkerCancelled)) == 2


@pytest.mark.scenario("B-33")
@pytest.mark.parametrize("arrange", [preparing, validating, rolling_back])
def test_a_stop_is_acted_on_before_the_stage_would_end(workspace, mute_url, arrange):
    live, process = with_targets(workspace, mute_url, arrange)
    switch_into(live, arrange.__name__)
    live.command(command="shutdown")
    assert process.wait(10) == 0
    (asked,), (ended,) = live.recorded(ShutdownRequested), live.recorded(OrchestratorStopped)
    assert elapsed_ns(asked.at, ended.at) < PROMPT_NS
    assert live.names()[-3:] == ["switch.aborted", "lock.released", "orchestrator.stopped"]
    assert live.state().lock is None


@pytest.mark.scenario("B-33")
def test_the_commands_answer_in_the_middle_of_a_stage(workspace, mute_url):
    live, process = with_targets(workspace, mute_url, syncing)
    switch_into(live, "syncing")
    said = json.loads(live.cli("status", "--json").stdout)
    assert (said["serving"], said["switch"]["state"], said["switch"]["target_env"]) == ("good", "syncing", "syncing")
    assert live.status()["state"] == "syncing"
    assert live.cli("stop").returncode == 0
    assert process.wait(10) == 0


@pytest.mark.scenario("B-33")
def test_an_abort_while_the_old_one_is_being_stopped_never_starts_the_target(workspace):
    live = workspace(good={"ignore_sigint": True}, bad=None)
    live.configure(stop_timeout_s=2, source_grace_s=0)
    live.serve("good")
    live.control_port()
    live.request("bad", "good")
    live.until(lambda state: state.main_process is not None and state.main_process.stopping is not None)
    assert live.ask("/status", port=live.control_port())["state"] == "starting"
    live.command(command="abort_switch")
    assert live.until_over().serving == "good"
    asked, stopped = live.recorded(AbortRequested)[0], live.names().index("process.exited") + 1
    assert asked.seq < stopped
    assert [event.environment for event in live.of(ProcessIntended)] == ["good", "good"]


@pytest.mark.scenario("B-33")
@pytest.mark.parametrize("how", ["hangs", "is parked"])
def test_a_stop_outside_a_switch_is_prompt_too(workspace, how):
    live = workspace(bad={"hang": True} if how == "hangs" else {"die_at_start": 7})
    live.configure(crash_retry_max=0, health_check_timeout_s=60)
    process = live.start("bad")
    live.until(lambda state: state.parked is not None or (how == "hangs" and state.main_process is not None))
    live.command(command="shutdown")
    assert process.wait(10) == 0
    (asked,), (ended,) = live.recorded(ShutdownRequested), live.recorded(OrchestratorStopped)
    assert elapsed_ns(asked.at, ended.at) < PROMPT_NS

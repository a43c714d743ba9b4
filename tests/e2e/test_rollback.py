"""A target that breaks when it is started: the way back, validated before it is said."""

import os
import shlex
import subprocess

import pytest

from journal.events import (
    GenerationDisproved,
    HealthConfirmed,
    HealthProbed,
    LockReleased,
    ProcessIntended,
    RollbackTried,
    RollbackTryFailed,
    SupervisionParked,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchFailed,
    SwitchKind,
    SwitchRequested,
    SwitchRolledBack,
)
from projections.state import OutcomeState
from tests.helpers.bystanders import StatusReader
from tests.helpers.waiting import until

BREAKING = {
    "dies": ({"die_at_start": 7, "die_message": "CUDA error"}, "exited", "exit code 7"),
    "opens its port and dies": ({"open_then_die_s": 0.05, "exit_code": 3}, "exited", "exit code 3"),
    "hangs": ({"hang": True}, "timeout", "not ready after 2 s"),
    "answers 500": ({"status": 500}, "timeout", "not ready after 2 s"),
}
"""Environments that break, each in its own way; the reason and the error that have to be said of it."""


def probes_before(live, ended):
    """The good probes, as numbered in their row, between the last `rollback.tried` and `ended`."""
    tried = max(recorded.seq for recorded in live.recorded(RollbackTried) if recorded.seq < ended.seq)
    probes = [recorded.event for recorded in live.recorded(HealthProbed) if tried < recorded.seq < ended.seq]
    return [probe.successes for probe in probes if probe.ok]


@pytest.mark.scenario("B-06")
def test_whatever_is_wrong_with_it_the_old_one_is_validated_before_rolled_back_is_said(workspace):
    live = workspace(good=None, **{name: orders for name, (orders, _, _) in BREAKING.items()})
    live.configure(health_check_timeout_s=2)
    live.serve("good")
    for number, (name, (_, reason, error)) in enumerate(BREAKING.items()):
        assert live.switch(name).serving == "good"
        failed, ended = live.of(SwitchFailed)[number], live.recorded(SwitchRolledBack)[number]
        assert (failed.reason, ended.event.environment, ended.event.nothing_stopped) == (reason, "good", False)
        assert probes_before(live, ended)[-3:] == [1, 2, 3]
        assert live.recorded(HealthConfirmed)[-1].seq == ended.seq - 1
        assert live.recorded(LockReleased)[number].seq == ended.seq + 1
        assert live.ask("/stand_in/environ")["cwd"] == str(live.comfyui("good"))
        shown = live.shown("rolled_back")
        assert (shown["target_env"], error in shown["error"]) == (name, True)
    started = [event.environment for event in live.of(ProcessIntended)]
    assert started == ["good", *(name for broken in BREAKING for name in (broken, "good"))]


@pytest.mark.scenario("B-06")
def test_the_command_says_what_has_happened_and_fails(workspace):
    live = workspace(good=None, bad={"die_at_start": 7, "die_message": "CUDA error"})
    live.serve("good")
    done = live.cli("switch", "bad", "--wait")
    assert done.returncode == 1
    for said in ("rolled back", "exit code 7", "CUDA error"):
        assert said in done.stdout + done.stderr


@pytest.mark.scenario("B-06", "OL-04")
def test_a_supervised_43_with_a_broken_target_comes_back_too(workspace):
    live = workspace(good=None, bad={"die_at_start": 7})
    live.serve("good")
    with StatusReader(live) as reader:
        live.request("bad", "good")
        live.leave(43)
        state = live.until_over()
        until(lambda: reader.seen[-1]["state"] == "rolled_back")
    assert state.serving == "good"
    assert probes_before(live, live.recorded(SwitchRolledBack)[0])[-3:] == [1, 2, 3]
    states = list(dict.fromkeys(document["state"] for document in reader.seen))
    assert states[-2:] == ["rolling_back", "rolled_back"]
    assert [document["progress"] for document in reader.seen] == sorted(d["progress"] for d in reader.seen)


@pytest.mark.scenario("B-06")
def test_one_that_opens_its_port_is_validated_and_dies_later_is_undone_by_a_switch_of_its_own(workspace):
    live = workspace(good=None, bad={"open_then_die_s": 2})
    live.serve("good")
    assert live.switch("bad").switches[0].state is OutcomeState.COMPLETE
    state = live.until_over(2)
    assert state.serving == "good"
    assert len(live.of(SwitchCompleted)) == 1
    assert [event.kind for event in live.of(SwitchRequested)] == [SwitchKind.SWITCH, SwitchKind.RECOVER]
    assert live.of(GenerationDisproved)
    assert probes_before(live, live.recorded(SwitchRolledBack)[0])[-3:] == [1, 2, 3]
    assert len(live.starts("bad")) == 1
    live.shown("rolled_back")


@pytest.mark.scenario("B-07")
def test_a_rollback_target_that_is_broken_too_gives_way_to_the_healthy_generation_before_it(workspace):
    live = workspace(older=None, good=None, bad={"die_at_start": 7})
    live.serve("older")
    live.switch("good")
    live.order("good", {"die_at_start": 8})
    assert live.switch("bad").serving == "older"
    assert [event.environment for event in live.of(RollbackTried)] == ["good", "older"]
    failed = live.of(RollbackTryFailed)[0]
    assert (failed.environment, failed.reason) == ("good", "exited")
    assert probes_before(live, live.recorded(SwitchRolledBack)[0])[-3:] == [1, 2, 3]
    assert live.of(SwitchRolledBack)[0].environment == "older"
    assert "exit code 7" in live.shown("rolled_back")["error"]


@pytest.mark.scenario("B-07")
@pytest.mark.parametrize("alive", [True, False], ids=["the orchestrator is there", "the orchestrator has ended"])
def test_with_none_left_it_is_critical_and_the_recovery_command_works_when_pasted(workspace, alive):
    name = "good & well"
    live = workspace(**{name: None, "bad": {"die_at_start": 7}})
    process = live.serve(name)
    live.order(name, {"die_at_start": 8})
    state = live.switch("bad")
    assert (state.serving, state.lock) == ("", None)
    command = live.shown("critical_failure")["recovery_command"]
    assert shlex.split(command)[-1] == name
    assert len(live.of(SwitchCriticallyFailed)) == len(live.of(SupervisionParked)) == 1
    if alive:
        assert command in live.cli("status").stdout
    else:
        assert live.stop(process) == 0
        assert live.shown("critical_failure")["recovery_command"] == command
    live.order(name, None)
    assert paste(command).returncode == 0
    live.until(lambda state: state.serving == name and state.lock is None)
    live.shown("complete")


def paste(command):
    """What a person does with it, in a new shell in some other folder."""
    return subprocess.run(
        ["/bin/sh", "-c", command], cwd=os.sep, capture_output=True, text=True, timeout=60, check=False
    )

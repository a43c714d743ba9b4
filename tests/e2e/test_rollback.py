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
from tests.helpers.bystanders import StatusReader
from tests.helpers.waiting import until

BREAKING = {
    "dies at start": ({"die_at_start": 7, "die_message": "CUDA error"}, "exited", "exit code 7"),
    "hangs": ({"hang": True}, "timeout", "not ready after 1 s"),
    "opens the port and dies": ({"open_then_die_s": 0.05, "exit_code": 3}, "exited", "exit code 3"),
    "answers 500": ({"status": 500}, "timeout", "not ready after 1 s"),
}


def probes_before(live, end):
    """The good probes, as numbered in their row, between the last `rollback.tried` and the event of class `end`."""
    events = live.events()
    ended = next(number for number, recorded in enumerate(events) if isinstance(recorded.event, end))
    tried = max(n for n, recorded in enumerate(events[:ended]) if isinstance(recorded.event, RollbackTried))
    probes = [recorded.event for recorded in events[tried:ended] if isinstance(recorded.event, HealthProbed)]
    return [probe.successes for probe in probes if probe.ok]


@pytest.mark.scenario("B-06")
@pytest.mark.parametrize("how", BREAKING)
def test_it_is_rolled_back_and_the_old_one_is_validated_before_that_is_said(workspace, how):
    orders, reason, error = BREAKING[how]
    live = workspace(good=None, bad=orders)
    live.configure(health_check_timeout_s=1 if reason == "timeout" else 10)
    live.serve("good")
    done = live.cli("switch", "bad", "--wait")
    assert done.returncode == 1
    assert error in done.stdout + done.stderr
    failed, ended = live.of(SwitchFailed)[0], live.recorded(SwitchRolledBack)[0]
    assert (failed.reason, ended.event.environment, ended.event.nothing_stopped) == (reason, "good", False)
    assert probes_before(live, SwitchRolledBack)[-3:] == [1, 2, 3]
    assert live.recorded(HealthConfirmed)[-1].seq == ended.seq - 1
    assert live.recorded(LockReleased)[0].seq == ended.seq + 1
    assert live.state().serving == "good"
    assert live.ask("/stand_in/environ")["cwd"] == str(live.comfyui("good"))
    assert [event.environment for event in live.of(ProcessIntended)] == ["good", "bad", "good"]
    assert error in live.shown("rolled_back")["error"]


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
    assert probes_before(live, SwitchRolledBack)[-3:] == [1, 2, 3]
    states = list(dict.fromkeys(document["state"] for document in reader.seen))
    assert states[-2:] == ["rolling_back", "rolled_back"]
    assert [document["progress"] for document in reader.seen] == sorted(d["progress"] for d in reader.seen)


@pytest.mark.scenario("B-06")
def test_one_that_opens_its_port_is_validated_and_dies_later_is_undone_by_a_switch_of_its_own(workspace):
    live = workspace(good=None, bad={"open_then_die_s": 2})
    live.serve("good")
    assert live.cli("switch", "bad", "--wait").returncode == 0
    state = live.until_over(2)
    assert state.serving == "good"
    assert len(live.of(SwitchCompleted)) == 1
    assert [event.kind for event in live.of(SwitchRequested)] == [SwitchKind.SWITCH, SwitchKind.RECOVER]
    assert live.of(GenerationDisproved)
    assert probes_before(live, SwitchRolledBack)[-3:] == [1, 2, 3]
    assert len(live.starts("bad")) == 1
    live.shown("rolled_back")


@pytest.mark.scenario("B-07")
def test_a_rollback_target_that_is_broken_too_gives_way_to_the_healthy_generation_before_it(workspace):
    live = workspace(older=None, good=None, bad={"die_at_start": 7})
    live.serve("older")
    assert live.cli("switch", "good", "--wait").returncode == 0
    live.order("good", {"die_at_start": 8})
    done = live.cli("switch", "bad", "--wait")
    assert done.returncode == 1
    assert live.state().serving == "older"
    assert [event.environment for event in live.of(RollbackTried)] == ["good", "older"]
    failed = live.of(RollbackTryFailed)[0]
    assert (failed.environment, failed.reason) == ("good", "exited")
    assert probes_before(live, SwitchRolledBack)[-3:] == [1, 2, 3]
    assert live.of(SwitchRolledBack)[0].environment == "older"
    assert "exit code 7" in live.shown("rolled_back")["error"]


@pytest.mark.scenario("B-07")
@pytest.mark.parametrize("alive", [True, False], ids=["the orchestrator is there", "the orchestrator has ended"])
def test_with_none_left_it_is_critical_and_the_recovery_command_works_when_pasted(workspace, alive):
    live = workspace(good=None, bad={"die_at_start": 7})
    process = live.serve("good")
    live.order("good", {"die_at_start": 8})
    assert live.cli("switch", "bad", "--wait").returncode == 1
    status = live.shown("critical_failure")
    assert len(live.of(SwitchCriticallyFailed)) == len(live.of(SupervisionParked)) == 1
    assert live.state().lock is None
    assert status["recovery_command"] in live.cli("status").stdout
    if not alive:
        assert live.stop(process) == 0
        assert live.status()["state"] == "critical_failure"
    live.order("good", None)
    assert paste(status["recovery_command"]).returncode == 0
    live.until(lambda state: state.serving == "good" and state.lock is None)
    live.shown("complete")


def paste(command):
    """What a person does with it, in a new shell in some other folder."""
    return subprocess.run(
        ["/bin/sh", "-c", command], cwd=os.sep, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.scenario("B-07")
def test_the_recovery_command_is_quoted_for_a_shell(workspace):
    live = workspace(**{"good & well": None, "bad": {"die_at_start": 7}})
    live.serve("good & well")
    live.order("good & well", {"die_at_start": 8})
    live.cli("switch", "bad", "--wait")
    live.order("good & well", None)
    command = live.shown("critical_failure")["recovery_command"]
    assert shlex.split(command)[-1] == "good & well"
    assert paste(command).returncode == 0
    live.until(lambda state: state.serving == "good & well")

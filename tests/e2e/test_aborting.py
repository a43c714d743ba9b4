"""A switch that is aborted: in whatever stage, in whatever way, the old environment serves, and nothing else runs."""

import subprocess
import sys

import pytest

from journal.clock import S, elapsed_ns
from journal.codec import own_actor
from journal.events import (
    AbortRequested,
    LockReleased,
    ProcessIntended,
    SwitchAborted,
    SwitchRolledBack,
    WorkerCancelled,
)
from journal.identity import is_alive
from orchestrator.asking import ask_abort
from orchestrator.ledger import Ledger
from orchestrator.workspace import open_workspace
from projections.state import OutcomeState
from projections.switching import Stage
from tests.helpers.bystanders import StatusReader
from tests.helpers.held_stages import is_under_way, preparing, syncing, validating
from tests.helpers.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def starting(live, name, _url):
    """The target loads, and never opens its port."""
    live.order(name, {"hang": True})


def rolling_back(live, name, _url):
    """The target dies. What is started again then takes its time, as it always does."""
    live.order(name, {"die_at_start": 7, "die_message": "no such model"})


def is_in(live, state, stage):
    """Whether the switch is held there."""
    job, main = state.job, state.main_process
    if job is None:
        return False
    if stage == "clearing":
        return job.stage is Stage.CLEARING and main is not None and main.stopping is not None
    if stage == "starting":
        return job.stage is Stage.VALIDATING and not job.rolling_back and state.job_process is not None
    if stage == "rolling_back":
        return job.rolling is not None and state.job_process is not None
    return is_under_way(live, state, stage)


def by_command(live):
    assert live.cli("abort").returncode == 0


def by_file(live):
    live.command(command="abort_switch", reason="changed my mind")


def twice(live):
    """By two processes, one right after the other."""
    with Ledger.open(open_workspace(live.root), own_actor("cli")) as ledger:
        ask_abort(ledger)
    by_file(live)


STAGES = {
    "preparing": preparing,
    "syncing": syncing,
    "clearing": starting,
    "starting": starting,
    "validating": validating,
    "rolling_back": rolling_back,
}
NOTHING_STOPPED = {"preparing", "syncing"}


def assert_good_serves_and_nothing_else_runs(live, number):
    """After switch `number`."""
    state = live.until(lambda state: len(live.of(LockReleased)) == number and state.job is None)
    assert (state.serving, state.lock, state.claim) == ("good", None, None)
    assert state.switches[-1].state is OutcomeState.ROLLED_BACK
    assert live.shown("rolled_back")["error"]
    until(lambda: not (live.metadata / ".switch.lock").exists())
    assert not (live.metadata / ".switch_request.json").exists()
    assert live.ask("/stand_in/environ")["cwd"] == str(live.comfyui("good"))
    assert [process.environment for process in state.processes.values()] == ["good"]
    assert state.worker is None or state.worker.generation is not None  # a capture beside what serves


@pytest.mark.scenario("B-10")
@pytest.mark.parametrize(
    ("stages", "abort"),
    [
        (["preparing", "syncing", "clearing"], by_command),
        (["starting", "validating", "rolling_back"], by_command),
        (["preparing", "clearing", "validating"], by_file),
        (["syncing", "starting", "rolling_back"], twice),
    ],
)
def test_an_abort_in_any_stage_leaves_the_old_one_serving(workspace, mute_url, abort, stages):
    slowly = {"ignore_sigint": True, "start_delay_s": 1.5}  # held in clearing, and in rolling back
    live = workspace(good=slowly, **dict.fromkeys(stages))
    live.configure(health_check_timeout_s=60, probe_timeout_s=60, source_grace_s=0, stop_timeout_s=1.5)
    for stage in stages:
        STAGES[stage](live, stage, mute_url)
    live.serve("good")
    for number, stage in enumerate(stages, start=1):
        before = live.state().main_process.identity
        live.request(stage, "good")
        live.until(lambda state, stage=stage: is_in(live, state, stage))
        abort(live)
        assert_good_serves_and_nothing_else_runs(live, number)
        ended = live.of(SwitchRolledBack)[-1]
        assert ended.nothing_stopped is is_alive(before) is (stage in NOTHING_STOPPED)
        assert ("exit code 7" if stage == "rolling_back" else "aborted by") in ended.error
    until(lambda: len(live.of(AbortRequested)) == len(stages) * (2 if abort is twice else 1))
    assert len(live.of(WorkerCancelled)) == len(NOTHING_STOPPED & set(stages))
    assert len(live.of(SwitchRolledBack)) == len(stages)


@pytest.fixture
def bystander():
    """The pid of a process that has nothing to do with us, as of a ComfyUI that was started by hand; it outlives the test."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as process:
        yield process.pid
        assert process.poll() is None
        process.kill()


@pytest.mark.scenario("B-11")
@pytest.mark.parametrize("stage", ["preparing", "syncing", "clearing", "starting", "validating", "rolling_back"])
def test_a_comfyui_started_by_hand_in_any_stage_gets_the_workspace_to_itself(workspace, mute_url, bystander, stage):
    live = workspace(good={"ignore_sigint": True, "start_delay_s": 1.5}, **{stage: None})
    live.configure(health_check_timeout_s=60, probe_timeout_s=60, source_grace_s=0, stop_timeout_s=1.5)
    STAGES[stage](live, stage, mute_url)
    process = live.serve("good")
    with StatusReader(live) as reader:
        live.request(stage, "good")
        live.until(lambda state: is_in(live, state, stage))
        live.command(command="abort_switch", pid=bystander, reason="manual_restart")
        assert process.wait(30) == 0
    asked, freed = live.recorded(AbortRequested)[0], live.recorded(LockReleased)[0]
    assert asked.event.manual_pid == bystander
    assert elapsed_ns(asked.at, freed.at) < 20 * S
    assert [started for started in live.recorded(ProcessIntended) if started.seq > asked.seq] == []
    assert live.of(SwitchAborted)[0].manual
    assert reader.seen[-1]["state"] == "aborted"
    assert live.state().processes == {}
    for name in (".switch.lock", ".switch_request.json", ".orchestrator.pid"):
        assert not (live.metadata / name).exists()


@pytest.mark.scenario("B-11", "B-10")
@pytest.mark.parametrize("whose", ["a dead one's", "of the ComfyUI that serves"])
def test_an_abort_with_a_pid_that_is_no_comfyui_started_by_hand_is_only_an_abort(workspace, mute_url, whose):
    live = workspace(good=None, preparing=None)
    preparing(live, "preparing", mute_url)
    process = live.serve("good")
    pid = live.starts("good")[0]["pid"]
    if whose == "a dead one's":
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            pid = ended.pid
    live.request("preparing", "good")
    live.until(lambda state: is_in(live, state, "preparing"))
    live.command(command="abort_switch", pid=pid)
    assert_good_serves_and_nothing_else_runs(live, 1)
    assert live.of(AbortRequested)[0].manual_pid is None
    assert process.poll() is None

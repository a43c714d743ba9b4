"""A switch that is aborted: in whatever stage, in whatever way, the old environment serves, and nothing else runs."""

import pytest

from journal.codec import own_actor
from journal.events import AbortRequested, LockReleased, SwitchRolledBack, WorkerCancelled
from journal.identity import is_alive
from orchestrator.asking import ask_abort
from orchestrator.ledger import Ledger
from orchestrator.workspace import open_workspace
from projections.state import OutcomeState
from projections.switching import Stage
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
@pytest.mark.parametrize("abort", [by_command, by_file, twice])
@pytest.mark.parametrize("stages", [["preparing", "syncing", "clearing"], ["starting", "validating", "rolling_back"]])
def test_an_abort_in_any_stage_leaves_the_old_one_serving(workspace, mute_url, abort, stages):
    slowly = {"ignore_sigint": True, "start_delay_s": 2}  # held in clearing, and in rolling back
    live = workspace(good=slowly, **dict.fromkeys(stages))
    live.configure(health_check_timeout_s=60, probe_timeout_s=60, source_grace_s=0, stop_timeout_s=2)
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

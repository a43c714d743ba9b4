"""An environment's folder that is gone: before it is asked for, while it is being prepared, while it serves."""

import shutil

import pytest

from journal.events import (
    OrchestratorStarted,
    PreflightStarted,
    ProcessIntended,
    RefusalReason,
    StartFailed,
    SwitchFailed,
    SwitchRefused,
    SwitchRequested,
    SwitchRolledBack,
)
from tests.helpers.bystanders import SteadyCaller
from tests.helpers.waiting import until


def vanish(live, name):
    shutil.rmtree(live.root / "environments" / name)


@pytest.mark.scenario("B-35")
def test_what_is_gone_is_refused_what_vanishes_serves_on_and_the_others_can_be_switched_to(workspace):
    live = workspace(good=None, gone=None, other=None)
    live.serve("good")
    vanish(live, "gone")
    vanish(live, "good")
    with SteadyCaller(live.port) as caller:
        refused = live.cli("switch", "gone", "--wait")
    assert not caller.failures
    assert refused.returncode == 1
    assert "no environment 'gone'" in refused.stderr
    assert live.of(SwitchRefused)[0].why is RefusalReason.UNKNOWN
    assert "good" in live.cli("status").stdout
    assert live.switch("other").serving == "other"


@pytest.mark.scenario("B-35", "OL-04")
def test_one_that_is_gone_when_a_page_asks_for_it_is_refused_and_the_old_one_starts_again_after_its_43(workspace):
    live = workspace(good=None, gone=None)
    live.serve("good")
    vanish(live, "gone")
    live.request("gone", "good")
    live.leave(43)
    live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    assert "no environment 'gone'" in live.shown("rolled_back")["error"]
    assert not live.of(SwitchRequested)
    until(lambda: not (live.metadata / ".switch.lock").exists())


@pytest.mark.scenario("B-35")
def test_one_that_is_gone_when_an_unsupervised_page_starts_us_for_it_leaves_the_source_to_be_started_again(
    workspace, by_hand
):
    live = workspace(good=None)
    source = by_hand(live, "good")
    live.request("gone", "good")
    live.start("gone")
    assert "no environment 'gone'" in live.shown("rolled_back")["error"]
    live.leave(43)
    assert source.wait(5) == 43
    live.until(lambda state: state.serving == "good")
    assert not live.of(SwitchRequested)


@pytest.mark.scenario("B-35")
def test_one_that_is_gone_cannot_be_run_and_that_is_said_at_once(workspace):
    live = workspace(good=None, gone=None)
    vanish(live, "gone")
    done = live.cli("run", "--environment", "gone")
    assert done.returncode == 1
    assert "no environment 'gone'" in done.stderr
    assert "good" in done.stderr
    assert not live.of(OrchestratorStarted)


@pytest.mark.scenario("B-35")
def test_one_that_vanishes_while_it_is_looked_at_is_given_up_and_the_old_one_goes_on(workspace):
    live = workspace(good=None, gone=None)
    environment = live.root / "environments/gone"
    python = environment / ".venv/bin/python"
    python.rename(python.with_name("real"))
    python.write_text(f'#!/bin/sh\n"{python.with_name("real")}" "$@"\nrm -rf "{environment}"\n')
    python.chmod(0o755)
    live.serve("good")
    with SteadyCaller(live.port) as caller:
        assert live.switch("gone").serving == "good"
    assert not caller.failures
    assert not environment.exists()
    assert live.of(PreflightStarted)
    assert live.of(SwitchFailed)[0].reason in {"environment", "preflight"}
    assert live.of(SwitchRolledBack)[0].nothing_stopped


@pytest.mark.scenario("B-35")
def test_one_that_has_vanished_when_it_is_to_start_again_is_said_so_and_the_others_can_be_switched_to(workspace):
    live = workspace(good=None, other=None)
    live.configure(crash_retry_max=1)
    live.serve("good")
    vanish(live, "good")
    live.leave(42)
    state = live.until(lambda state: state.parked is not None)
    assert "no environment 'good'" in state.parked.why
    assert live.of(StartFailed)[0].reason == "environment"
    assert len(live.of(ProcessIntended)) == 1
    assert "no environment 'good'" in live.cli("status").stdout
    assert live.switch("other").serving == "other"


@pytest.mark.scenario("B-35")
def test_a_rollback_to_one_that_has_vanished_goes_on_to_the_generation_before_it(workspace):
    live = workspace(older=None, good=None, bad={"die_at_start": 7})
    live.serve("older")
    live.switch("good")
    vanish(live, "good")
    assert live.switch("bad").serving == "older"
    assert len(live.of(SwitchRequested)) == 2

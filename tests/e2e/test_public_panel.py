"""The public panel as people run it today, with nothing of it replaced but the script that it starts."""

import subprocess
import sys

import pytest

from journal.clock import S, elapsed_ns
from journal.events import (
    AbortRequested,
    FileIngested,
    LockAcquired,
    LockReleased,
    OrchestratorStarted,
    Origin,
    ProcessExited,
    ProcessIntended,
    ProcessSignalled,
    SwitchAborted,
    SwitchRequested,
)
from projections.switching import PROGRESS
from tests.helpers.bystanders import StatusReader
from tests.helpers.pages import ENDS, Dialog
from tests.helpers.panels import call
from tests.helpers.public_panel import install_public_panel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

IN_ORDER = ["preparing", "syncing", "starting", "validating", "rolling_back"]
TARGETS = {
    "good": (None, "complete"),
    "without main.py": (None, "rolled_back"),
    "dies at its start": ({"die_at_start": 7}, "rolled_back"),
}


@pytest.mark.scenario("B-43", "OB-03", "OB-04", "OB-06")
@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("supervised", [False, True], ids=["unsupervised", "supervised"])
def test_a_switch_by_the_public_panel_ends_right_and_its_dialog_with_it(workspace, by_hand, supervised, target):
    orders, end = TARGETS[target]
    live = workspace(first=None, second=orders)
    live.configure(status_linger_s=30)
    install_public_panel(live, sys.executable, "first", "second")
    if target == "without main.py":
        (live.comfyui("second") / "main.py").unlink()
    source = live.serve("first") if supervised else by_hand(live, "first")
    with StatusReader(live) as reader:
        status, answer = call(f"http://127.0.0.1:{live.port}/v2/comfygit/switch_environment", {"target_env": "second"})
        assert (status, answer["observer"]["kind"]) == (200, "manager_orchestrator")
        dialog = Dialog(f"http://127.0.0.1:{live.port}", answer)
        last = dialog.until_it_ends()
        live.until(lambda state: state.serving == ("second" if end == "complete" else "first"))
    assert last["state"] == end
    assert_shown_in_order(reader.seen, end)
    assert_shown_in_order(dialog.seen, end)
    (requested,) = live.of(SwitchRequested)
    assert (requested.target, requested.source, requested.origin) == ("second", "first", Origin.FILE)
    assert live.of(LockAcquired)[0].foreign
    assert len(live.of(FileIngested)) == 1
    assert len(live.of(OrchestratorStarted)) == 1
    if not supervised:
        assert source.wait(10) == 43
        assert live.of(OrchestratorStarted)[0].arguments == ("--port", str(live.port))
        assert "switch.requested" in live.log()
    assert_the_source_had_its_time(live)


@pytest.mark.scenario("B-43")
@pytest.mark.parametrize("target", ["good", "dies at its start"])
@pytest.mark.parametrize("supervised", [False, True], ids=["unsupervised", "supervised"])
def test_a_switch_by_the_public_panel_with_our_calls_ends_right_too(workspace, by_hand, supervised, target):
    orders, end = TARGETS[target]
    live = workspace(first=None, second=orders)
    live.configure(status_linger_s=30)
    install_public_panel(live, sys.executable, "first", "second", calls=True)
    source = live.serve("first") if supervised else by_hand(live, "first")
    page = f"http://127.0.0.1:{live.port}"
    status, answer = call(f"{page}/v2/comfygit/switch_environment", {"target_env": "second"})
    assert status == 200
    dialog = Dialog(page, answer)
    assert dialog.until_it_ends()["state"] == end
    assert_shown_in_order(dialog.seen, end)
    live.until(lambda state: state.serving == ("second" if end == "complete" else "first"))
    (requested,) = live.of(SwitchRequested)
    assert (requested.source, requested.origin) == ("first", Origin.FUNCTION)
    assert len(live.of(LockAcquired)) == 2  # the claim, and the switch that it was for
    assert len(live.of(OrchestratorStarted)) == 1
    if not supervised:
        assert source.wait(10) == 43
    assert_the_source_had_its_time(live)


def assert_shown_in_order(documents, end):
    """States in order, progress never back, a target in every document, and no more than one end, the last."""
    assert [document["state"] for document in documents if document["state"] in ENDS][:1] == [end]
    steps = [document["state"] for document in documents if document["state"] not in ENDS]
    assert [IN_ORDER.index(state) for state in steps] == sorted(IN_ORDER.index(state) for state in steps)
    progress = [document["progress"] for document in documents]
    assert progress == sorted(progress)
    assert all(document["progress"] == PROGRESS[document["state"]] for document in documents)
    assert all(document["target_env"] == "second" for document in documents)
    assert ("error" in documents[-1]) is (end != "complete")


def assert_the_source_had_its_time(live):
    """It left by itself, or was signalled 5 s after the request at the earliest."""
    requested = live.recorded(SwitchRequested)[0]
    left = live.recorded(ProcessExited)[:1]
    for signalled in live.recorded(ProcessSignalled):
        if not left or signalled.seq < left[0].seq:
            assert elapsed_ns(requested.at, signalled.at) >= 5 * S


def test_a_second_wish_while_the_first_is_carried_out_is_refused_by_the_file_that_we_published(workspace, by_hand):
    live = workspace(first=None, second={"start_delay_s": 2})
    install_public_panel(live, sys.executable, "first", "second")
    by_hand(live, "first")
    url = f"http://127.0.0.1:{live.port}/v2/comfygit/switch_environment"
    assert call(url, {"target_env": "second"})[0] == 200
    assert call(url, {"target_env": "second"})[0] == 409
    assert live.until_over().serving == "second"


@pytest.mark.scenario("B-11")
def test_a_comfyui_started_by_hand_during_a_switch_gets_the_workspace_to_itself(workspace, by_hand):
    live = workspace(first=None, second={"hang": True})
    install_public_panel(live, sys.executable, "first", "second")
    process = live.serve("first")
    url = f"http://127.0.0.1:{live.port}/v2/comfygit/switch_environment"
    with StatusReader(live) as reader:
        assert call(url, {"target_env": "second"})[0] == 200
        live.until(lambda state: state.job is not None and state.job.stage == "validating")
        manual = by_hand(live, "first")
    assert process.wait(5) == 0
    assert manual.poll() is None
    assert live.ask("/stand_in/environ")["pid"] == manual.pid
    (asked,), (freed,) = live.recorded(AbortRequested), live.recorded(LockReleased)
    assert (asked.event.manual_pid, asked.event.reason) == (manual.pid, "manual_restart")
    assert elapsed_ns(asked.at, freed.at) < 20 * S
    assert live.of(SwitchAborted)[0].manual
    assert reader.seen[-1]["state"] == "aborted"
    assert [event.environment for event in live.of(ProcessIntended)] == ["first", "second"]
    assert not (live.metadata / ".switch.lock").exists()
    assert not (live.metadata / ".orchestrator.pid").exists()


def test_the_script_that_takes_the_place_of_the_managers_own_answers_for_itself(workspace, tmp_path):
    live = workspace(first=None)
    install_public_panel(live, sys.executable, "first")
    script = live.comfyui("first") / "custom_nodes" / "comfygit-manager" / "server" / "orchestrator.py"
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "comfygit-orchestrator" in done.stdout

"""Our panel in a ComfyUI-like server: what a browser starts there, from the first switch of a workspace on."""

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from journal.events import (
    LockReleased,
    OrchestratorStarted,
    Origin,
    ProcessAdopted,
    ProcessExited,
    ProcessSignalled,
    ShutdownRequested,
    SourceSeen,
    SpawnRequested,
    SwitchAborted,
    SwitchRefused,
    SwitchRequested,
)
from journal.identity import identify
from orchestrator.asking import ask_switch, command_ask, open_ledger
from orchestrator.panel.venv import python_in
from orchestrator.workspace import open_workspace
from orchestrator.world import SwitchAsk
from tests.helpers.bystanders import StatusReader, SteadyCaller
from tests.helpers.pages import Dialog
from tests.helpers.panels import ask_panel, ask_to_switch, call, with_panel
from tests.helpers.waiting import until

pytestmark = pytest.mark.slow

LADDER = ["preparing", "syncing", "starting", "validating", "complete"]


@pytest.fixture
def panel_workspace(workspace, orchestrator_venv):
    """`panel_workspace(good=None, ...)`: the panel is in every one of the environments."""

    def make(**environments):
        return with_panel(workspace(**environments), orchestrator_venv, *environments)

    return make


def states_of(reader):
    """The states that were seen, each once, in order."""
    seen = [document["state"] for document in reader.seen]
    return [state for at, state in enumerate(seen) if at == 0 or state != seen[at - 1]]


@pytest.mark.scenario("OB-07", "OB-08", "OB-01", "OB-02", "OB-03", "OB-04", "OB-06", "ED-08")
def test_the_first_switch_starts_an_orchestrator_and_the_next_one_asks_it(panel_workspace, by_hand, orchestrator_venv):
    live = panel_workspace(good=None, other=None)
    source = by_hand(live, "good")
    assert not live.events()
    with StatusReader(live) as reader:
        answer = ask_to_switch(live, "other")
        assert answer["observer"]["kind"] == "manager_orchestrator"
        dialog = Dialog(f"http://127.0.0.1:{live.port}", answer)
        assert dialog.until_it_ends()["state"] == "complete"
        assert source.wait(20) == 43
        state = live.until_over()
    assert set(dialog.states) <= set(LADDER)
    assert dialog.states == sorted(dialog.states, key=LADDER.index)
    assert state.serving == "other"
    assert states_of(reader) == LADDER
    (requested,) = live.of(SwitchRequested)
    assert (requested.origin, requested.source, requested.requester) == (
        Origin.PANEL,
        "good",
        live.of(SourceSeen)[0].identity,
    )
    assert live.of(SpawnRequested)[0].command[0] == str(python_in(orchestrator_venv.resolve()))
    (started,) = live.of(OrchestratorStarted)
    assert started.arguments == ("--port", str(live.port))
    process = psutil.Process(started.identity.pid)
    assert os.getsid(process.pid) == process.ppid() == live.state().guard.pid
    assert psutil.Process(process.ppid()).ppid() != source.pid
    assert opened(process.pid, 0) == "/dev/null"
    assert {opened(process.pid, descriptor) for descriptor in (1, 2)} == {str(live.metadata / "orchestrator.log")}
    comfyui = state.main_process.identity
    ask_to_switch(live, "good")
    state = live.until_over(2)
    assert state.serving == "good"
    assert len(live.of(OrchestratorStarted)) == 1
    (gone,) = [
        event for event in live.of(ProcessExited) if event.spawn == live.recorded(ProcessSignalled)[-1].event.spawn
    ]
    assert gone.cause == "stopped"  # it was not made to leave by itself
    assert identify(comfyui.pid) != comfyui


def opened(pid, descriptor):
    return str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())


@pytest.mark.scenario("OB-09", "ED-09", "ED-10", "RF-06")
def test_a_supervised_comfyui_whose_orchestrator_was_killed_starts_one_that_adopts_it(panel_workspace):
    live = panel_workspace(good=None, other=None)
    live.serve("good")
    main = live.state().main_process.identity
    live.die()
    ask_to_switch(live, "other")
    assert live.until_over().serving == "other"
    assert live.of(ProcessAdopted)[0].identity == main
    assert len(live.of(OrchestratorStarted)) == 2
    assert live.of(OrchestratorStarted)[1].arguments is None  # as the journal says
    assert not live.of(ProcessSignalled)


def test_a_target_that_is_broken_before_its_start_costs_no_answer_and_the_page_is_told(panel_workspace, by_hand):
    live = panel_workspace(good=None, bad=None)
    (live.comfyui("bad") / "main.py").unlink()
    live.configure(status_linger_s=60, source_linger_s=60)
    source = by_hand(live, "good")
    with SteadyCaller(live.port) as caller, StatusReader(live) as reader:
        answer = ask_to_switch(live, "bad")
        live.until_over()
        document = until(lambda: call(answer["observer"]["status_url"])[1])
        assert (document["state"], document["target_env"]) == ("rolled_back", "bad")
        assert "main.py" in document["error"]
        until(lambda: ask_panel(live, "/comfygit/switch_status")[1].get("state") == "rolled_back")
        assert "goes on" in until(
            lambda: (live.root / "good.by-hand.log").read_text().partition("came to nothing; this ")[2]
        )
    assert not caller.failures
    assert source.poll() is None
    assert states_of(reader) == ["preparing", "rolled_back"]
    shown = ask_panel(live, "/comfygit/switch_status")[1]
    assert {"timestamp", "level", "message"} <= shown["logs"][-1].keys()


def test_a_target_that_dies_at_its_start_brings_the_source_back(panel_workspace, by_hand):
    live = panel_workspace(good=None, bad={"die_at_start": 7})
    source = by_hand(live, "good")
    with StatusReader(live) as reader:
        dialog = Dialog(f"http://127.0.0.1:{live.port}", ask_to_switch(live, "bad"))
        assert dialog.until_it_ends()["state"] == "rolled_back"
        assert source.wait(20) == 43
        state = live.until_over()
    assert state.serving == "good"
    assert states_of(reader)[-2:] == ["rolling_back", "rolled_back"]


@pytest.mark.scenario("OB-05")
def test_no_venv_and_no_way_to_one_is_an_error_and_nothing_is_half_started(workspace, by_hand, orchestrator_venv):
    live = with_panel(workspace(good=None, other=None), orchestrator_venv, "good")
    broken = live.metadata / ".orchestrator_venv" / orchestrator_venv.name
    broken.unlink()
    broken.write_text("in the way")
    source = by_hand(live, "good")
    status, answer = ask_panel(live, "/comfygit/switch_environment", {"target_env": "other"})
    assert status == 500
    assert str(broken) in answer["error"]
    assert source.poll() is None
    assert not live.events()
    assert not (live.metadata / ".switch.lock").exists()


def test_an_orchestrator_that_does_not_come_up_leaves_no_lock_behind(panel_workspace, by_hand):
    live = panel_workspace(good=None, other=None)
    (live.metadata / "orchestrator.log").mkdir()
    source = by_hand(live, "good")
    status, answer = ask_panel(live, "/comfygit/switch_environment", {"target_env": "other"})
    assert (status, "orchestrator.log" in answer["error"]) == (500, True)
    assert not (live.metadata / ".switch.lock").exists()
    assert not (live.metadata / ".switch_request.json").exists()
    assert source.poll() is None
    assert (live.of(SwitchAborted)[0].serving, len(live.of(LockReleased))) == ("good", 1)
    assert live.status()["state"] == "rolled_back"


def test_a_comfyui_beside_the_orchestrators_own_is_told_to_use_that_one(panel_workspace):
    live = panel_workspace(good=None, other=None)
    live.serve("good")
    beside = subprocess.Popen(
        [str(live.comfyui("other").parent / ".venv/bin/python"), "main.py", "--port", str(live.port + 1)],
        cwd=live.comfyui("other"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{live.port + 1}/v2/comfygit"
    try:
        until(lambda: answers(f"{url}/orchestrator_port"))
        status, answer = call(f"{url}/switch_environment", {"target_env": "good"})
    finally:
        beside.kill()
        beside.wait()
    assert (status, answer["error"]) == (409, "orchestrator_active")
    assert live.of(SwitchRefused)[0].why == "orchestrator_active"
    assert live.state().serving == "good"


def answers(url):
    try:
        return call(url)[0]
    except OSError:
        return 0


def test_what_serves_already_is_a_success_that_ends_the_pages_dialog(panel_workspace):
    live = panel_workspace(good=None)
    live.configure(status_linger_s=60)
    live.serve("good")
    ask_to_switch(live, "good")
    assert ask_panel(live, "/comfygit/switch_status")[1]["state"] == "complete"
    assert ask_panel(live, "/comfygit/switch_environment", {"target_env": "nowhere"})[0] == 404
    assert not live.of(SwitchRequested)


@pytest.mark.scenario("OB-10", "RF-01")
def test_restart_reboot_and_stop_are_exit_codes_and_start_no_orchestrator(panel_workspace):
    live = panel_workspace(good=None)
    live.serve("good")
    live.control_port()
    assert ask_panel(live, "/comfygit/orchestrator/restart", {})[1]["status"] == "restart_requested"
    live.until(lambda state: bool(state.serving) and len(live.starts("good")) == 2)
    assert ask_panel(live, "/manager/reboot", {}) == (200, {"status": "restarting"})
    live.until(lambda state: bool(state.serving) and len(live.starts("good")) == 3)
    assert {(event.code, event.cause.value) for event in live.of(ProcessExited)} >= {(42, "restart")}
    assert ask_panel(live, "/comfygit/stop", {}) == (200, {"status": "stopping"})
    assert live.orchestrators[0].wait(20) == 0
    assert len(live.of(OrchestratorStarted)) == 1
    assert not live.of(SpawnRequested)


def test_without_an_orchestrator_a_restart_is_left_to_whoever_runs_comfyui(panel_workspace, by_hand):
    live = panel_workspace(good=None)
    source = by_hand(live, "good")
    assert ask_panel(live, "/comfygit/orchestrator/health")[0] == 503
    assert ask_panel(live, "/comfygit/orchestrator/kill", {})[1]["error"] == "orchestrator_unavailable"
    expected = {"status": "restarting", "fallback": "local_manager"}
    assert ask_panel(live, "/comfygit/orchestrator/restart", {}) == (200, expected)
    assert source.wait(10) == 42


def test_health_and_status_are_the_orchestrators_own_by_way_of_comfyui(panel_workspace):
    live = panel_workspace(good=None)
    live.serve("good")
    port = live.control_port()
    until(lambda: ask_panel(live, "/comfygit/orchestrator_port") == (200, {"port": port}))
    health = ask_panel(live, "/comfygit/orchestrator/health")[1]
    assert (health["status"], health["current_env"], health["port"]) == ("alive", "good", port)
    assert ask_panel(live, "/comfygit/orchestrator/status")[1]["state"] == "idle"
    assert ask_panel(live, "/comfygit/orchestrator/kill", {})[1]["status"] == "shutting_down"
    assert live.orchestrators[0].wait(20) == 0


def test_where_cg_run_supervises_lock_and_request_are_files_and_nobody_is_started(
    panel_workspace, by_hand, monkeypatch
):
    live = panel_workspace(good=None, other=None)
    monkeypatch.setenv("COMFYGIT_CG_RUN_SUPERVISOR", "1")
    source = by_hand(live, "good")
    monkeypatch.delenv("COMFYGIT_CG_RUN_SUPERVISOR")
    assert ask_panel(live, "/comfygit/switch_environment", {"target_env": "../other"})[0] == 404
    ask_to_switch(live, "other")
    request = json.loads((live.metadata / ".switch_request.json").read_text())
    assert (request["target_env"], request["source_env"]) == ("other", "good")
    assert ask_panel(live, "/comfygit/switch_environment", {"target_env": "other"})[0] == 409
    assert source.wait(10) == 43
    assert not live.events()
    (live.metadata / ".switch_request.json").unlink()
    (live.metadata / ".switch.lock").unlink()


def test_a_switch_whose_asker_and_orchestrator_are_gone_is_taken_up_by_the_next_wish(panel_workspace, by_hand):
    live = panel_workspace(good=None, other=None, third=None)
    source = by_hand(live, "good")
    with open_ledger(open_workspace(live.root), "panel") as ledger:  # and killed before it had started anybody
        wish = SwitchAsk("other", Origin.PANEL, source="good", requester=identify(source.pid))
        assert ask_switch(ledger, wish).switch
    assert ask_panel(live, "/comfygit/switch_environment", {"target_env": "third"})[0] == 409
    assert live.until_over().serving == "other"
    assert len(live.of(OrchestratorStarted)) == 1


def test_the_same_wish_again_is_the_open_switch_when_nobody_works_on_it(panel_workspace, by_hand):
    live = panel_workspace(good=None, other=None)
    source = by_hand(live, "good")
    with open_ledger(open_workspace(live.root), "panel") as ledger:
        ask_switch(ledger, SwitchAsk("other", Origin.PANEL, source="good", requester=identify(source.pid)))
    ask_to_switch(live, "other")
    assert live.until_over().serving == "other"
    assert len(live.of(SwitchRequested)) == 1


def test_a_command_takes_up_a_switch_that_nobody_works_on_too(workspace):
    live = workspace(good=None, other=None, third=None)
    live.serve("good")
    live.die()
    with open_ledger(open_workspace(live.root), "cli") as ledger:
        ask_switch(ledger, command_ask(ledger.workspace, "other"))
    assert live.cli("switch", "third").returncode == 1
    assert live.until_over().serving == "other"


def test_without_a_control_server_the_page_gets_its_answer_all_the_same(panel_workspace):
    live = panel_workspace(good=None, other=None)
    live.configure(enable_control_server=False)
    live.serve("good")
    assert ask_to_switch(live, "other")["observer"] is None
    assert live.until_over().serving == "other"


def test_another_workspaces_orchestrator_on_the_port_that_ours_had_is_not_asked(panel_workspace, by_hand):
    live = panel_workspace(good=None)
    other = panel_workspace(good=None)
    stranger = other.serve("good")
    (live.metadata / ".control_port").write_text(str(other.control_port()))
    (live.metadata / ".orchestrator.pid").write_text(str(os.getpid()))
    by_hand(live, "good")
    assert ask_panel(live, "/comfygit/orchestrator/kill", {})[0] == 503
    assert ask_panel(live, "/comfygit/orchestrator/health")[0] == 503
    assert stranger.poll() is None
    assert not other.of(ShutdownRequested)
    for name in (".control_port", ".orchestrator.pid"):
        (live.metadata / name).unlink()


def test_an_outcome_that_is_shown_for_no_time_does_not_make_comfyui_leave(panel_workspace, by_hand):
    live = panel_workspace(good=None, bad=None)
    (live.comfyui("bad") / "main.py").unlink()
    live.configure(status_linger_s=0, source_linger_s=0)
    source = by_hand(live, "good")
    ask_to_switch(live, "bad")
    live.until_over()
    assert until(lambda: "this ComfyUI goes on" in (live.root / "good.by-hand.log").read_text())
    assert source.poll() is None


def test_a_stop_while_the_source_still_serves_leaves_it_serving(panel_workspace, by_hand):
    live = panel_workspace(good=None, slow=None)
    live.configure(source_grace_s=60, status_linger_s=60)
    source = by_hand(live, "good")
    live.request("slow", "good")
    orchestrator = live.start("slow")
    live.until(lambda state: state.source_process is not None and state.job.stage == "clearing")
    assert live.stop(orchestrator) == 0
    assert source.poll() is None
    (aborted,) = live.of(SwitchAborted)
    assert (aborted.serving, aborted.recovery_command) == ("good", "")


def test_a_comfyui_in_a_workspace_does_not_switch_another_one(panel_workspace):
    live, other = panel_workspace(good=None), panel_workspace(good=None, other=None)
    live.serve("good")
    wish = {"target_env": "other", "workspace_path": str(other.root)}
    status, answer = ask_panel(live, "/comfygit/switch_environment", wish)
    assert (status, answer["error"]) == (400, "This ComfyUI belongs to another workspace")
    assert not other.events()

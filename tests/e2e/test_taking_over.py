"""Workspaces whose orchestrator was killed: what the next command makes of them."""

import json
import os
import shutil
import signal
from pathlib import Path

from journal.codec import Draft, own_actor
from journal.events import (
    ExitCause,
    OrchestratorLost,
    Origin,
    ProcessAdopted,
    ProcessExited,
    ShutdownRequested,
    SwitchRequested,
)
from journal.identity import is_alive
from orchestrator.ledger import Ledger
from orchestrator.workspace import Workspace
from tests.helpers.live_workspace import LiveWorkspace
from tests.helpers.waiting import until


def test_where_all_are_dead_a_switch_to_what_last_served_starts_it_again(workspace):
    live = workspace(good=None)
    live.serve("good")
    child = live.state().main_process.identity
    live.die()
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: not is_alive(child))
    done = live.cli("switch", "good", "--wait")
    assert done.returncode == 0, done.stderr
    assert "good serves" in done.stdout
    assert live.state().main_process.identity != child


def test_where_comfyui_lives_on_the_same_command_finds_it_serving_and_starts_one_that_adopts_it(workspace):
    live = workspace(good=None)
    live.serve("good")
    child = live.state().main_process.identity
    live.die()
    done = live.cli("switch", "good")
    assert done.returncode == 0, done.stderr
    assert "serves already" in done.stdout
    live.until(lambda state: bool(live.of(ProcessAdopted)))
    assert live.of(OrchestratorLost)
    assert live.state().main_process.identity == child


def test_a_stop_that_nobody_lived_to_carry_out_stands_in_no_switchs_way(workspace):
    live = workspace(good=None, other=None)
    live.serve("good")
    live.die()
    with Ledger.open(Workspace(live.root), own_actor("test")) as ledger:
        ledger.ask(lambda _: (Draft(ShutdownRequested(origin="cli")),))
    done = live.cli("switch", "other", "--wait")
    assert done.returncode == 0, done.stderr
    assert live.state().serving == "other"


def test_a_request_on_disk_is_the_switch_also_where_something_was_left_running(workspace):
    live = workspace(good=None, other=None)
    live.serve("good")
    live.die()
    live.request("other", "good")
    live.start("other")
    live.until_over()
    (requested,) = live.of(SwitchRequested)
    assert (requested.target, requested.source, requested.origin) == ("other", "good", Origin.FILE)
    assert live.state().serving == "other"


def test_arguments_that_are_no_text_harm_nobody(workspace):
    live = workspace(good=None)
    live.serve("good", "--output-directory", "/nowhere/caf\udce9")
    document = json.loads((live.metadata / ".startup_state.json").read_bytes())
    assert document["argv"][-1] == "/nowhere/caf\udce9"


def test_a_copy_of_a_workspace_that_serves_leaves_the_comfyui_of_the_original_alone(workspace):
    live = workspace(good=None)
    live.serve_kept("good")
    child = live.state().main_process.identity
    copy = LiveWorkspace(Path(shutil.copytree(live.root, live.root.with_name("copy"), symlinks=True)), {})
    started = copy.start("good")
    try:
        copy.until(lambda state: state.serving == "good" and len(copy.starts("good")) > 1)
        assert not copy.of(ProcessAdopted)
        (exited,) = copy.of(ProcessExited)
        assert (exited.given_up, exited.cause, exited.left[0].identity) == (True, ExitCause.STOPPED, child)
        assert f"left          pid {child.pid}" in copy.cli("status").stdout
    finally:
        started.terminate()
        assert started.wait(20) == 0
    assert is_alive(child)
    assert live.state().serving == "good"

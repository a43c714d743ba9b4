"""Starts and switches whose environment is synced by the real comfygit-core: what its failures and waits lead to."""

import os
import socket
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from comfyui_stand_in.comfygit import git, make_environment, make_workspace
from journal.events import HealthConfirmed, ProcessSpawned, SwitchFailed, SyncFinished, WorkerSpawned
from projections.state import OutcomeState
from tests.helpers.live_workspace import LiveWorkspace
from tests.helpers.waiting import until

OFFLINE = {"UV_OFFLINE": "1"}
NOWHERE = "no-such-package==99"


@pytest.fixture
def comfygit(workspace, uv_cache) -> Callable[..., LiveWorkspace]:
    """A workspace with a plain environment `good`, and a ComfyGit one `alpha` that depends on these."""

    def make(*dependencies: str) -> LiveWorkspace:
        live: LiveWorkspace = workspace(good=None)
        make_workspace(live.root, uv_cache)
        make_environment(live.root, "alpha", dependencies)
        return live

    return make


@pytest.fixture
def swallowing() -> Iterator[str]:
    """The address of a listener that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def in_session(leader: int) -> list[str]:
    """What runs in the session of that process, zombies aside."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.name())
        except (psutil.Error, OSError):
            continue
    return found


def serve_again(live: LiveWorkspace, start: int) -> None:
    live.until(lambda state: state.serving == "alpha" and len(live.starts("alpha")) == start)


@pytest.mark.slow
def test_a_good_sync_is_told_in_the_journal_and_its_output_in_the_switch_log(comfygit):
    live = comfygit("iniconfig")
    live.serve("good")
    assert live.switch("alpha").switches[-1].state is OutcomeState.COMPLETE
    synced = live.of(SyncFinished)[-1]
    assert synced.ok
    assert "iniconfig" in synced.summary
    log = live.metadata / "supervisor-switch.log"
    until(lambda: "Successfully synced environment" in log.read_text())
    assert log.read_text().count("Finished syncing custom nodes") == 1
    live.leave(42)
    serve_again(live, 2)
    assert len([event for event in live.of(SyncFinished) if event.environment == "alpha"]) == 1


@pytest.mark.slow
@pytest.mark.scenario("B-25")
def test_a_sync_that_core_calls_unsuccessful_fails_the_switch_with_its_errors(comfygit):
    live = comfygit(NOWHERE)
    live.start("good", **OFFLINE)
    live.until(lambda state: state.serving == "good")
    served = live.of(ProcessSpawned)
    ended = live.switch("alpha").switches[-1]
    assert (ended.state, ended.serving) == (OutcomeState.ROLLED_BACK, "good")
    failed = live.of(SyncFinished)[-1]
    assert (failed.ok, failed.tolerated) == (False, False)
    assert "no-such-package" in failed.error
    assert live.of(SwitchFailed)[-1].reason == "sync"
    assert "no-such-package" in ended.error
    assert live.of(ProcessSpawned) == served, "nothing was stopped"


@pytest.mark.slow
@pytest.mark.scenario("B-25", "B-45")
def test_a_sync_that_hangs_on_the_network_is_ended_in_time_with_its_tree_and_leaves_the_manifest(comfygit, swallowing):
    live = comfygit("iniconfig")
    live.configure(sync_timeout_s=3)
    manifest = live.comfyui("alpha").parent / ".cec" / "pyproject.toml"
    manifest.write_text(manifest.read_text().split("[dependency-groups]")[0])
    dirty = manifest.read_bytes()
    live.start("good", UV_DEFAULT_INDEX=f"{swallowing}/simple")
    live.until(lambda state: state.serving == "good")
    began = time.monotonic()
    ended = live.switch("alpha").switches[-1]
    assert time.monotonic() - began < 15
    assert (ended.state, ended.serving) == (OutcomeState.ROLLED_BACK, "good")
    assert "did not end within 3 s" in live.of(SyncFinished)[-1].error
    worker = live.of(WorkerSpawned)[-1].identity
    until(lambda: in_session(worker.pid) == [])
    assert manifest.read_bytes() == dirty
    assert not (manifest.parent / "backups" / "sync").exists()


@pytest.mark.slow
@pytest.mark.scenario("B-36", "B-45")
def test_offline_a_start_and_a_restart_go_on_with_a_warning_and_nothing_waits_for_the_registry(comfygit, swallowing):
    live = comfygit(NOWHERE)
    for file in (live.root / "comfygit_cache" / "custom_nodes").glob("*.json"):
        file.unlink()
    untracked = live.comfyui("alpha") / "custom_nodes" / "mine.py"
    untracked.write_text("NODE_CLASS_MAPPINGS = {}\n")
    began = time.monotonic()
    live.start("alpha", **OFFLINE, http_proxy=swallowing, https_proxy=swallowing, no_proxy="127.0.0.1")
    serve_again(live, 1)
    live.leave(42)
    serve_again(live, 2)
    assert time.monotonic() - began < 15
    assert [(event.ok, event.tolerated) for event in live.of(SyncFinished)] == [(False, True)] * 2
    assert "no-such-package" in live.of(SyncFinished)[-1].error
    assert untracked.exists()
    assert git(live.comfyui("alpha").parent / ".cec", "status", "--porcelain") == ""


@pytest.mark.slow
@pytest.mark.scenario("B-36")
def test_offline_a_switch_to_what_was_healthy_as_it_is_goes_on(comfygit):
    live = comfygit(NOWHERE)
    live.start("alpha", **OFFLINE)
    serve_again(live, 1)
    live.switch("good")
    ended = live.switch("alpha").switches[-1]
    assert (ended.state, ended.serving) == (OutcomeState.COMPLETE, "alpha")
    assert [event.tolerated for event in live.of(SyncFinished) if event.environment == "alpha"] == [True, True]
    assert len(live.of(HealthConfirmed)) == 3

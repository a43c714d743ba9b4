"""When a start is preceded by a sync, and when by the journaled check in its place."""

import os
import signal

import pytest

from journal.events import ExitCause, ProcessExited, StartKind, StartPlanned, SyncSkipped, SyncStarted


def what_went_before(live, name="good"):
    """For each start of that environment: "synced" or "skipped"."""
    kinds = {SyncStarted: "synced", SyncSkipped: "skipped"}
    return [kinds[type(r.event)] for r in live.recorded(SyncStarted, SyncSkipped) if r.event.environment == name]


def serve_again(live, start, name="good"):
    live.until(lambda state: state.serving == name and len(live.starts(name)) == start)


def add_a_node(live):
    (live.comfyui("good") / "custom_nodes" / "new_node.py").write_text("NODE_CLASS_MAPPINGS = {}\n")


def change_the_manifest(live):
    (live.root / "environments/good/pyproject.toml").write_text("[project]\nname = 'changed'\nversion = '0'\n")


def install_a_package(live):
    (site,) = (live.root / "environments/good/.venv/lib").glob("python*/site-packages")
    (site / "something-1.0.dist-info").mkdir()


@pytest.mark.scenario("B-29", "RF-03")
def test_an_environment_that_ended_well_is_synced_again_only_after_a_change(workspace):
    live = workspace(good=None)
    live.serve("good")
    live.leave(42)
    serve_again(live, 2)
    live.command(command="restart")
    serve_again(live, 3)
    assert what_went_before(live) == ["synced", "skipped", "skipped"]
    for number, change in enumerate([add_a_node, change_the_manifest, install_a_package], 4):
        change(live)
        live.leave(42)
        serve_again(live, number)
        assert what_went_before(live)[-1] == "synced", change
    live.leave(42)
    serve_again(live, 7)
    assert what_went_before(live)[-1] == "skipped"
    assert len({event.fingerprint for event in live.of(SyncStarted)}) == 4


@pytest.mark.scenario("B-29")
def test_the_next_orchestrator_knows_that_it_ended_with_0(workspace):
    live = workspace(good=None)
    process = live.serve("good")
    live.leave(0)
    assert process.wait(10) == 0
    live.serve("good")
    assert what_went_before(live) == ["synced", "skipped"]


@pytest.mark.scenario("B-29")
def test_one_that_left_with_43_is_checked_when_it_is_switched_back_to_one_that_never_was_healthy_is_synced(workspace):
    live = workspace(good=None, other={"starts": [{"exit_after_s": 0, "exit_code": 42}, {}]})
    live.serve("good")
    for target, source in (("other", "good"), ("good", "other")):
        live.request(target, source)
        live.leave(43)
        live.until(lambda state, target=target: state.serving == target)
    assert what_went_before(live) == ["synced", "skipped"]
    assert what_went_before(live, "other") == ["synced", "synced"]


@pytest.mark.scenario("B-29")
def test_after_a_crash_the_sync_always_runs(workspace):
    live = workspace(good=None)
    live.serve("good")
    live.leave(7)
    serve_again(live, 2)
    os.kill(live.starts("good")[1]["pid"], signal.SIGKILL)
    serve_again(live, 3)
    assert [event.cause for event in live.of(ProcessExited)] == [ExitCause.CRASH] * 2
    assert [event.kind for event in live.of(StartPlanned)[1:]] == [StartKind.RETRY] * 2
    live.leave(42)
    serve_again(live, 4)
    assert what_went_before(live) == ["synced", "synced", "synced", "skipped"]

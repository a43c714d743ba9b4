"""A full disk, and a `.metadata` that may not be written: said clearly, nothing half done, and over when that is over."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from journal.events import ProcessIntended, ProcessSpawned, ProcessSpawnFailed, SupervisionParked, SwitchCompleted
from journal.identity import is_alive
from projections.state import OutcomeState, WorkspaceState
from projections.switching import Stage
from tests.helpers.bystanders import SteadyCaller
from tests.helpers.live_workspace import LiveWorkspace
from tests.helpers.mounts import needs_mounts
from tests.helpers.own_mounts import Disk, in_own_mounts
from tests.helpers.waiting import until

pytestmark = [pytest.mark.slow, needs_mounts, pytest.mark.scenario("B-16")]

Body = Callable[[LiveWorkspace, Disk], None]
Runner = Callable[..., None]

LATE = {"start_delay_s": 1.5}
HARD_TO_STOP = {"ignore_sigint": True}
TRIED_AGAIN = "nothing is done until then, it is tried again"


@pytest.fixture
def on_a_disk_of_its_own(tmp_path: Path) -> Runner:
    """`on_a_disk_of_its_own(body, one=None)`: a live workspace with these environments, `.metadata` on a disk of its own.

    `whole`: all of it is. A ComfyUI whose own files cannot be written may end, which is another story.
    """

    def run(body: Body, *, whole: bool = False, **environments: Mapping[str, object] | None) -> None:
        def inside() -> None:
            root = tmp_path / "workspace"
            disk = Disk(root if whole else root / ".metadata")
            live = LiveWorkspace(root, environments)
            (live.metadata / "orchestrator.log").symlink_to(tmp_path / "orchestrator.log")  # what is said is kept
            try:
                body(live, disk)
            finally:
                disk.relieve()
                live.close()
            assert live.agrees()
            assert_whole(live)

        in_own_mounts(inside)

    return run


def assert_whole(live: LiveWorkspace) -> None:
    """The journal is what was written, and no file is half of one."""
    verified = live.cli("verify", tool="journal")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert_no_half_files(live)


def assert_no_half_files(live: LiveWorkspace) -> None:
    assert not list(live.metadata.glob("*.tmp.*"))
    assert not list(live.metadata.glob(".*.tmp.*"))
    for name in (".switch_status.json", ".switch_request.json", ".switch.lock", ".supervisor_control.json"):
        path = live.metadata / name
        if path.exists():
            assert json.loads(path.read_bytes()), name


def assert_refused(live: LiveWorkspace, *command: str, saying: str) -> None:
    """What is asked for cannot be journaled, and the command says so and what to do."""
    said = live.cli(*command)
    assert said.returncode == 1, said.stdout
    assert said.stderr.startswith("error: ")
    assert saying in said.stderr
    error, hint, *more = said.stderr.splitlines()
    assert hint.startswith("hint: ")
    assert hint.removeprefix("hint: ") not in error
    assert more == []


def is_at(stage: Stage) -> Callable[[WorkspaceState], bool]:
    """Well inside it: a preflight that begins on a full disk says so."""

    def reached(state: WorkspaceState) -> bool:
        works = stage is not Stage.PREPARING or (state.worker is not None and state.worker.identity is not None)
        return works and state.job is not None and state.job.stage is stage

    return reached


def slow_down_its_python(live: LiveWorkspace, name: str) -> None:
    """So that each stage of a switch to it can be seen."""
    python = live.root / "environments" / name / ".venv/bin/python"
    python.rename(python.with_name("quick"))
    python.write_text('#!/bin/sh\nsleep 1\nexec "${0%/*}/quick" "$@"\n')
    python.chmod(0o755)


def held_up(live: LiveWorkspace) -> None:
    """The orchestrator has noticed."""
    until(lambda: TRIED_AGAIN in live.log())


def test_a_disk_that_fills_up_beside_a_serving_comfyui_costs_nothing_but_requests(on_a_disk_of_its_own):
    def body(live, disk):
        live.serve_kept("one")
        before = len(live.events())
        with SteadyCaller(live.port) as caller:
            disk.fill()
            assert_refused(live, "switch", "two", saying="journal.db: database or disk is full")
            assert_refused(live, "restart", saying="journal.db: database or disk is full")
            status = live.cli("status")
            assert (status.returncode, status.stdout.split()[:2]) == (0, ["serving", "one"])
            assert live.cli("log", tool="journal").returncode == 0
            assert_no_half_files(live)
            disk.free()
        assert caller.failures == []
        assert len(live.events()) == before
        assert live.cli("switch", "two", "--wait").returncode == 0

    on_a_disk_of_its_own(body, one=None, two=None)


def test_a_comfyui_that_leaves_while_the_disk_is_full_is_started_again_when_there_is_space(on_a_disk_of_its_own):
    def body(live, disk):
        live.serve_kept("one")
        disk.fill()
        live.leave(42)
        held_up(live)
        assert live.log().count(TRIED_AGAIN) == 1
        assert_no_half_files(live)
        disk.free()
        live.until(lambda state: state.serving == "one" and len(live.starts("one")) == 2, 15)
        assert "going on after a standstill" in live.log()
        assert live.of(SupervisionParked) == []

    on_a_disk_of_its_own(body, one=None)


def test_a_preflight_whose_verdict_found_no_space_costs_a_switch_and_no_answer(on_a_disk_of_its_own):
    def body(live, disk):
        live.serve("one")
        slow_down_its_python(live, "two")
        with SteadyCaller(live.port) as caller:
            assert live.cli("switch", "two").returncode == 0
            live.until(is_at(Stage.PREPARING))
            disk.fill()
            held_up(live)
            disk.free()
            ended = live.until_over()
        assert (ended.serving, ended.switches[-1].state) == ("one", OutcomeState.ROLLED_BACK)
        assert caller.failures == []
        assert live.cli("switch", "two", "--wait").returncode == 0

    on_a_disk_of_its_own(body, one=None, two=None)


@pytest.mark.parametrize("stage", [Stage.CLEARING, Stage.VALIDATING])
def test_a_switch_that_runs_into_a_full_disk_goes_on_when_there_is_space(on_a_disk_of_its_own, stage):
    def body(live, disk):
        live.serve("one")
        slow_down_its_python(live, "two")
        assert live.cli("switch", "two").returncode == 0
        live.until(is_at(stage))
        disk.fill()
        held_up(live)
        assert_refused(live, "abort", saying="journal.db: database or disk is full")
        assert_no_half_files(live)
        disk.free()
        live.until_over()
        assert [event.environment for event in live.of(SwitchCompleted)] == ["two"]
        assert live.ask("/system_stats")["system"]

    on_a_disk_of_its_own(body, one=HARD_TO_STOP if stage is Stage.CLEARING else None, two=None)


def test_with_the_whole_workspace_on_a_full_disk_a_switch_ends_with_a_comfyui_that_serves(on_a_disk_of_its_own):
    """The target's own files cannot be written, either: it may die of that, and then the old one comes back."""

    def body(live, disk):
        live.serve("one")
        assert live.cli("switch", "two").returncode == 0
        live.until(is_at(Stage.VALIDATING))
        disk.fill()
        held_up(live)
        assert_no_half_files(live)
        disk.free()
        ended = live.until(lambda state: state.serving != "" and state.lock is None, 60)
        assert ended.serving in {"one", "two"}
        assert ended.switches[-1].state.value in {"complete", "rolled_back"}

    on_a_disk_of_its_own(body, whole=True, one=None, two=LATE)


def test_a_start_that_runs_into_a_full_disk_goes_on_when_there_is_space(on_a_disk_of_its_own):
    def body(live, disk):
        live.start("one")
        live.until(is_at(Stage.VALIDATING))
        disk.fill()
        held_up(live)
        disk.free()
        live.until(lambda state: state.serving == "one")
        assert live.ask("/health", port=live.control_port())["current_env"] == "one"
        assert len(live.of(ProcessSpawned)) == len(live.starts("one")) == 1

    on_a_disk_of_its_own(body, one=LATE)


def test_an_orchestrator_that_is_started_on_a_full_disk_says_so_and_leaves_nothing_behind(on_a_disk_of_its_own):
    def body(live, disk):
        disk.fill()
        assert_refused(live, "run", "--environment", "one", saying="full")
        assert_no_half_files(live)
        assert live.cli("status").returncode == 0
        assert live.starts("one") == []
        disk.free()
        live.serve("one")

    on_a_disk_of_its_own(body, one=None)


def test_a_metadata_folder_that_becomes_read_only_beside_a_serving_comfyui_costs_nothing_but_requests(
    on_a_disk_of_its_own,
):
    def body(live, disk):
        orchestrator = live.serve_kept("one")
        with SteadyCaller(live.port) as caller:
            disk.make_read_only(live.metadata)
            assert_refused(live, "switch", "two", saying="ead-only")
            assert live.cli("status").returncode == 0
            held = live.ask("/health", port=live.control_port())
            assert held["status"] == "alive"
            disk.make_writable()
        assert caller.failures == []
        assert orchestrator.poll() is None
        assert live.cli("switch", "two", "--wait").returncode == 0

    on_a_disk_of_its_own(body, one=None, two=None)


def test_a_switch_that_runs_into_a_read_only_folder_goes_on_when_it_can_be_written(on_a_disk_of_its_own):
    def body(live, disk):
        live.serve("one")
        assert live.cli("switch", "two").returncode == 0
        live.until(is_at(Stage.VALIDATING))
        disk.make_read_only(live.metadata)
        held_up(live)
        disk.make_writable()
        live.until_over()
        assert [event.environment for event in live.of(SwitchCompleted)] == ["two"]

    on_a_disk_of_its_own(body, one=None, two=LATE)


def test_an_orchestrator_that_is_started_on_a_read_only_folder_says_so(on_a_disk_of_its_own):
    def body(live, disk):
        disk.make_read_only(live.metadata)
        assert_refused(live, "run", "--environment", "one", saying="ead-only")
        assert_refused(live, "spawn", "--environment", "one", saying="ead-only")
        assert live.starts("one") == []
        disk.make_writable()
        live.serve("one")

    on_a_disk_of_its_own(body, one=None)


def test_a_log_that_cannot_be_opened_is_a_start_that_failed_and_no_crash_loop(on_a_disk_of_its_own):
    def body(live, _disk):
        (live.metadata / "logs").mkdir()
        (live.metadata / "logs" / "one").write_text("in the way")
        live.start("one")
        parked = live.until(lambda state: state.parked is not None)
        assert len(live.of(ProcessIntended)) == len(live.of(ProcessSpawnFailed)) <= 8
        assert parked.parked is not None
        assert "opening the log" in live.cli("status").stdout
        (live.metadata / "logs" / "one").unlink()
        assert live.cli("restart").returncode == 0
        live.until(lambda state: state.serving == "one")

    on_a_disk_of_its_own(body, one=None)


def test_an_orchestrator_that_cannot_journal_its_end_leaves_and_the_next_one_takes_over(on_a_disk_of_its_own):
    def body(live, disk):
        live.serve_kept("one")
        orchestrator = live.state().orchestrator
        assert orchestrator is not None
        comfyui = live.ask("/system_stats") and live.state().main_process.identity
        disk.fill()
        os.kill(orchestrator.pid, signal.SIGTERM)
        until(lambda: not is_alive(orchestrator))
        assert f"left running: pid {comfyui.pid}" in live.log()
        assert live.ask("/system_stats")["system"]
        disk.free()
        live.serve("one")
        assert live.state().main_process.identity == comfyui
        assert len(live.starts("one")) == 1

    on_a_disk_of_its_own(body, one=None)

"""One environment, supervised: start, restart, end, crash."""

import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from journal.clock import S
from journal.events import (
    ExitCause,
    HealthConfirmed,
    HealthFailed,
    HealthProbed,
    OrchestratorStarted,
    ProcessExited,
    ProcessIntended,
    ProcessSpawned,
    ProcessStopAsked,
    StartKind,
    StartPlanned,
    SupervisionParked,
    SyncSkipped,
    SyncStarted,
)
from journal.identity import identify
from tests.helpers.waiting import until


@pytest.mark.scenario("OL-01", "OL-02", "OL-08", "OL-09", "OL-10")
def test_an_environment_is_started_on_its_own_python_with_its_arguments_and_told_that_it_is_supervised(workspace):
    live = workspace(good=None)
    live.start("good", "--cpu", "--preview-method", "auto")
    pid_file = live.metadata / ".orchestrator.pid"
    until(pid_file.exists)
    assert pid_file.read_text() == str(live.state().orchestrator.pid)
    live.until(lambda state: state.serving == "good")
    about = live.ask("/stand_in/environ")
    assert Path(about["executable"]) == live.root / "environments/good/.venv/bin/python"
    assert about["argv"][1:] == ["--port", str(live.port), "--cpu", "--preview-method", "auto"]
    assert about["environ"]["COMFYGIT_SUPERVISED"] == "1"
    assert Path(about["environ"]["COMFYGIT_HOME"]) == live.root


@pytest.mark.scenario("OL-03", "RF-01", "RF-02", "RF-03", "RF-04", "OL-07", "OL-05", "OL-11")
def test_two_restarts_and_a_clean_end_are_three_starts_of_the_same_environment(workspace):
    live = workspace(good=None, other=None)
    process = live.serve("good")
    for start in (2, 3):
        live.leave(42)
        live.until(lambda state, start=start: state.serving == "good" and len(live.starts("good")) == start)
    live.leave(0)
    assert process.wait(10) == 0
    assert not (live.metadata / ".orchestrator.pid").exists()
    assert [event.environment for event in live.of(ProcessIntended)] == ["good"] * 3
    assert [event.cause for event in live.of(ProcessExited)] == [ExitCause.RESTART, ExitCause.RESTART, ExitCause.CLEAN]
    assert len(live.of(SyncStarted)) + len(live.of(SyncSkipped)) == 3
    assert live.names().index("sync.started") < live.names().index("process.intended")
    assert not live.starts("other")


@pytest.mark.scenario("OL-07", "RF-03")
def test_every_start_is_preceded_by_a_sync_or_by_the_journaled_check_in_its_place(workspace):
    live = workspace(good=None)
    live.serve("good")
    live.leave(42)
    live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    relevant = [name for name in live.names() if name in {"sync.finished", "sync.skipped", "process.intended"}]
    assert relevant == ["sync.finished", "process.intended", "sync.skipped", "process.intended"]


@pytest.mark.scenario("OL-06")
def test_a_crash_is_retried_with_growing_delays_then_it_parks_and_says_why(workspace):
    live = workspace(bad={"die_at_start": 7, "die_message": "no such model"})
    live.configure(crash_retry_max=2)
    process = live.start("bad")
    state = live.until(lambda state: state.parked is not None)
    assert state.parked is not None
    assert "exit code 7" in state.parked.why
    assert "no such model" in state.parked.why
    assert "restart" in state.parked.advice
    retries = [event for event in live.of(StartPlanned) if event.kind is StartKind.RETRY]
    assert [event.attempt for event in retries] == [1, 2]
    assert len(live.starts("bad")) == 3
    assert process.poll() is None
    assert live.ask("/health", port=int((live.metadata / ".control_port").read_text()))["status"] == "alive"
    assert "parked" in live.cli("status").stdout


@pytest.mark.scenario("OL-06")
def test_with_no_retries_allowed_the_first_crash_parks(workspace):
    live = workspace(bad={"die_at_start": 7})
    live.configure(crash_retry_max=0)
    live.start("bad")
    live.until(lambda state: state.parked is not None)
    assert len(live.starts("bad")) == 1
    assert len(live.of(SupervisionParked)) == 1


def test_a_parked_environment_that_was_mended_starts_when_it_is_asked_to(workspace):
    live = workspace(bad={"die_at_start": 7})
    live.configure(crash_retry_max=0)
    live.start("bad")
    live.until(lambda state: state.parked is not None)
    live.order("bad", None)
    assert live.cli("restart").returncode == 0
    live.until(lambda state: state.serving == "bad" and state.parked is None)


@pytest.mark.scenario("OL-12", "OL-13", "OL-11")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_us_ends_comfyui_with_its_whole_tree_and_cleans_up(workspace, number):
    live = workspace(good={"fork_session": True})
    process = live.serve("good")
    child = live.of(ProcessSpawned)[0].identity.pid
    grandchild = until(lambda: _pid_in(live.comfyui("good") / "fork_session.pid"))
    process.send_signal(number)
    assert process.wait(10) == 0
    assert identify(child) is None
    assert identify(grandchild) is None
    left = {path.name for path in live.metadata.iterdir() if path.name.startswith(".")}
    assert left <= {".startup_state.json", ".orchestrator.lock"}
    assert live.of(ProcessStopAsked)[0].why == "supervision ends"
    assert live.of(ProcessExited)[-1].cause is ExitCause.STOPPED


def _pid_in(path):
    return int(path.read_text()) if path.exists() and path.read_text().strip() else None


@pytest.mark.scenario("OL-14")
def test_without_arguments_comfyui_gets_none(workspace):
    live = workspace(good={"die_at_start": 7})
    live.configure(crash_retry_max=0)
    command = [sys.executable, "-m", "orchestrator", "--workspace", str(live.root), "--environment", "good"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    live.orchestrators.append(process)
    live.until(lambda state: state.parked is not None)
    assert live.of(OrchestratorStarted)[0].arguments == ()
    assert live.of(ProcessIntended)[0].command[1:] == ("main.py",)


@pytest.mark.scenario("OL-14")
def test_what_follows_args_goes_to_comfyui_but_for_the_managers_own_flag(workspace):
    live = workspace(good=None)
    live.serve("good", "--enable-manager", "--workspace", "elsewhere")
    assert live.of(OrchestratorStarted)[0].arguments == ("--port", str(live.port), "--workspace", "elsewhere")


@pytest.mark.scenario("RF-05")
def test_outside_supervision_a_shell_loop_on_42_still_restarts_it(workspace):
    live = workspace(good={"starts": [{"exit_after_s": 0.1, "exit_code": 42}, {"exit_after_s": 0.1, "exit_code": 0}]})
    loop = f".venv/bin/python ComfyUI/main.py --port {live.port}; while [ $? -eq 42 ]; do {'.venv/bin/python'} "
    loop += f"ComfyUI/main.py --port {live.port}; done"
    done = subprocess.run(
        ["/bin/sh", "-c", loop], cwd=live.root / "environments/good", check=False, capture_output=True, timeout=30
    )
    assert done.returncode == 0
    assert len(live.starts("good")) == 2


@pytest.mark.scenario("RF-06")
def test_a_supervised_process_never_starts_a_second_orchestrator(workspace):
    live = workspace(good=None)
    live.serve("good")
    inside = {"COMFYGIT_SUPERVISED": "1", "COMFYGIT_HOME": str(live.root)}
    second = live.cli("run", "--environment", "good", **inside)
    assert second.returncode == 1
    assert f"pid {live.state().orchestrator.pid}" in second.stderr
    spawned = live.cli("spawn", "--environment", "good", **inside)
    assert spawned.returncode == 0
    assert "already running" in spawned.stdout
    assert len(live.of(OrchestratorStarted)) == 1
    assert len(live.starts("good")) == 1


@pytest.mark.scenario("HC-01", "HC-09")
def test_exactly_three_successes_in_a_row_make_it_healthy_and_each_is_an_event(workspace):
    live = workspace(good=None)
    live.serve("good")
    names = live.names()
    before = [event for event in live.of(HealthProbed) if event.ok]
    assert [event.successes for event in before] == [1, 2, 3]
    assert names.index("health.confirmed") > len(names) - 1 - names[::-1].index("health.probed")


@pytest.mark.scenario("HC-02")
def test_a_process_that_dies_while_it_is_validated_fails_at_once_with_its_exit_code(workspace):
    live = workspace(bad={"die_at_start": 9, "die_delay_s": 0.2})
    live.configure(crash_retry_max=0)
    live.start("bad")
    live.until(lambda state: state.parked is not None)
    assert live.of(ProcessExited)[0].code == 9
    failed = live.of(HealthFailed)[0]
    assert failed.why == "exited"
    assert "exit code 9" in failed.detail


@pytest.mark.scenario("HC-03")
@pytest.mark.parametrize("orders", [{"hang": True}, {"mute": True}, {"status": 500}])
def test_one_that_is_never_ready_fails_at_the_timeout_and_not_later_than_one_interval_after(workspace, orders):
    live = workspace(bad=orders)
    live.configure(crash_retry_max=0, health_check_timeout_s=1.5, probe_interval_s=0.25)
    live.start("bad")
    live.until(lambda state: state.parked is not None)
    by_type = {recorded.event.stored_name: recorded for recorded in live.events()}
    took_ns = by_type["health.failed"].at.monotonic_ns - by_type["process.spawned"].at.monotonic_ns
    assert by_type["health.failed"].event.why == "timeout"
    assert 1.5 * S <= took_ns < 4 * S
    probes = [recorded for recorded in live.events() if isinstance(recorded.event, HealthProbed)]
    late = [p for p in probes if p.at.monotonic_ns - by_type["process.spawned"].at.monotonic_ns >= 1.5 * S]
    assert len(late) == 1


@pytest.mark.scenario("HC-04")
def test_answers_that_alternate_never_add_up(workspace):
    live = workspace(bad={"flapping": True})
    live.configure(crash_retry_max=0, health_check_timeout_s=2)
    live.start("bad")
    live.until(lambda state: state.parked is not None)
    probes = live.of(HealthProbed)
    assert {event.ok for event in probes} == {True, False}
    assert max(event.successes for event in probes) < 3
    assert not live.of(HealthConfirmed)


@pytest.mark.scenario("HC-10")
def test_a_listener_that_is_not_comfyui_is_not_healthy(workspace):
    live = workspace(bad={"wrong_body": True})
    live.configure(crash_retry_max=0, health_check_timeout_s=1.5)
    live.start("bad")
    live.until(lambda state: state.parked is not None)
    answered = [event for event in live.of(HealthProbed) if event.status == 200]
    assert answered
    assert all(not event.ok and "not ComfyUI" in event.error for event in answered)


@pytest.mark.scenario("HC-05")
def test_the_last_port_wins_in_whatever_form_comfyui_takes_it(workspace):
    live = workspace(good=None)
    arguments = f"--port 1 --listen 127.0.0.1 --por={live.port}".split()
    command = [sys.executable, "-m", "orchestrator", "--workspace", str(live.root), "--environment", "good"]
    with (live.metadata / "orchestrator.log").open("ab") as log:
        live.orchestrators.append(subprocess.Popen([*command, "--args", *arguments], stderr=log))
    live.until(lambda state: state.serving == "good")
    assert [event.port for event in live.of(ProcessIntended)] == [live.port]


def test_seqs_have_no_gap_and_time_goes_forward(workspace):
    live = workspace(good=None)
    live.serve("good")
    live.stop()
    events = live.events()
    assert [recorded.seq for recorded in events] == list(range(1, len(events) + 1))
    assert all(one.at.monotonic_ns <= next_.at.monotonic_ns for one, next_ in pairwise(events))

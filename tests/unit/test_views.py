"""The exact bytes of every view, when there is none, and the order of writing."""

import json

import pytest

from journal.events import (
    ControlListening,
    ExitCause,
    LockReleased,
    OrchestratorStopped,
    Origin,
    ShutdownRequested,
    StartKind,
    StartupCaptured,
    SwitchAborted,
    SwitchCriticallyFailed,
    SwitchFailed,
    SwitchKind,
    SwitchRolledBack,
)
from projections.state import WorkspaceState
from projections.switching import Stage
from projections.views import (
    CONTROL_PORT,
    LOCK,
    PID,
    REQUEST,
    STARTUP,
    STATUS,
    SUPERVISOR,
    WHEN_ENDING,
    WHEN_TAKING,
    status_document,
    views,
    writing_order,
)
from tests.helpers.histories import History, exited, in_stage, planned

NOON_S = 1772366400.0


def status(history: History) -> dict[str, object]:
    document = status_document(history.state)
    assert document is not None
    return document


def test_a_workspace_in_which_nothing_ever_happened_has_no_views():
    assert set(views(WorkspaceState()).values()) == {None}


def test_there_is_a_view_for_every_name_in_either_order():
    assert set(views(WorkspaceState())) == set(WHEN_TAKING) == set(WHEN_ENDING)


# ------------------------------------------------------------ single files


def test_the_pid_is_decimal_and_nothing_else():
    history = History().begun()
    assert views(history.state)[PID] == b"100"

    history.add(OrchestratorStopped(why="", exit_status=0))
    assert views(history.state)[PID] is None


def test_the_control_server_is_announced_in_two_files():
    history = History().begun()
    assert (views(history.state)[CONTROL_PORT], views(history.state)[SUPERVISOR]) == (None, None)

    history.add(ControlListening(host="127.0.0.1", port=5051))
    made = views(history.state)
    assert made[CONTROL_PORT] == b"5051"
    assert made[SUPERVISOR] == b'{\n  "host": "127.0.0.1",\n  "port": 5051,\n  "kind": "manager_orchestrator"\n}\n'


def test_the_published_origin_is_advertised():
    history = History().begun()
    history.add(ControlListening(host="127.0.0.1", port=5051, public_origin="https://comfy.example.org"))

    assert json.loads(views(history.state)[SUPERVISOR] or b"")["public_origin"] == "https://comfy.example.org"


def test_the_start_is_described_for_the_next_one():
    history = History().begun().after(1.5)
    history.add(
        StartupCaptured(
            environment="a",
            workspace_root="/workspace",
            port=8188,
            python_executable="/a/python",
            working_directory="/a/ComfyUI",
            argv=("main.py", "--cpu"),
        )
    )

    assert json.loads(views(history.state)[STARTUP] or b"") == {
        "python_executable": "/a/python",
        "working_directory": "/a/ComfyUI",
        "argv": ["main.py", "--cpu"],
        "environment_name": "a",
        "workspace_root": "/workspace",
        "port": 8188,
        "timestamp": NOON_S + 1.5,
    }


def test_the_request_and_the_lock_are_there_exactly_while_a_switch_is_open():
    history = History().serving("a")
    assert (views(history.state)[REQUEST], views(history.state)[LOCK]) == (None, None)

    history.switching("b")
    made, asked_s, switch = views(history.state), history.now.wall_ns / 1e9, history.state.job.job
    assert (
        made[REQUEST]
        == (
            f'{{\n  "target_env": "b",\n  "source_env": "a",\n  "timestamp": {asked_s},\n  "switch_id": {switch}\n}}\n'
        ).encode()
    )
    assert json.loads(made[LOCK] or b"") == {
        "switch_id": switch,
        "target_env": "b",
        "holder_pid": 300,
        "acquired_at": asked_s,
    }

    history.completed()
    assert (views(history.state)[REQUEST], views(history.state)[LOCK]) == (None, None)


def test_a_source_that_is_not_known_is_null():
    history = History().begun("").switching("b", source="")

    assert json.loads(views(history.state)[REQUEST] or b"")["source_env"] is None
    assert status(history)["source_env"] is None


def test_a_name_in_any_script_is_readable():
    history = History().serving("a").switching("окружение")

    assert "окружение" in (views(history.state)[STATUS] or b"").decode()


# ----------------------------------------------------------------- status


def test_idle_has_no_status():
    assert status_document(History().serving("a").state) is None


@pytest.mark.parametrize(
    ("stage", "state", "progress"),
    [
        (Stage.PREPARING, "preparing", 10),
        (Stage.SYNCING, "syncing", 30),
        (Stage.CLEARING, "starting", 60),
        (Stage.STARTING, "starting", 60),
        (Stage.VALIDATING, "validating", 80),
        (Stage.CHOOSING, "rolling_back", 90),
    ],
)
def test_each_stage_shows_its_state_and_progress(stage, state, progress):
    history = in_stage(stage)
    shown = status(history)

    assert (shown["state"], shown["progress"]) == (state, progress)
    assert (shown["target_env"], shown["source_env"], shown["switch_id"]) == ("b", "a", history.state.job.job)
    assert shown["updated_at"] == history.state.job.stage_at.wall_ns / 1e9


@pytest.mark.parametrize("stage", [Stage.SYNCING, Stage.CLEARING, Stage.STARTING, Stage.VALIDATING])
def test_a_rollback_is_shown_as_one_whatever_its_candidate_is_doing(stage):
    shown = status(in_stage(stage, rolling=True))

    assert (shown["state"], shown["progress"], shown["error"]) == ("rolling_back", 90, "it broke")
    assert shown["message"] == "Going back: it broke"


def test_the_fields_come_in_the_order_that_readers_know():
    assert list(status(in_stage(Stage.CHOOSING))) == [
        "state",
        "progress",
        "message",
        "updated_at",
        "target_env",
        "source_env",
        "error",
        "switch_id",
    ]


def test_progress_never_goes_back_when_a_start_is_made_again():
    history = in_stage(Stage.VALIDATING)
    history.add(exited(history.job_spawn, 42, ExitCause.RESTART))
    shown = status(history)

    assert (shown["state"], shown["progress"]) == ("syncing", 80)


def test_a_verdict_shows_its_error_at_once():
    history = in_stage(Stage.SYNCING)
    history.add(SwitchFailed(reason="sync", error="no such package"))

    assert status(history)["error"] == "no such package"


def test_a_completed_switch_is_shown():
    shown = status(History().serving("a").switching("b").completed())

    assert (shown["state"], shown["progress"], shown["target_env"], shown["source_env"]) == ("complete", 100, "b", "a")
    assert "error" not in shown
    assert "recovery_command" not in shown


def test_a_switch_that_was_rolled_back_is_shown_with_its_error():
    history = History().serving("a").switching("b").preflighted()
    history.add(SwitchRolledBack(environment="a", error="no such package", nothing_stopped=True), LockReleased())
    shown = status(history)

    assert (shown["state"], shown["progress"], shown["error"]) == ("rolled_back", 100, "no such package")
    assert shown["message"] == "Environment a serves; b was not reached"


def test_a_critical_failure_says_what_to_paste():
    history = in_stage(Stage.CHOOSING)
    history.add(SwitchCriticallyFailed(error="nothing is left", recovery_command="switch a"), LockReleased())
    shown = status(history)

    assert (shown["state"], shown["progress"], shown["recovery_command"]) == ("critical_failure", 100, "switch a")


@pytest.mark.parametrize(("manual", "state"), [(True, "aborted"), (False, "critical_failure")])
def test_aborted_is_only_for_a_manual_start(manual, state):
    history = in_stage(Stage.SYNCING)
    history.add(SwitchAborted(error="stopped", manual=manual, recovery_command=""), LockReleased())

    assert (status(history)["state"], status(history)["progress"]) == (state, 100)


def test_a_switch_that_was_withdrawn_is_shown_as_rolled_back_to_what_serves():
    history = in_stage(Stage.PREPARING)
    withdrawn = SwitchAborted(error="no orchestrator", manual=False, recovery_command="", serving="a")
    history.add(withdrawn, LockReleased())

    assert (status(history)["state"], status(history)["error"]) == ("rolled_back", "no orchestrator")
    assert history.state.environment == "a"


def test_a_retry_after_a_crash_is_shown_as_recovering():
    history = History().serving("a")
    history.add(exited(history.state.main, 7, ExitCause.CRASH))
    history.add(planned("a", StartKind.RETRY, attempt=2, asked=False))
    shown = status(history)

    assert (shown["state"], shown["progress"], shown["target_env"]) == ("recovering", 50, "a")
    assert "try 2" in str(shown["message"])
    assert "switch_id" not in shown


def test_a_plain_start_has_no_status():
    history = History().begun()
    history.add(planned("a"))

    assert status_document(history.state) is None


def test_a_recovery_is_shown_as_the_switch_that_it_is():
    history = History().serving("a")
    history.add(exited(history.state.main, 7, ExitCause.CRASH))
    history.switching("a", kind=SwitchKind.RECOVER, origin=Origin.SUPERVISOR, reason="it {crashed}")

    assert status(history)["message"] == "Going back: it {crashed}"


# ------------------------------------------------------------------ order


def test_nobody_sees_a_request_without_its_lock():
    order = writing_order(History().serving("a").switching("b").state)

    assert order.index(LOCK) < order.index(REQUEST) < order.index(STATUS)


def test_nobody_sees_an_end_while_the_request_still_lies_there():
    order = writing_order(History().serving("a").switching("b").completed().state)

    assert order.index(REQUEST) < order.index(LOCK) < order.index(STATUS)


def test_a_clean_end_leaves_only_what_the_next_start_needs():
    history = History().serving("a")
    history.add(
        StartupCaptured(
            environment="a", workspace_root="", port=8188, python_executable="", working_directory="", argv=()
        ),
        ControlListening(host="127.0.0.1", port=5051),
        ShutdownRequested(origin="cli"),
        exited(history.state.main, 0, ExitCause.STOPPED),
        OrchestratorStopped(why="", exit_status=0),
    )

    assert {name for name, content in views(history.state).items() if content is not None} == {STARTUP}

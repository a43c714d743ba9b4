"""What the fold makes of an orchestrator's life, of what people ask, and of starts outside switches."""

import pytest

from journal.clock import S
from journal.events import (
    AbortRequested,
    ControlListening,
    ExitCause,
    FileIngested,
    FileRejected,
    GuardLost,
    GuardStarted,
    LockReleased,
    OrchestratorLost,
    OrchestratorStopped,
    RestartRequested,
    ShutdownRequested,
    StartFailed,
    StartKind,
    StartupCaptured,
    SupervisionCalm,
    SupervisionParked,
    SwitchCriticallyFailed,
)
from journal.identity import Identity
from projections.evolve_supervision import inbox_key
from projections.jobs import JobKind, Verdict
from projections.state import INBOX_KEYS_KEPT, REQUEST_FILE, STARTS_KEPT, Control, Goal, OutcomeState
from projections.switching import IllegalEventError, Stage
from tests.helpers.histories import (
    ME,
    SUCCESSOR,
    History,
    exited,
    in_stage,
    orchestrator_started,
    planned,
)

STOPPED = OrchestratorStopped(why="asked to", exit_status=0)
SHUTDOWN = ShutdownRequested(origin="cli")
PARKED = SupervisionParked(why="it crashed", advice="restart")


def failed_start(history: History, times: int = 1, **changes: str) -> History:
    for _ in range(times):
        history.add(planned(kind=StartKind.RETRY, asked=False))
        reason = changes.get("reason", "exited")
        history.after(1).add(StartFailed(environment="a", reason=reason, error="it broke"))
    return history


# --------------------------------------------------------- orchestrators


def test_an_orchestrator_serves_from_its_start_on():
    state = History().begun("a").state

    assert (state.orchestrator, state.goal, state.environment) == (ME, Goal.SERVE, "a")
    assert state.orchestrator_since is not None


def test_its_arguments_are_kept_until_others_are_given():
    history = History().begun()
    history.add(STOPPED, orchestrator_started(arguments=("--cpu",)), STOPPED, orchestrator_started(arguments=None))

    assert history.state.arguments == ("--cpu",)


def test_an_environment_that_is_named_does_not_replace_one_that_is_alive():
    history = History().serving("a")
    history.add(OrchestratorLost(identity=ME), orchestrator_started("b", SUCCESSOR))

    assert history.state.environment == "a"


def test_who_starts_it_again_is_known_until_the_end_or_until_found_dead():
    guard, next_guard = Identity(50, 5, "boot-1"), Identity(51, 5, "boot-1")
    history = History().begun()
    history.add(GuardStarted(identity=guard))
    assert history.state.guard == guard
    with pytest.raises(IllegalEventError):
        history.add(GuardLost(identity=next_guard))
    history.add(GuardLost(identity=guard))
    assert history.state.guard is None
    history.add(GuardStarted(identity=next_guard), SHUTDOWN, STOPPED)
    assert history.state.guard is None


def test_an_orderly_end_leaves_nobody_there():
    history = History().begun()
    history.add(ControlListening(host="127.0.0.1", port=5050), SHUTDOWN, RestartRequested(origin="cli"), STOPPED)
    state = history.state

    assert (state.orchestrator, state.orchestrator_since, state.control) == (None, None, None)
    assert (state.goal, state.restart_asked) == (Goal.IDLE, None)


def test_an_orderly_end_closes_a_plain_start():
    history = in_stage(Stage.SYNCING, JobKind.START)
    history.add(SHUTDOWN, STOPPED)

    assert history.state.job is None


def test_an_orchestrator_cannot_end_in_the_middle_of_a_switch():
    with pytest.raises(IllegalEventError, match=r"switch \d+ open"):
        in_stage(Stage.SYNCING).add(STOPPED)


def test_only_the_one_that_was_there_can_be_lost():
    with pytest.raises(IllegalEventError, match="another orchestrator"):
        History().begun().add(OrchestratorLost(identity=SUCCESSOR))


def test_how_the_last_one_was_lost_is_known_until_one_ends_in_good_order():
    history = History().begun()
    lost = OrchestratorLost(identity=ME, signal="SIGKILL")
    history.add(lost, orchestrator_started(me=SUCCESSOR))
    assert history.state.lost == lost
    assert history.state.lost_at is not None
    history.add(SHUTDOWN, STOPPED)
    assert (history.state.lost, history.state.lost_at) == (None, None)


def test_a_lost_orchestrator_takes_its_control_server_along_and_nothing_else():
    history = History().serving("a")
    history.add(ControlListening(host="127.0.0.1", port=5050), SHUTDOWN)
    before = history.state

    history.add(OrchestratorLost(identity=ME))

    assert history.state.control is None
    assert (history.state.goal, history.state.processes) == (Goal.STOP, before.processes)


def test_a_shutdown_outlives_the_orchestrator_that_was_asked():
    history = History().serving("a")
    history.add(ShutdownRequested(origin="signal", urgent=True))

    state = history.succeeded_by(manual=False).state

    assert (state.goal, state.urgent) == (Goal.STOP, True)


@pytest.mark.parametrize(("manual", "goal"), [(False, Goal.STOP), (True, Goal.SERVE)])
def test_so_does_one_that_was_carried_out_but_for_the_exit(manual, goal):
    history = History().serving("a")
    history.add(
        SHUTDOWN, exited(history.state.main, 0, ExitCause.STOPPED), STOPPED, orchestrator_started(manual=manual)
    )

    assert history.state.goal is goal


def test_a_guard_serves_what_was_asked_for_since_the_orderly_end():
    history = History().begun("a")
    history.add(STOPPED)
    history.switching("b").add(orchestrator_started(manual=False))

    assert history.state.goal is Goal.SERVE


def test_a_first_start_by_a_guard_serves():
    history = History()
    history.add(orchestrator_started("a", manual=False))

    assert history.state.goal is Goal.SERVE


def test_a_person_who_starts_an_orchestrator_withdraws_a_shutdown():
    history = History().serving("a")
    history.add(ShutdownRequested(origin="signal", urgent=True))

    state = history.succeeded_by(manual=True).state

    assert (state.goal, state.urgent) == (Goal.SERVE, False)


@pytest.mark.parametrize(("manual", "parked"), [(True, False), (False, True)])
def test_only_a_person_lifts_a_park(manual, parked):
    history = failed_start(History().begun(), 2)
    history.add(PARKED)

    state = history.succeeded_by(manual=manual).state

    assert (state.parked is not None) is parked
    assert state.crashes == (2 if parked else 0)


def test_the_control_server_is_known_by_its_address():
    history = History().begun()
    history.add(ControlListening(host="127.0.0.1", port=5050))
    assert history.state.control == Control("127.0.0.1", 5050)

    history.add(ControlListening(host="", port=None, why="no free port"))
    assert history.state.control is None


def test_how_comfyui_was_started_is_kept_with_its_time():
    startup = StartupCaptured(
        environment="a", workspace_root="/w", port=8188, python_executable="p", working_directory="d", argv=("main.py",)
    )
    history = History().begun().after(3)
    history.add(startup)

    assert (history.state.startup, history.state.startup_at) == (startup, history.now)


# ------------------------------------------------------------ people


def test_a_restart_is_remembered_until_a_start_is_planned():
    history = History().serving("a")
    seq = history.add(RestartRequested(origin="cli"))
    assert history.state.restart_asked == seq

    history.add(exited(history.state.main, 0, ExitCause.STOPPED), planned(kind=StartKind.RESTART))
    assert history.state.restart_asked is None


def test_a_restart_is_answered_by_any_start_that_comes_after_it():
    history = in_stage(Stage.CLEARING)
    history.add(RestartRequested(origin="cli"))

    assert history.cleared().started().state.restart_asked is None


def test_a_restart_takes_the_place_of_a_plain_start():
    history = in_stage(Stage.VALIDATING, JobKind.START)
    spawn = history.state.main

    history.add(RestartRequested(origin="cli"))

    assert (history.state.job, history.state.main) == (None, None)
    assert spawn in history.state.processes


def test_a_restart_leaves_an_open_switch_alone():
    history = in_stage(Stage.SYNCING)
    job = history.state.job

    history.add(RestartRequested(origin="cli"))

    assert history.state.job == job


def test_whoever_asks_for_a_restart_is_given_a_clean_slate():
    history = failed_start(History().begun(), 3)
    history.add(PARKED, RestartRequested(origin="cli"))
    state = history.state

    assert (state.parked, state.trouble, state.crashes, state.starts, state.recovered) == (None, None, 0, (), False)


def test_a_shutdown_that_becomes_urgent_stays_so():
    history = History().serving("a")
    history.add(SHUTDOWN)
    assert (history.state.goal, history.state.urgent) == (Goal.STOP, False)

    history.add(ShutdownRequested(origin="signal", urgent=True), SHUTDOWN)
    assert history.state.urgent


def test_an_abort_is_the_verdict_of_an_open_switch():
    history = in_stage(Stage.SYNCING)
    history.add(AbortRequested(origin="cli", reason="changed my mind"))
    job = history.state.job

    assert (job.verdict, job.error) == (Verdict.ABORTED, "aborted by cli: changed my mind")
    assert job.is_given_up


def test_an_abort_does_not_replace_a_verdict():
    history = in_stage(Stage.CHOOSING)
    history.add(AbortRequested(origin="cli"))

    assert (history.state.job.verdict, history.state.job.error) == (Verdict.FAILED, "it broke")


@pytest.mark.parametrize("history", [History().serving("a"), in_stage(Stage.SYNCING, JobKind.START)])
@pytest.mark.parametrize("manual_pid", [None, 4711])
def test_without_a_switch_an_abort_is_about_nothing(history, manual_pid):
    goal, job = history.state.goal, history.state.job
    history.add(AbortRequested(origin="cli", manual_pid=manual_pid))

    assert (history.state.goal, history.state.job) == (goal, job)


def test_a_comfyui_started_by_hand_ends_supervision_in_the_middle_of_a_switch():
    history = in_stage(Stage.SYNCING)
    history.add(AbortRequested(origin="file", manual_pid=4711))

    assert (history.state.goal, history.state.aborted_for) == (Goal.STOP, 4711)


# ------------------------------------------------------- plain starts


def test_a_planned_start_is_a_job_of_its_own():
    history = History().begun("a").after(5)
    seq = history.add(planned("b", StartKind.RETRY, delay_ns=2 * S, attempt=2, asked=False))
    job = history.state.job

    assert (job.job, job.kind, job.environment, job.stage) == (seq, JobKind.RETRY, "b", Stage.SYNCING)
    assert (job.delay_ns, job.attempt, job.requested, job.is_switch) == (2 * S, 2, history.now, False)
    assert history.state.environment == "b"


def test_two_jobs_at_once_are_illegal():
    with pytest.raises(IllegalEventError, match=r"job \d+ open"):
        in_stage(Stage.SYNCING, JobKind.START).add(planned())


def test_only_starts_that_nobody_asked_for_are_counted_and_only_the_last_few():
    history = History().begun()
    history.add(planned(), StartFailed(environment="a", reason="exited", error=""))
    assert history.state.starts == ()

    failed_start(history, STARTS_KEPT + 3)
    assert len(history.state.starts) == STARTS_KEPT


def test_a_start_that_failed_is_trouble_and_leaves_no_main_process():
    history = failed_start(History().begun(), 2)
    state = history.state

    assert (state.job, state.main, state.crashes) == (None, None, 2)
    assert (state.trouble.why, state.trouble.environment, state.trouble.reason) == ("it broke", "a", "exited")
    assert state.dirty == frozenset()


def test_a_start_whose_sync_failed_leaves_a_dirty_environment():
    assert failed_start(History().begun(), reason="sync").state.dirty == {"a"}


def test_a_switch_cannot_fail_as_a_plain_start():
    with pytest.raises(IllegalEventError, match="no plain start open"):
        in_stage(Stage.SYNCING).add(StartFailed(environment="a", reason="sync", error=""))


def test_parking_answers_a_restart():
    history = History().begun()
    history.add(RestartRequested(origin="cli"), PARKED)

    assert history.state.restart_asked is None
    assert history.state.parked.why == "it crashed"


def test_a_healthy_minute_forgets():
    history = failed_start(History().begun(), 2).serving("a")
    history.add(SupervisionCalm(spawn=history.state.main))

    assert (history.state.crashes, history.state.starts, history.state.recovered) == (0, (), False)


# -------------------------------------------------------------- files


def ingested(number: int) -> FileIngested:
    return FileIngested(name=".cmd", sha256=f"{number:064x}", mtime_ns=number, inode=number, content="")


def test_foreign_files_are_known_again_the_last_few():
    history = History().begun()
    history.add(*(ingested(number) for number in range(INBOX_KEYS_KEPT + 5)))

    assert history.state.inbox_keys == tuple(
        inbox_key(".cmd", f"{number:064x}", number, number) for number in range(5, INBOX_KEYS_KEPT + 5)
    )


def test_a_rejected_file_is_known_again_as_well():
    history = History().begun()
    history.add(FileRejected(name=".cmd", sha256="f" * 64, mtime_ns=5, inode=6, why="not JSON", content_base64=""))

    assert history.state.inbox_keys == (f".cmd:{'f' * 32}:5:6",)
    assert history.state.refused_at is None


def test_a_request_that_was_rejected_came_to_nothing():
    history = History().begun().after(2)
    history.add(FileRejected(name=REQUEST_FILE, sha256="", mtime_ns=5, inode=6, why="not JSON", content_base64=""))

    assert history.state.refused_at == history.now


def rejected(name: str = REQUEST_FILE, target: str = "") -> FileRejected:
    return FileRejected(name=name, sha256="", mtime_ns=5, inode=6, why="not JSON", content_base64="", target=target)


@pytest.mark.parametrize(("named", "shown"), [("b", "b"), ("", "unknown")])
def test_a_rejected_request_is_shown_to_its_page_as_rolled_back(named, shown):
    history = History().serving("a")
    history.add(rejected(target=named))
    outcome = history.state.outcome

    assert (outcome.state, outcome.target, outcome.serving) == (OutcomeState.ROLLED_BACK, shown, "a")
    assert outcome.error == "the request was rejected: not JSON"
    assert history.state.switches == ()


def test_a_rejected_command_shows_nothing():
    history = History().serving("a")
    history.add(rejected(name=".cmd"))

    assert history.state.outcome is None


def test_a_rejected_request_leaves_the_status_of_an_open_switch_and_a_critical_failure_alone():
    history = in_stage(Stage.CHOOSING)
    history.add(rejected())
    assert history.state.outcome is None

    history.add(SwitchCriticallyFailed(error="nothing is left", recovery_command="switch a"), LockReleased())
    failed = history.state.outcome
    history.add(rejected())
    assert history.state.outcome == failed

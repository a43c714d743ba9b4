"""Nothing is being attempted: restarts, crashes, probation, the breaker, the park, and a source that stays."""

import attrs
import pytest

from journal.clock import MS, S, seconds
from journal.events import (
    ExitCause,
    GenerationDisproved,
    GenerationProven,
    Ladder,
    LockReleased,
    OrchestratorLost,
    OrchestratorStopped,
    Origin,
    ProcessStopAsked,
    RestartRequested,
    ShutdownRequested,
    StartFailed,
    StartKind,
    StartPlanned,
    StatusCleared,
    SupervisionCalm,
    SupervisionParked,
    SwitchFailed,
    SwitchKind,
    SwitchRequested,
    SwitchRolledBack,
)
from orchestrator.actions import End
from orchestrator.config import Config
from orchestrator.deciding.idling import retry_delay_ns
from orchestrator.deciding.situation import Situation
from orchestrator.world import AskKind, InboxItem
from projections.jobs import JobKind
from projections.state import STARTS_KEPT
from projections.switching import Stage
from tests.helpers.histories import (
    ME,
    SUCCESSOR,
    History,
    acted,
    decided,
    done,
    events_of,
    exited,
    in_stage,
    names_of,
    only,
    orchestrator_started,
    planned,
    seen,
    source_seen,
    waits_s,
)

RESTART = RestartRequested(origin="cli")
UNFINISHED = InboxItem(name=".switch_request.json", key="k", kind=AskKind.UNFINISHED, sha256="", mtime_ns=0, inode=0)


def ended(code: int | None, cause: ExitCause, history: History | None = None, signal: str = "") -> History:
    history = history or History().serving("a")
    history.add(exited(history.state.main, code, cause, signal))
    return history


def crashed(times: int = 1) -> History:
    """An environment that was healthy, and then failed so many times."""
    history = ended(7, ExitCause.CRASH)
    for attempt in range(1, times):
        history.add(planned("a", StartKind.RETRY, asked=False, attempt=attempt))
        history.add(StartFailed(environment="a", reason="exited", error="exit code 7"))
    return history


# ------------------------------------------------------------ first start


@pytest.mark.scenario("OL-01")
def test_a_new_orchestrator_starts_its_environment():
    (plan,) = events_of(acted(History().begun("a")))

    assert plan == StartPlanned(environment="a", kind=StartKind.START, delay_ns=0, attempt=0, asked=True)


def test_without_an_environment_it_parks_and_says_so():
    parked = only(acted(History().begun("")), SupervisionParked)

    assert parked.why == "no environment was named, and none has served before"
    assert "comfygit-orchestrator restart --workspace /workspace" in parked.advice


def test_a_request_that_is_still_being_written_is_waited_for():
    history = History().begun("a")

    assert waits_s(decided(history, seen(history, inbox=(UNFINISHED,))), history) == 0.05


@pytest.mark.parametrize("cause", [ExitCause.CLEAN, ExitCause.STOPPED, ExitCause.RESTART])
def test_what_ended_in_an_earlier_run_is_started(cause):
    history = ended(0, cause)
    history.add(ShutdownRequested(origin="cli"), OrchestratorStopped(why="", exit_status=0))
    history.after(5).begun("a")

    assert only(acted(history), StartPlanned).kind is StartKind.START


def test_what_ended_before_the_boot_is_started():
    history = ended(0, ExitCause.CLEAN)
    history.add(ShutdownRequested(origin="cli"), OrchestratorStopped(why="", exit_status=0))
    history.boot = "boot-2"
    history.now_s = -900
    history.begun("a")

    assert only(acted(history), StartPlanned).kind is StartKind.START


# ---------------------------------------------------------------- serving


def test_what_serves_is_left_alone():
    history = History().serving("a")

    assert waits_s(decided(history), history) == 50  # of its probation, ten seconds are over


def test_a_process_that_is_not_the_main_one_is_stopped():
    history = in_stage(Stage.VALIDATING, JobKind.START)
    history.add(RESTART)

    assert only(acted(history), ProcessStopAsked).why == "it is not what serves"


def test_a_main_process_that_no_job_waits_for_and_was_never_healthy_is_stopped():
    history = in_stage(Stage.VALIDATING)
    history.add(SwitchFailed(reason="x", error="x"))
    history.state = attrs.evolve(history.state, job=None, lock=None)

    assert only(acted(history), ProcessStopAsked).ladder is Ladder.DRAINED


def test_probation_ends_in_proof():
    history = History().serving("a")
    generation = history.state.generations[-1].generation
    history.after(49.9)
    assert waits_s(decided(history), history) == pytest.approx(0.1)

    assert events_of(acted(history.after(0.1))) == (GenerationProven(generation=generation),)


@pytest.mark.scenario("B-23")
def test_a_healthy_minute_after_trouble_is_calm():
    history = crashed(2)
    history.add(planned("a", StartKind.RETRY, asked=False))
    history.synced().started().confirmed()
    history.after(59.9)
    assert waits_s(decided(history), history) == pytest.approx(0.1)

    history.after(0.1)
    history.add(*events_of(acted(history)))  # proof of its generation
    assert events_of(acted(history)) == (SupervisionCalm(spawn=history.state.main),)
    assert waits_s(decided(done(history, acted(history))), history) > 3600
    assert (history.state.crashes, history.state.starts) == (0, ())


def test_without_trouble_there_is_nothing_to_calm():
    history = History().serving("a").after(60)
    history.add(*events_of(acted(history)))

    assert waits_s(decided(history), history) > 3600


# ---------------------------------------------------------------- restart


@pytest.mark.scenario("OL-03", "RF-01", "RF-04")
def test_exit_42_starts_the_same_environment_again():
    (plan,) = events_of(acted(ended(42, ExitCause.RESTART)))

    assert (plan.environment, plan.kind, plan.delay_ns, plan.asked) == ("a", StartKind.RESTART, 0, False)


def test_a_restart_by_command_stops_what_serves_by_the_patient_ladder():
    history = History().serving("a")
    history.add(RESTART)

    asked = only(acted(history), ProcessStopAsked)

    assert (asked.why, asked.ladder) == ("a restart was asked for", Ladder.PLANNED)
    assert waits_s(decided(done(history, acted(history))), history) == 10


def test_and_starts_it_again_as_somebody_asked():
    history = History().serving("a")
    history.add(RESTART, exited(history.state.main, 0, ExitCause.STOPPED))

    plan = only(acted(history), StartPlanned)

    assert (plan.environment, plan.kind, plan.asked) == ("a", StartKind.RESTART, True)


def test_what_we_stopped_for_no_lasting_reason_is_started_again():
    assert only(acted(ended(0, ExitCause.STOPPED)), StartPlanned).asked


def test_43_after_its_request_was_refused_starts_the_same_again():
    plan = only(acted(ended(43, ExitCause.SWITCH)), StartPlanned)

    assert (plan.environment, plan.asked) == ("a", False)


@pytest.mark.scenario("OL-05", "B-22")
def test_exit_0_ends_supervision():
    (event,) = events_of(acted(ended(0, ExitCause.CLEAN)))

    assert event == ShutdownRequested(origin=Origin.SUPERVISOR, reason="ComfyUI ended with exit code 0")


# ---------------------------------------------------------------- crashes


@pytest.mark.scenario("OL-06")
@pytest.mark.parametrize(
    ("crashes", "most_s", "base_s"),
    [
        (1, 10, 0.5),
        (2, 10, 1),
        (3, 10, 2),
        (4, 10, 4),
        (5, 10, 8),
        (6, 10, 10),
        (7, 10, 10),
        (500, 10, 10),
        (1, 0.2, 0.2),
        (3, 0, 0),
    ],
)
def test_the_wait_doubles_up_to_its_cap_and_a_tenth_more(crashes, most_s, base_s):
    delays = {retry_delay_ns(crashes, most_s, salt) for salt in range(200)}

    assert seconds(base_s) <= min(delays) <= max(delays) <= seconds(base_s * 1.1)
    assert base_s == 0 or len(delays) > 100


def test_the_wait_is_the_same_each_time_it_is_asked_for():
    assert retry_delay_ns(3, 10, 77) == retry_delay_ns(3, 10, 77)


@pytest.mark.scenario("OL-06")
@pytest.mark.parametrize("crashes", [1, 2, 3])
def test_a_crash_is_retried_with_backoff(crashes):
    history = crashed(crashes)

    plan = only(acted(history), StartPlanned)

    assert (plan.kind, plan.attempt, plan.asked) == (StartKind.RETRY, crashes, False)
    base_ns = 500 * MS << (crashes - 1)
    assert base_ns <= plan.delay_ns <= base_ns * 1.1


@pytest.mark.scenario("OL-06")
def test_one_that_somebody_ended_is_retried_no_later_than_any_other():
    history = ended(None, ExitCause.CRASH, signal="SIGTERM")

    assert only(acted(history), StartPlanned).kind is StartKind.RETRY


@pytest.mark.scenario("B-22")
@pytest.mark.parametrize(
    ("signal", "waits"), [("SIGTERM", 1), ("SIGINT", 1), ("SIGHUP", 1), ("SIGKILL", 0), ("SIGSEGV", 0)]
)
def test_before_it_goes_back_from_what_may_be_the_end_of_us_all_it_waits_for_a_second(signal, waits):
    history = with_another(ended(None, ExitCause.CRASH, signal=signal))
    at_once = Config(crash_retry_max=0)
    if waits:
        assert waits_s(decided(history, config=at_once), history) == waits
        history.after(0.999)
        assert waits_s(decided(history, config=at_once), history) == pytest.approx(0.001)
        history.after(0.001)

    assert names_of(acted(history, config=at_once)) == ["switch.requested", "lock.acquired"]


@pytest.mark.scenario("OL-06")
@pytest.mark.parametrize(("most", "crashes"), [(3, 4), (0, 1), (1, 2)])
def test_after_its_retries_it_parks_and_says_why(most, crashes):
    history = crashed(crashes)

    parked = only(acted(history, config=Config(crash_retry_max=most)), SupervisionParked)

    times = f", {crashes} times in a row" if crashes > 1 else ""
    assert parked.why == f"ComfyUI of a failed{times}: exit code 7"
    assert "comfygit-orchestrator restart --workspace /workspace;" in parked.advice
    assert parked.advice.endswith("rollback --workspace /workspace --to 11 --dry-run")
    history.add(parked)
    assert waits_s(decided(history), history) == 3600


def test_what_was_gone_before_a_person_started_us_is_started_though_no_crash_is_retried():
    history = History().serving("a")
    history.add(OrchestratorLost(identity=ME), orchestrator_started(me=SUCCESSOR))
    history.add(exited(history.state.main, None, ExitCause.CRASH))

    plan = only(acted(history, config=Config(crash_retry_max=0)), StartPlanned)

    assert (plan.kind, plan.asked, plan.delay_ns) == (StartKind.RESTART, False, 0)


def test_but_where_it_was_gone_in_its_probation_the_way_back_is_taken():
    history = History().serving("a").switching("b").completed()
    history.add(StatusCleared(), OrchestratorLost(identity=ME), orchestrator_started(me=SUCCESSOR))
    history.add(exited(history.state.main, None, ExitCause.CRASH))

    assert names_of(acted(history))[:2] == ["generation.disproved", "switch.requested"]


def test_a_restart_lifts_the_park():
    history = crashed(4)
    history.add(*events_of(acted(history)))
    history.add(RESTART)

    assert only(acted(history), StartPlanned).asked


def with_another(history: History) -> History:
    """The same, in a workspace where b was healthy once."""
    generation = attrs.evolve(history.state.generations[-1], generation=5, environment="b")
    history.state = attrs.evolve(history.state, generations=(generation, *history.state.generations))
    return history


def test_before_it_parks_it_goes_back_once():
    history = with_another(crashed(4))

    act = acted(history)

    assert names_of(act) == ["switch.requested", "lock.acquired"]
    requested = only(act, SwitchRequested)
    assert (requested.target, requested.source, requested.kind) == ("a", "a", SwitchKind.RECOVER)
    assert requested.origin is Origin.SUPERVISOR
    assert {draft.switch for draft in act.events} == {history.state.seq + 1}
    assert {draft.cause for draft in act.events} == {history.state.seq}  # the start that failed last
    history.add(*events_of(act))
    assert history.stage is Stage.CHOOSING


def test_only_once_until_somebody_asks():
    history = with_another(crashed(4))
    history.state = attrs.evolve(history.state, recovered=True)

    assert names_of(acted(history)) == ["supervision.parked"]


# ------------------------------------------------- eight starts a minute


def restarts(history: History, times: int, every_s: float = 1) -> History:
    for _ in range(times):
        history.after(every_s).add(*events_of(acted(history)))
        history.synced().started().confirmed()
        ended(42, ExitCause.RESTART, history)
    return history


@pytest.mark.scenario("OL-06")
def test_eight_starts_within_a_minute_are_the_most():
    history = restarts(ended(42, ExitCause.RESTART), STARTS_KEPT)

    act = acted(history)

    assert only(act, SupervisionParked).why == "7 starts within a minute that nobody had asked for"


def test_too_many_of_them_go_back_once_before_it_parks():
    history = with_another(restarts(ended(42, ExitCause.RESTART), STARTS_KEPT))

    act = acted(history)

    requested = only(act, SwitchRequested)
    assert (requested.kind, requested.reason) == (SwitchKind.RECOVER, "it did not stay up")
    assert {draft.cause for draft in act.events} == {history.state.seq}  # the exit that was one too many


def test_a_minute_after_the_first_of_them_another_one_is_free():
    history = restarts(ended(42, ExitCause.RESTART), STARTS_KEPT)
    first = history.state.starts[0]
    history.now_s = (first.monotonic_ns - 1000 * S) / S + 60

    assert names_of(acted(history)) == ["start.planned"]


def test_crashes_count_for_it_as_well():
    history = restarts(ended(42, ExitCause.RESTART), STARTS_KEPT - 1)
    history.add(*events_of(acted(history)))
    history.add(StartFailed(environment="a", reason="exited", error="exit code 7"))

    assert names_of(acted(history, config=Config(crash_retry_max=100))) == ["supervision.parked"]


def test_somebody_who_asks_makes_them_uncounted():
    history = restarts(ended(42, ExitCause.RESTART), STARTS_KEPT)
    history.add(RESTART)

    assert only(acted(history), StartPlanned).asked


# ------------------------------------------------------------- probation


def switched_and_crashed(after_s: float, code: int = 7) -> History:
    history = History().serving("a").switching("b").completed()
    since = history.state.probation.since
    history.now_s = (since.monotonic_ns - 1000 * S) / S + after_s
    history.add(StatusCleared())
    return ended(code, ExitCause.CRASH, history)


@pytest.mark.scenario("B-08")
@pytest.mark.parametrize("after_s", [0, 30, 59.999])
def test_a_crash_in_the_probation_of_a_switch_goes_back_at_once(after_s):
    history = switched_and_crashed(after_s)
    generation = history.state.probation.generation

    act = acted(history)

    assert names_of(act) == ["generation.disproved", "switch.requested", "lock.acquired"]
    assert only(act, GenerationDisproved) == GenerationDisproved(
        generation=generation, why="ComfyUI of b failed: exit code 7"
    )
    assert only(act, SwitchRequested).reason == "ComfyUI of b failed: exit code 7"
    assert [draft.switch for draft in act.events] == [None, history.state.seq + 2, history.state.seq + 2]
    assert {draft.cause for draft in act.events} == {history.state.last_exit.seq} == {history.state.seq}
    history.add(*events_of(act))
    assert history.state.generations[-1].disproved


def test_a_crash_after_it_is_retried():
    assert names_of(acted(switched_and_crashed(60))) == ["start.planned"]


@pytest.mark.scenario("B-08", "B-31")
def test_a_43_without_a_request_ends_the_probation_unproven_and_is_retried():
    history = switched_and_crashed(5, code=43)

    assert history.state.probation is None
    assert [only(acted(history), StartPlanned).kind, history.state.crashes] == [StartKind.RETRY, 1]
    assert not history.state.generations[-1].proven


def test_a_crash_in_the_probation_of_a_plain_start_is_retried():
    assert names_of(acted(with_another(crashed()))) == ["start.planned"]


def test_where_there_is_nothing_to_go_back_to_it_is_retried():
    history = switched_and_crashed(5)
    history.state = attrs.evolve(history.state, generations=history.state.generations[-1:])

    assert names_of(acted(history)) == ["start.planned"]


# ------------------------------------------------------------------ port


def test_a_stranger_on_the_port_is_retried_for_it_may_leave():
    history = History().begun()
    history.add(planned("a"), StartFailed(environment="a", reason="port", error="port 8188 is held by nginx"))

    assert names_of(acted(history)) == ["start.planned"]


def test_but_no_other_environment_is_started_because_of_it():
    history = with_another(crashed(3))
    history.add(planned("a", StartKind.RETRY, asked=False))
    history.add(StartFailed(environment="a", reason="port", error="port 8188 is held by nginx"))

    parked = only(acted(history), SupervisionParked)

    assert "port 8188 is held by nginx" in parked.why


# ---------------------------------------------------------------- source


def left_to_source(after_s: float) -> History:
    """A first switch has failed while its source, which is not ours, still served."""
    history = History().begun("b").switching("b", source="a", origin=Origin.FILE)
    history.add(source_seen("a"), SwitchFailed(reason="preflight", error="no main.py"))
    history.add(SwitchRolledBack(environment="a", error="no main.py", nothing_stopped=True), LockReleased())
    return history.after(after_s)


def test_a_source_that_still_serves_may_leave_within_half_a_minute():
    history = left_to_source(11)
    history.state = attrs.evolve(history.state, outcome=None)

    assert waits_s(decided(history), history) == 19


def test_if_it_stays_it_does_not_need_us():
    history = left_to_source(30)
    history.state = attrs.evolve(history.state, outcome=None)

    act = acted(history)

    assert only(act, OrchestratorStopped).why == "ComfyUI pid 700 serves without us"
    assert act.effect == End(0)


def test_what_is_still_shown_then_is_cleared():
    history = left_to_source(30)

    assert names_of(acted(history, config=Config(status_linger_s=60))) == ["status.cleared", "orchestrator.stopped"]


@pytest.mark.scenario("B-42")
def test_if_it_leaves_its_environment_is_started():
    history = left_to_source(2)
    history.add(exited(history.state.source_process.spawn, None, ExitCause.SWITCH))

    assert only(acted(history), StartPlanned).environment == "a"


def test_a_source_that_was_already_asked_to_stop_is_stopped():
    history = left_to_source(2)
    spawn = history.state.source_process.spawn
    history.add(ProcessStopAsked(spawn=spawn, why="", ladder=Ladder.PLANNED))

    assert names_of(acted(history)) == ["process.signalled"]


@pytest.mark.scenario("OL-06")
def test_with_no_way_back_the_last_try_is_without_extra_args_and_is_made_once():
    config = Config(crash_retry_max=0, extra_args=("--fast",))
    history = ended(7, ExitCause.CRASH)

    act = acted(history, config=config)
    start = only(act, StartPlanned)
    assert (start.kind, start.asked) == (StartKind.BARE, False)
    history.add(start)
    assert history.state.job.kind is JobKind.BARE
    assert "--fast" not in Situation(history.state, seen(history), history.now, config).arguments

    history.add(StartFailed(environment="a", reason="exited", error="exit code 7"))
    assert names_of(acted(history, config=config)) == ["supervision.parked"]


def test_somebody_who_asks_gets_the_extra_args_again():
    config = Config(crash_retry_max=0, extra_args=("--fast",))
    history = ended(7, ExitCause.CRASH)
    history.add(only(acted(history, config=config), StartPlanned))
    history.add(StartFailed(environment="a", reason="exited", error="exit code 7"), RESTART)

    assert not history.state.bare_spent
    history.add(only(acted(history, config=config), StartPlanned))
    assert "--fast" in Situation(history.state, seen(history), history.now, config).arguments

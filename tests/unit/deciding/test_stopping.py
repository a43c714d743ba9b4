"""Ladders with their exact times, and the end of supervision."""

import pytest

from journal.clock import S
from journal.events import (
    AbortRequested,
    ExitCause,
    Ladder,
    OrchestratorStopped,
    ProcessSignalled,
    ProcessSpawned,
    ProcessStopAsked,
    ShutdownRequested,
    SwitchAborted,
    SyncStarted,
)
from journal.identity import Identity
from orchestrator.actions import Act, End, Signal
from orchestrator.config import Config
from orchestrator.deciding.situation import Situation
from orchestrator.deciding.stopping import stop
from orchestrator.ladders import due_rung, next_rung_in_ns, rungs
from orchestrator.world import WorkFacts
from projections.jobs import JobKind
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
    gone,
    in_stage,
    names_of,
    only,
    seen,
    source_seen,
    waits_s,
)

PATIENT, URGENT = ShutdownRequested(origin="cli"), ShutdownRequested(origin="signal", urgent=True)


def signals_of_a_deaf_one(history: History, config: Config, for_s: float) -> list[tuple[float, str, bool]]:
    """When it is sent what, if nothing ends it: seconds from now, signal, whole tree."""
    began_s, sent = history.now_s, []
    while history.now_s - began_s <= for_s:
        decision = decided(history, config=config)
        if isinstance(decision, Act):
            assert isinstance(decision.effect, Signal)
            sent.append((round(history.now_s - began_s, 6), decision.effect.signal, decision.effect.whole_tree))
            done(history, decision)
        else:
            history.after(waits_s(decision, history))
    return sent


@pytest.mark.scenario("B-28")
@pytest.mark.parametrize("stop_timeout_s", [10.0, 3.0, 0.0])
def test_a_planned_stop_asks_then_tells_then_kills(stop_timeout_s):
    history = History().serving("a")
    history.add(PATIENT)

    sent = signals_of_a_deaf_one(history, Config(stop_timeout_s=stop_timeout_s), stop_timeout_s + 7)

    assert sent == [
        (0, "SIGINT", False),
        (stop_timeout_s, "SIGTERM", True),
        (stop_timeout_s + 5, "SIGKILL", True),
        (stop_timeout_s + 6, "SIGKILL", True),
        (stop_timeout_s + 7, "SIGKILL", True),
    ]


@pytest.mark.scenario("B-28")
def test_one_that_was_never_healthy_has_nothing_to_clean_up():
    history = in_stage(Stage.VALIDATING)
    history.add(PATIENT)

    assert signals_of_a_deaf_one(history, Config(), 2) == [
        (0, "SIGTERM", True),
        (1, "SIGKILL", True),
        (2, "SIGKILL", True),
    ]


@pytest.mark.scenario("B-28", "OL-12")
@pytest.mark.parametrize("stage", [None, Stage.VALIDATING])
def test_our_own_signal_is_passed_on_by_the_fast_ladder(stage):
    history = History().serving("a") if stage is None else in_stage(stage)
    history.add(URGENT)

    assert signals_of_a_deaf_one(history, Config(), 3.2) == [
        (0, "SIGINT", False),
        (1.5, "SIGTERM", True),
        (2.2, "SIGKILL", True),
        (3.2, "SIGKILL", True),
    ]


def test_a_source_gets_the_patient_ladder_though_it_was_never_confirmed():
    history = History().begun("b").switching("b", source="a", origin="file")
    history.add(source_seen("a"))
    situation = Situation(history.state, seen(history), history.now, Config())

    assert only(stop(situation, history.state.source_process, "room"), ProcessStopAsked).ladder is Ladder.PLANNED


def test_urgency_begins_the_fast_ladder_but_sends_no_second_sigint():
    """A second one would kill ComfyUI in the middle of cleaning up after the first."""
    history = History().serving("a")
    history.add(PATIENT)
    done(history, acted(history))
    history.after(3).add(URGENT)

    act = acted(history)

    assert only(act, ProcessStopAsked).ladder is Ladder.URGENT
    assert ProcessSignalled not in {type(event) for event in events_of(act)}
    assert waits_s(decided(done(history, act)), history) == 1.5
    assert only(acted(history.after(1.5)), ProcessSignalled).signal == "SIGTERM"


def test_a_stop_says_what_it_is_about_to_do_before_it_does_it():
    history = History().serving("a")
    history.add(PATIENT)
    process = history.state.main_process

    act = acted(history)

    assert events_of(act) == (
        ProcessStopAsked(spawn=process.spawn, why="supervision ends", ladder=Ladder.PLANNED),
        ProcessSignalled(spawn=process.spawn, signal="SIGINT", rung=0, whole_tree=False),
    )
    assert act.effect == Signal(process.spawn, process.identity, "SIGINT", whole_tree=False)


def test_an_intended_process_is_settled_before_it_is_stopped():
    history = in_stage(Stage.STARTING)
    history.add(PATIENT)
    assert waits_s(decided(history, seen(history, processes={})), history) == 0.05

    history.add(ProcessSpawned(spawn=history.job_spawn, identity=Identity(1, 1, "boot-1")))
    assert names_of(acted(history)) == ["process.stop_asked", "process.signalled"]


@pytest.mark.parametrize("ladder", list(Ladder))
def test_every_ladder_begins_at_once_and_ends_with_a_kill_of_the_whole_tree(ladder):
    table = rungs(ladder, Config())

    assert table[0].after_ns == 0
    assert (table[-1].signal, table[-1].whole_tree) == ("SIGKILL", True)
    assert [rung.after_ns for rung in table] == sorted(rung.after_ns for rung in table)


@pytest.mark.parametrize("ladder", list(Ladder))
@pytest.mark.parametrize("asked_for_ns", [0, S // 2, S, 3 * S, 15 * S, 20 * S])
@pytest.mark.parametrize("reached", [-1, 0, 1])
def test_the_next_rung_is_due_exactly_when_it_was_promised(ladder, asked_for_ns, reached):
    facts = {"reached": reached, "since_last_ns": min(asked_for_ns, S // 2)}
    due = due_rung(ladder, Config(), asked_for_ns=asked_for_ns, **facts)
    left_ns = next_rung_in_ns(ladder, Config(), asked_for_ns=asked_for_ns, **facts)

    assert left_ns >= 1
    if due is None:
        later = {"reached": reached, "since_last_ns": facts["since_last_ns"] + left_ns}
        assert due_rung(ladder, Config(), asked_for_ns=asked_for_ns + left_ns, **later) is not None


# ------------------------------------------------------- end of supervision


@pytest.mark.scenario("B-21")
@pytest.mark.parametrize("asked", [False, True])
def test_with_another_orchestrator_in_the_journal_nothing_is_done_but_to_leave_whatever_was_asked(asked):
    history = in_stage(Stage.VALIDATING).succeeded_by()
    if asked:
        history.add(ShutdownRequested(origin="signal", urgent=True))
    world = seen(history, me=ME, signal="SIGTERM")

    act = acted(history, world)

    assert act.events == ()
    assert isinstance(act.effect, End)
    assert act.effect.exit_status == 0  # with which no guard starts another
    assert f"another orchestrator, pid {SUCCESSOR.pid}," in act.effect.why


@pytest.mark.scenario("OL-05", "OL-11")
def test_when_nothing_runs_any_more_we_leave_with_0():
    history = History().serving("a")
    history.add(PATIENT, exited(history.state.main, 0, ExitCause.STOPPED))

    act = acted(history)

    assert events_of(act) == (OrchestratorStopped(why="asked to", exit_status=0),)
    assert act.effect == End(0)


@pytest.mark.parametrize("kind", [JobKind.START, JobKind.SWITCH])
@pytest.mark.parametrize("stage", [Stage.SYNCING, Stage.CLEARING, Stage.STARTING, Stage.VALIDATING])
@pytest.mark.scenario("B-33")
def test_a_shutdown_is_acted_on_in_every_stage(stage, kind):
    history = in_stage(stage, kind)
    if stage is Stage.SYNCING:
        history.add(SyncStarted(environment=history.job_environment, fingerprint=""))
    history.add(PATIENT)

    names = end_of(history)

    assert names[-1] == "orchestrator.stopped"
    assert ("switch.aborted" in names) is (kind is JobKind.SWITCH)
    assert (history.state.lock, history.state.job, history.state.processes) == (None, None, {})


@pytest.mark.parametrize("stage", [Stage.PREPARING, Stage.CHOOSING])
def test_a_shutdown_is_acted_on_in_the_other_stages_of_a_switch(stage):
    history = in_stage(stage)
    history.add(URGENT)

    assert end_of(history)[-3:] == ["switch.aborted", "lock.released", "orchestrator.stopped"]


def end_of(history: History) -> list[str]:
    """The events until the orchestrator leaves, in a world in which all that is signalled or killed is gone at once."""
    names: list[str] = []
    while history.state.orchestrator is not None:
        stopping = [p.spawn for p in history.state.processes.values() if p.stopping]
        world = gone(history, stopping[0], 0) if stopping else seen(history)
        if history.state.worker is not None and history.state.worker.cancelled:
            world = seen(history, work=WorkFacts(alive=False))
        act = acted(history, world)
        names += names_of(act)
        if names_of(act) == [] or len(names) > 50:
            message = f"it does not end: {names}"
            raise AssertionError(message)
        done(history, act)
    return names


def test_a_shutdown_in_the_middle_of_a_switch_says_how_to_get_back():
    history = in_stage(Stage.CHOOSING)
    history.add(PATIENT)

    aborted = only(acted(history), SwitchAborted)

    assert aborted.error == "the orchestrator was stopped during the switch; before that: it broke"
    assert aborted.recovery_command == "comfygit-orchestrator switch --workspace /workspace a"
    assert not aborted.manual


def test_a_comfyui_that_was_started_by_hand_needs_no_command():
    history = in_stage(Stage.CHOOSING)
    history.add(AbortRequested(origin="file", manual_pid=4711))

    act = acted(history)

    aborted = only(act, SwitchAborted)
    assert (aborted.manual, aborted.recovery_command) == (True, "")
    assert aborted.error.startswith("a ComfyUI started by hand, pid 4711, takes over")
    assert act.effect == End(0)


def test_a_clean_end_clears_the_outcome_that_is_still_shown():
    history = History().serving("a").switching("b").completed()
    history.now_s -= 5
    history.add(PATIENT, exited(history.state.main, 0, ExitCause.STOPPED))

    assert names_of(acted(history)) == ["status.cleared", "orchestrator.stopped"]


def test_a_worker_is_gone_before_we_are():
    history = in_stage(Stage.SYNCING).cleared()
    history.add(SyncStarted(environment="b", fingerprint=""), PATIENT)
    done(history, acted(history))

    assert waits_s(decided(history), history) == 0.05

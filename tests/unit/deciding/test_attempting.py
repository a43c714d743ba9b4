"""The stages of a job, row by row: prepare, sync, clear the way, start, validate; and the evidence for a source."""

import attrs
import pytest

from journal.clock import S, seconds
from journal.events import (
    Evidence,
    ExitCause,
    GenerationDisproved,
    GenerationRecorded,
    HealthConfirmed,
    HealthFailed,
    HealthProbed,
    Ladder,
    Origin,
    ProcessIntended,
    ProcessSignalled,
    ProcessStopAsked,
    RestartRequested,
    RollbackTryFailed,
    ShutdownRequested,
    StartFailed,
    StartKind,
    StartupCaptured,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchFailed,
    SwitchRolledBack,
    SyncSkipped,
    SyncStarted,
)
from orchestrator.actions import Act, Probe, Signal, Spawn, StartPreflight, StartSync
from orchestrator.config import Config
from orchestrator.world import EnvironmentFacts, PortFacts, ProbeFacts, TorchBuild, TorchFacts
from projections.jobs import JobKind
from projections.switching import Stage
from tests.helpers.histories import (
    History,
    acted,
    content_of,
    decided,
    done,
    events_of,
    exited,
    good,
    in_stage,
    names_of,
    only,
    planned,
    probed,
    seen,
    source_seen,
    waits_s,
)

TAKEN = PortFacts(8188, free=False, holder="pid 9 (nginx)")
VANISHED = {"b": EnvironmentFacts("b", "its folder is gone"), "a": EnvironmentFacts("a", "its folder is gone")}


# -------------------------------------------------------------- preparing


def test_a_switch_begins_with_a_preflight_while_the_old_one_serves():
    history = in_stage(Stage.PREPARING)

    act = acted(history)

    assert names_of(act) == ["preflight.started"]
    assert act.effect == StartPreflight(history.state.seq + 1, "b")
    assert waits_s(decided(done(history, act)), history) == 30


# ---------------------------------------------------------------- syncing


@pytest.mark.scenario("OL-07", "RF-03")
@pytest.mark.parametrize(
    ("history", "environment"),
    [
        (in_stage(Stage.SYNCING), "b"),
        (in_stage(Stage.SYNCING, JobKind.START), "a"),
        (in_stage(Stage.SYNCING, rolling=True), "a"),
    ],
    ids=["switch", "start", "rollback"],
)
def test_every_start_is_preceded_by_a_sync(history, environment):
    history.state = attrs.evolve(history.state, settled={})

    act = acted(history)

    assert events_of(act) == (SyncStarted(environment=environment, fingerprint=content_of(environment)),)
    assert act.effect == StartSync(history.state.seq + 1, environment)


def restarting(code: int = 42, cause: ExitCause = ExitCause.RESTART) -> History:
    history = History().serving("a")
    history.add(exited(history.state.main, code, cause), planned("a", StartKind.RESTART, asked=False))
    return history


@pytest.mark.scenario("B-29", "RF-03")
def test_an_unchanged_environment_that_ended_well_is_checked_in_its_place():
    assert events_of(acted(restarting())) == (SyncSkipped(environment="a", fingerprint=content_of("a")),)


@pytest.mark.scenario("B-29")
@pytest.mark.parametrize("fingerprint", ["edited", ""])
def test_a_changed_one_is_synced(fingerprint):
    history = restarting()

    act = acted(history, seen(history, environments={"a": good("a", fingerprint=fingerprint)}))

    assert names_of(act) == ["sync.started"]


@pytest.mark.scenario("B-29")
def test_after_a_crash_the_sync_always_runs():
    assert names_of(acted(restarting(7, ExitCause.CRASH))) == ["sync.started"]


@pytest.mark.scenario("B-29")
def test_a_dirty_environment_is_synced():
    history = restarting()
    history.state = attrs.evolve(history.state, dirty=frozenset({"a"}))

    assert names_of(acted(history)) == ["sync.started"]


@pytest.mark.parametrize("environments", [{}, {"b": EnvironmentFacts("b", "")}], ids=["unknown", "without fingerprint"])
def test_an_environment_is_looked_at_before_it_is_synced(environments):
    history = in_stage(Stage.SYNCING)

    assert waits_s(decided(history, seen(history, environments=environments)), history) == 0.05


def test_a_delayed_start_waits_for_its_time():
    history = History().begun()
    history.add(planned("a", StartKind.RETRY, delay_ns=seconds(2), asked=False))

    assert waits_s(decided(history.after(0.5)), history) == 1.5
    assert names_of(decided(history.after(1.5))) == ["sync.started"]


@pytest.mark.scenario("B-35")
@pytest.mark.parametrize(
    ("make", "failed"),
    [
        (in_stage, SwitchFailed),
        (lambda stage: in_stage(stage, JobKind.START), StartFailed),
        (lambda stage: in_stage(stage, rolling=True), RollbackTryFailed),
    ],
    ids=["switch", "start", "rollback"],
)
@pytest.mark.parametrize("stage", [Stage.SYNCING, Stage.CLEARING])
def test_an_environment_that_vanished_fails_by_that_name(make, failed, stage):
    history = make(stage)
    if stage is Stage.CLEARING:
        history.cleared()

    event = only(acted(history, seen(history, environments=VANISHED)), failed)

    assert (event.reason, event.error) == ("environment", "its folder is gone")


def test_packages_do_not_change_under_the_feet_of_what_runs_there():
    history = History().serving("a").switching("a", generation=1).preflighted()

    act = acted(history)

    assert only(act, ProcessStopAsked).why == "environment a is synced"


# --------------------------------------------------------------- clearing


@pytest.mark.scenario("OL-04")
def test_the_old_one_is_stopped_before_the_target_starts():
    history = in_stage(Stage.CLEARING)
    spawn = history.state.main

    act = acted(history)

    assert events_of(act) == (
        ProcessStopAsked(spawn=spawn, why="room for b", ladder=Ladder.PLANNED),
        ProcessSignalled(spawn=spawn, signal="SIGINT", rung=0, whole_tree=False),
    )
    assert act.effect == Signal(spawn, history.state.main_process.identity, "SIGINT", whole_tree=False)


@pytest.mark.scenario("B-12")
def test_an_old_one_whose_page_asked_leaves_by_itself_within_five_seconds():
    history = in_stage(Stage.PREPARING)
    history.state = attrs.evolve(history.state, job=attrs.evolve(history.state.job, origin=Origin.FILE))
    history.preflighted().synced()
    passed_s = history.now_s - (history.state.job.requested.monotonic_ns / S - 1000)

    assert waits_s(decided(history), history) == pytest.approx(5 - passed_s)
    assert names_of(decided(history.after(5 - passed_s)))[0] == "process.stop_asked"


@pytest.mark.scenario("B-12")
def test_a_source_has_its_time_too_and_is_stopped_by_the_patient_ladder():
    history = History().begun("b").switching("b", source="a", origin=Origin.FILE)
    spawn = history.add(source_seen("a"))
    history.preflighted().synced()
    history.state = attrs.evolve(history.state, generations=History().serving("a").state.generations)

    assert waits_s(decided(history), history) == pytest.approx(3.8)
    asked = only(acted(history.after(3.8)), ProcessStopAsked)
    assert (asked.spawn, asked.ladder) == (spawn, Ladder.PLANNED)


@pytest.mark.parametrize("make", [lambda: in_stage(Stage.CLEARING), lambda: in_stage(Stage.CLEARING, JobKind.START)])
def test_a_stranger_on_the_port_is_waited_for_and_then_named(make):
    history = make().cleared()
    cleared_s = history.now_s
    history.now_s = history.state.job.stage_at.monotonic_ns / S - 1000 + 29.99
    world = seen(history, port=TAKEN)
    assert waits_s(decided(history, world), history) == 0.05

    history.after(0.01)
    failed = next(e for e in events_of(acted(history, world)) if isinstance(e, SwitchFailed | StartFailed))

    assert failed.reason == "port"
    assert failed.error == "port 8188 is held by pid 9 (nginx); end it, or choose another --port"
    assert cleared_s < history.now_s


def test_a_stranger_on_the_port_costs_a_rollback_no_candidate():
    history = in_stage(Stage.CLEARING, rolling=True).after(30)

    act = acted(history, seen(history, port=TAKEN))

    assert names_of(act) == ["rollback.try_failed", "switch.critically_failed", "lock.released", "supervision.parked"]
    critical = only(act, SwitchCriticallyFailed)
    assert "it broke; going back to a: port 8188 is held by pid 9 (nginx)" in critical.error
    assert critical.recovery_command == "comfygit-orchestrator switch --workspace /workspace a"
    assert "generation.disproved" not in names_of(act)
    assert done(history, act).state.lock is None


def test_a_holder_that_cannot_be_named_is_another_program():
    history = in_stage(Stage.CLEARING).cleared().after(30)

    failed = only(acted(history, seen(history, port=PortFacts(8188, free=False))), SwitchFailed)

    assert "held by another program" in failed.error


@pytest.mark.parametrize(
    "changes", [{"port": None}, {"environments": {}}, {"environments": {"b": EnvironmentFacts("b", "")}}]
)
def test_port_and_environment_are_looked_at_before_a_start(changes):
    history = in_stage(Stage.CLEARING).cleared()

    assert waits_s(decided(history, seen(history, **changes)), history) == 0.05


# --------------------------------------------------------------- starting


@pytest.mark.scenario("OL-08", "OL-09")
def test_it_is_started_with_its_own_python_and_the_arguments():
    history = in_stage(Stage.CLEARING).cleared()
    history.state = attrs.evolve(history.state, arguments=("--port", "9000", "--listen", "::1"))
    config = Config(extra_args=("--cpu",))

    act = acted(history, config=config)

    command = ("/b/python", "main.py", "--cpu", "--port", "9000", "--listen", "::1")
    captured, process = only(act, StartupCaptured), only(act, ProcessIntended)
    assert (process.command, process.working_directory, process.fingerprint) == (command, "/b/ComfyUI", content_of("b"))
    assert (process.host, process.port, process.url) == ("::1", 9000, "http://[::1]:9000")
    assert (captured.environment, captured.port, captured.argv) == ("b", 9000, command[1:])
    assert act.effect == Spawn(history.state.seq + 2, "b", command, "/b/ComfyUI")
    assert done(history, act).state.main == history.state.seq


@pytest.mark.scenario("B-37")
@pytest.mark.parametrize("kind", [JobKind.START, JobKind.BARE])
def test_with_a_cpu_build_the_flag_comes_before_the_configured_and_the_users_arguments(kind):
    history = in_stage(Stage.CLEARING, JobKind.START)
    job = attrs.evolve(history.state.job, kind=kind)
    history.state = attrs.evolve(history.state, arguments=("--port", "9000"), job=job)
    torch = TorchFacts(TorchBuild.CPU, "2.9.1+cpu")
    config = Config(extra_args=("--fast",))

    act = acted(history, seen(history, environments={"a": good("a", torch=torch)}), config)

    extra = () if kind is JobKind.BARE else ("--fast",)
    captured, process = only(act, StartupCaptured), only(act, ProcessIntended)
    assert captured.argv == process.command[1:] == ("main.py", "--cpu", *extra, "--port", "9000")
    assert act.effect.command == process.command
    assert process.notes == ("--cpu was added: torch 2.9.1+cpu of the environment is a CPU build",)
    assert (process.port, process.url) == (9000, "http://127.0.0.1:9000")


@pytest.mark.scenario("B-37")
def test_a_device_that_the_extra_arguments_choose_is_left_to_them():
    history = in_stage(Stage.CLEARING, JobKind.START)
    world = seen(history, environments={"a": good("a", torch=TorchFacts(TorchBuild.CPU))})

    process = only(acted(history, world, Config(extra_args=("--lowvram",))), ProcessIntended)

    assert (process.command[1:], process.notes) == (("main.py", "--lowvram"), ())


@pytest.mark.scenario("OL-14")
def test_without_arguments_there_are_none():
    history = in_stage(Stage.CLEARING, JobKind.START)

    assert only(acted(history), ProcessIntended).command == ("/a/python", "main.py")


def test_a_start_that_is_as_the_last_one_is_not_captured_again():
    history = in_stage(Stage.CLEARING, JobKind.START)
    history.state = attrs.evolve(history.state, startup=only(acted(history), StartupCaptured))

    act = acted(history)

    assert names_of(act) == ["process.intended"]
    assert act.effect.spawn == history.state.seq + 1


def test_a_candidate_is_started_as_the_generation_that_it_is():
    history = in_stage(Stage.CHOOSING).tried("a", 11)
    history.synced()

    assert only(acted(history), ProcessIntended).generation == 11


def test_a_spawn_under_way_is_looked_at_again():
    history = in_stage(Stage.STARTING)

    assert waits_s(decided(history, seen(history, processes={})), history) == 0.05


# ------------------------------------------------------------- validating


def test_a_process_that_just_started_is_probed_at_once():
    history = in_stage(Stage.VALIDATING)
    spawn = history.job_spawn

    act = acted(history)

    assert act == Act((), Probe(spawn, "http://127.0.0.1:8188", 8188, 2 * S))


def test_one_probe_at_a_time():
    history = in_stage(Stage.VALIDATING)

    assert waits_s(decided(history, seen(history, probing=True)), history) == 1


def test_the_next_probe_is_an_interval_later():
    history = in_stage(Stage.VALIDATING).answered(1).after(0.2)

    assert waits_s(decided(history), history) == pytest.approx(0.3)
    assert isinstance(acted(history.after(0.3)).effect, Probe)


@pytest.mark.scenario("HC-01", "HC-09")
@pytest.mark.parametrize("successes", [1, 2])
def test_fewer_successes_than_required_are_not_enough(successes):
    assert names_of(decided(in_stage(Stage.VALIDATING).answered(successes))) == []


@pytest.mark.scenario("HC-01", "HC-09")
def test_three_in_a_row_complete_a_switch_in_one_transaction():
    history = in_stage(Stage.VALIDATING).answered(3)
    spawn = history.job_spawn

    act = acted(history)

    made, confirmed, completed, _ = events_of(act)
    assert names_of(act)[-1] == "lock.released"
    assert (made.environment, made.fingerprint, made.evidence, made.spawn) == (
        "b",
        content_of("b"),
        Evidence.PROBED,
        spawn,
    )
    assert confirmed == HealthConfirmed(spawn=spawn, generation=history.state.seq + 1)
    assert completed == SwitchCompleted(environment="b", spawn=spawn)
    assert {draft.switch for draft in act.events} == {history.state.job.job}
    assert done(history, act).state.serving == "b"


def test_a_plain_start_ends_with_its_confirmation():
    history = in_stage(Stage.VALIDATING, JobKind.START).answered(3)

    act = acted(history)

    assert names_of(act) == ["generation.recorded", "health.confirmed"]
    assert done(history, act).state.job is None


@pytest.mark.scenario("B-06")
def test_a_rollback_is_said_only_when_its_candidate_is_validated():
    history = in_stage(Stage.VALIDATING, rolling=True).answered(2)
    assert names_of(decided(history)) == []

    history.add(probed(history.job_spawn, 3))
    act = acted(history)

    assert names_of(act)[-2:] == ["switch.rolled_back", "lock.released"]
    ended = only(act, SwitchRolledBack)
    assert (ended.environment, ended.error, ended.nothing_stopped) == ("a", "it broke", False)


def test_a_known_content_is_no_new_generation():
    history = in_stage(Stage.VALIDATING, rolling=True).answered(3)

    act = acted(history)

    assert "generation.recorded" not in names_of(act)
    assert only(act, HealthConfirmed).generation == history.state.generations[-1].generation


def test_how_many_successes_are_required_is_the_settings():
    history = in_stage(Stage.VALIDATING).answered(1)

    assert "switch.completed" in names_of(acted(history, config=Config(required_successes=1)))


# ----------------------------------------------------------- the deadline


def at_deadline(passed_s: float, successes: int) -> History:
    """In `validating`, the last probe so many seconds after the start."""
    history = in_stage(Stage.VALIDATING)
    history.after(passed_s).add(probed(history.job_spawn, successes))
    return history


@pytest.mark.scenario("HC-03")
@pytest.mark.parametrize(
    ("history", "failed"),
    [
        (in_stage(Stage.VALIDATING), SwitchFailed),
        (in_stage(Stage.VALIDATING, JobKind.START), StartFailed),
        (in_stage(Stage.VALIDATING, rolling=True), RollbackTryFailed),
    ],
    ids=["switch", "start", "rollback"],
)
def test_a_probe_that_fails_at_the_deadline_is_the_end(history, failed):
    history.after(180).add(probed(history.job_spawn, 0))

    act = acted(history)

    assert only(act, HealthFailed).why == "timeout"
    event = only(act, failed)
    assert event.reason == "timeout"
    assert "was not ready after 180 s" in event.error


@pytest.mark.parametrize(
    ("history", "failed"),
    [
        (in_stage(Stage.VALIDATING), SwitchFailed),
        (in_stage(Stage.VALIDATING, JobKind.START), StartFailed),
        (in_stage(Stage.VALIDATING, rolling=True), RollbackTryFailed),
    ],
    ids=["switch", "start", "rollback"],
)
def test_a_start_whose_port_a_stranger_has_fails_by_that_and_disproves_nothing(history, failed):
    said = "answered by another process: pid 9 (nginx)"
    spawn = history.job_spawn
    history.after(180).add(HealthProbed(spawn=spawn, ok=False, latency_ns=1, status=200, error=said, successes=0))

    act = acted(history)

    assert only(act, HealthFailed).why == "stranger"
    assert only(act, failed).reason == "port"
    assert said in only(act, failed).error
    assert GenerationDisproved not in {type(draft.event) for draft in act.events}


@pytest.mark.scenario("HC-03")
def test_a_probe_that_failed_before_it_is_not():
    history = at_deadline(179.9, 0)

    assert waits_s(decided(history), history) == pytest.approx(0.1)


def test_the_clock_alone_fails_nothing():
    history = at_deadline(179.9, 0).after(3600)

    assert isinstance(acted(history).effect, Probe)


def test_a_success_after_the_deadline_goes_on_counting():
    history = at_deadline(180.2, 1)

    assert waits_s(decided(history), history) == 0.5


@pytest.mark.scenario("HC-03")
@pytest.mark.parametrize(
    ("passed_s", "patience_s"),
    [(10, 2.0), (178.0, 2.0), (178.5, 1.5), (179.4, 0.6), (179.7, 0.5), (180.0, 0.5), (180.3, 0.5)],
)
def test_no_probe_ends_more_than_an_interval_after_the_deadline(passed_s, patience_s):
    history = in_stage(Stage.VALIDATING).after(passed_s)

    effect = acted(history).effect

    assert isinstance(effect, Probe)
    assert effect.timeout_ns / S == pytest.approx(patience_s)
    assert passed_s + patience_s <= max(180, passed_s) + 0.5


def test_a_new_orchestrator_starts_the_deadline_anew():
    history = in_stage(Stage.VALIDATING).after(1000).succeeded_by()
    done(history, acted(history))

    effect = acted(history).effect

    assert isinstance(effect, Probe)
    assert effect.timeout_ns == 2 * S


def test_what_a_withdrawn_shutdown_began_to_stop_is_stopped():
    history = in_stage(Stage.VALIDATING)
    history.add(ShutdownRequested(origin="cli"))
    done(history, acted(history))
    history.succeeded_by(manual=True)
    done(history, acted(history))

    assert names_of(acted(history)) == ["process.signalled"]


def test_a_job_whose_process_is_gone_has_failed():
    history = in_stage(Stage.VALIDATING)
    history.state = attrs.evolve(history.state, processes={}, main=None)

    assert only(acted(history), SwitchFailed).error == "ComfyUI is gone"


# ------------------------------------------------- the very first switch


def first_switch(*, source_lives: bool, source: str = "a") -> History:
    history = History().begun("b").switching("b", source=source, origin=Origin.FILE)
    if source_lives:
        history.add(source_seen(source))
    return history


@pytest.mark.scenario("B-42")
def test_a_source_that_has_left_is_believed_for_it_asked():
    history = first_switch(source_lives=False)

    (made,) = events_of(acted(history))

    assert isinstance(made, GenerationRecorded)
    assert (made.environment, made.evidence, made.fingerprint, made.spawn) == (
        "a",
        Evidence.REQUESTER,
        content_of("a"),
        None,
    )


@pytest.mark.scenario("B-42")
@pytest.mark.parametrize("stage", [Stage.PREPARING, Stage.SYNCING, Stage.CLEARING])
def test_a_source_that_still_answers_is_probed_three_times_and_recorded(stage):
    history = first_switch(source_lives=True)
    source = history.state.source_process.spawn
    if stage is not Stage.PREPARING:
        history.preflighted()
    if stage is Stage.CLEARING:
        history.synced()
    for successes in (1, 2, 3):
        assert isinstance(acted(history).effect, Probe)
        assert acted(history).effect.spawn == source
        history.add(probed(source, successes))
        history.after(0.5)

    made, confirmed = events_of(acted(history))

    assert (made.evidence, made.spawn) == (Evidence.PROBED, source)
    assert confirmed == HealthConfirmed(spawn=source, generation=history.state.seq + 1)
    history.add(made, confirmed)
    assert "generation.recorded" not in names_of(decided(history))


def test_the_job_goes_on_between_the_probes_of_its_source():
    history = first_switch(source_lives=True)

    act = acted(history, seen(history, probing=True))

    assert names_of(act) == ["preflight.started"]
    source = history.state.source_process.spawn
    history.add(*events_of(act), probed(source, 1))
    assert waits_s(decided(history), history) == 0.5


@pytest.mark.parametrize(
    "history",
    [
        first_switch(source_lives=False, source=""),
        in_stage(Stage.PREPARING),
        History().serving("a").switching("b", origin=Origin.FILE),
    ],
    ids=["no source", "by command", "known"],
)
def test_nobody_else_needs_evidence(history):
    assert names_of(acted(history)) == ["preflight.started"]


@pytest.mark.parametrize(
    "environments", [{}, {"a": EnvironmentFacts("a", "")}, {"a": EnvironmentFacts("a", "it is gone")}]
)
def test_a_source_that_was_not_looked_at_or_is_gone_is_not_recorded(environments):
    history = first_switch(source_lives=False)

    assert names_of(acted(history, seen(history, environments=environments))) == ["preflight.started"]


def test_a_source_of_another_environment_is_no_evidence():
    history = History().begun("c").switching("c", source="b", origin=Origin.FILE)
    history.add(source_seen("a"))

    assert names_of(acted(history)) == ["preflight.started"]


def test_a_source_that_is_being_stopped_is_not_probed():
    history = first_switch(source_lives=True)
    source = history.state.source_process.spawn
    history.add(ProcessStopAsked(spawn=source, why="", ladder=Ladder.PLANNED))

    assert names_of(acted(history)) == ["preflight.started"]


# ---------------------------------------------------- asked in the middle


def test_a_switch_is_not_hindered_by_a_restart_that_is_asked_in_it():
    history = in_stage(Stage.CLEARING)
    history.add(RestartRequested(origin="cli"))

    assert only(acted(history), ProcessStopAsked).why == "room for b"


def test_a_probe_that_is_in_hand_comes_first():
    history = in_stage(Stage.VALIDATING)
    facts = ProbeFacts(history.job_spawn, True, 1, 200, "")

    assert names_of(acted(history, seen(history, probe=facts))) == ["health.probed"]

"""The course of a switch in its story: stages, starts, probes, signals, and how long nobody answered."""

from journal.clock import MS, S
from journal.events import (
    ExitCause,
    OrchestratorLost,
    ProcessExited,
    ProcessIntended,
    Role,
    RollbackTryFailed,
    SourceSeen,
    SwitchAborted,
    SwitchCompleted,
    SwitchRolledBack,
    SwitchRollingBack,
    SyncFinished,
    SyncStarted,
)
from journal.identity import Identity
from projections.story import Ending, story_of
from tests.helpers.story_events import (
    BOOT,
    SUPERVISOR,
    History,
    broken_target,
    completed,
    serving,
    spent_candidate,
)


def names(story) -> list[str]:
    return [span.name for span in story.stages]


def test_a_good_switch_has_its_stages_in_order_and_each_lasts_until_the_next():
    story = story_of(completed().events)
    assert (story.ending, story.serving) == (Ending.COMPLETE, "new")
    assert names(story) == ["preparing", "syncing", "starting", "validating"]
    assert [span.duration_ns for span in story.stages] == [100 * MS, 400 * MS, 2 * S, 5500 * MS]
    assert story.duration_ns == sum(span.duration_ns or 0 for span in story.stages)
    assert story.cause is None


def test_the_silence_lasts_from_the_stop_of_the_old_one_to_the_confirming_probe():
    silence = story_of(completed().events).silence
    assert silence is not None
    assert (silence.ns, silence.at_least) == (7500 * MS, False)


def test_probes_are_counted_per_start_with_their_latency_and_last_error():
    [start] = story_of(completed().events).starts
    assert (start.probes.ok, start.probes.failed) == (3, 1)
    assert (start.probes.typical_ns, start.probes.last_error) == (3 * MS, "connection refused")
    assert start.confirmed


def test_a_rollback_is_one_stage_per_candidate():
    history = broken_target()
    spent_candidate(history, "old")
    history.try_candidate("older", 2)
    history.serve("older")
    history.end(SwitchRolledBack(environment="older", error="x", nothing_stopped=False))
    story = story_of(history.events)
    back = [(span.environment, span.failed) for span in story.stages if span.name == "rolling_back"]
    assert back == [("old", True), ("older", False)]
    assert [(tried.environment, bool(tried.failure)) for tried in story.tries] == [("old", True), ("older", False)]
    assert [start.rolling_back for start in story.starts] == [False, True, True]
    assert story.serving == "older"
    assert story.serving_spawn == story.starts[-1].spawn


def test_signals_say_to_whom_and_why():
    [signal] = story_of(completed().events).signals
    assert (signal.signal, signal.environment, signal.why) == ("SIGINT", "old", "room for new")


def test_an_unfinished_switch_has_an_open_stage_and_an_open_silence():
    story = story_of(broken_target().events)
    assert (story.ending, story.ended, story.duration_ns) == (Ending.OPEN, None, None)
    assert story.stages[-1].duration_ns is None
    assert story.silence is not None
    assert story.silence.ns is None


def test_a_first_switch_whose_source_is_gone_says_how_long_at_least_nobody_answered():
    history = History()
    history.supervise()
    history.ask("new", "old")
    history.preflight("new")
    history.sync("new")
    history.wait(1)
    spawn = history.spawn("new")
    error = history.crash(spawn)
    history.fail(error, spawn=spawn)
    history.add(SwitchRollingBack(error=error))
    history.try_candidate("old")
    history.serve("old")
    history.end(SwitchRolledBack(environment="old", error=error, nothing_stopped=False))
    story = story_of(history.events)
    assert story.silence is not None
    assert (story.silence.at_least, story.silence.since) == (True, story.at)
    assert story.serving == "old"


def test_a_source_that_leaves_during_the_switch_begins_the_silence():
    history = History()
    history.supervise()
    history.ask("new", "old")
    source = history.add(
        SourceSeen(environment="old", identity=Identity(5, 5, BOOT), url="http://127.0.0.1:8188", port=8188)
    )
    history.wait(2)
    left = history.add(ProcessExited(spawn=source, code=None, signal="", cause=ExitCause.SWITCH))
    spawn = history.serve("new")
    history.end(SwitchCompleted(environment="new", spawn=spawn))
    story = story_of(history.events)
    assert story.silence is not None
    assert (story.silence.since, story.silence.at_least) == (history.events[left - 1].at, False)


def test_an_exit_with_43_just_before_the_request_begins_the_silence():
    history = serving()
    left = history.add(ProcessExited(spawn=history.main, code=43, signal="", cause=ExitCause.SWITCH))
    history.ask("new", "old")
    spawn = history.serve("new")
    history.end(SwitchCompleted(environment="new", spawn=spawn))
    silence = story_of(history.events).silence
    assert silence is not None
    assert silence.since == history.events[left - 1].at


def test_a_death_of_the_orchestrator_on_the_way_is_told():
    history = serving()
    history.ask("new", "old")
    lost = history.add(OrchestratorLost(identity=SUPERVISOR.identity))
    story = story_of(history.events)
    assert story.takeovers == (lost,)
    assert story.losses == (f"orchestrator pid {SUPERVISOR.identity.pid} ended, nobody knows how",)


def test_a_tolerated_sync_is_a_note_and_the_switch_goes_on():
    history = serving()
    history.ask("new", "old")
    history.preflight("new")
    worker = history.add(SyncStarted(environment="new", fingerprint="f"))
    history.add(
        SyncFinished(
            worker=worker, environment="new", ok=False, tolerated=True, duration_ns=1, summary="", error="no network"
        )
    )
    story = story_of(history.events)
    assert names(story)[-1] == "starting"
    assert "no network" in story.stages[-1].note


def test_a_target_that_asks_to_be_started_again_goes_back_to_syncing():
    history = serving()
    history.ask("new", "old")
    history.preflight("new")
    history.sync("new")
    spawn = history.spawn("new")
    history.add(ProcessExited(spawn=spawn, code=42, signal="", cause=ExitCause.RESTART))
    story = story_of(history.events)
    assert names(story) == ["preparing", "syncing", "starting", "validating", "syncing"]
    assert "42" in story.stages[-1].note


def test_a_boot_in_between_counts_by_the_wall_clock():
    history = serving()
    history.ask("new", "old")
    history.boot = "22222222-2222-2222-2222-222222222222"
    history.wait(60)
    history.end(SwitchAborted(error="x", manual=True, recovery_command=""))
    assert story_of(history.events).duration_ns == 60 * S


def test_a_candidate_that_fails_before_it_starts_says_why():
    history = broken_target()
    history.try_candidate("old")
    history.add(RollbackTryFailed(environment="old", reason="sync", error="no disk"))
    assert story_of(history.events).tries[0].failure == "no disk"


def test_an_intended_process_is_told_before_it_runs():
    history = serving()
    history.ask("new", "old")
    history.spawn("new")
    events = [r for r in history.events if r.event.stored_name != "process.spawned" or r.seq < (history.switch or 0)]
    [start] = story_of(events).starts
    assert (start.pid, start.ended, start.confirmed) == (None, "", False)
    intended = events[-1].event
    assert isinstance(intended, ProcessIntended)
    assert intended.role is Role.MAIN

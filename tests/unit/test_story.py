"""Stories of switches, told from events alone."""

import attrs
import pytest

from journal.clock import MS
from journal.events import (
    AbortRequested,
    ExitCause,
    GenerationDisproved,
    HealthFailed,
    LockReleased,
    Origin,
    ProcessExited,
    ProcessSpawnFailed,
    RefusalReason,
    ShutdownRequested,
    StartFailed,
    SwitchAborted,
    SwitchCompleted,
    SwitchCriticallyFailed,
    SwitchKind,
    SwitchRefused,
    SwitchRolledBack,
    SyncSkipped,
)
from projections.evolve import fold
from projections.story import Ending, NoSuchStoryError, story_of
from tests.helpers.story_events import (
    TRACEBACK,
    History,
    broken_target,
    completed,
    rolled_back,
    serving,
    spent_candidate,
)


def names(story) -> list[str]:
    return [span.name for span in story.stages]


def event_at(history: History, seq: int) -> str:
    return history.events[seq - 1].event.stored_name


@pytest.mark.parametrize("make", [completed, rolled_back, broken_target])
def test_the_histories_of_these_tests_are_ones_that_can_happen(make):
    fold(make().events)


def test_who_asked_is_the_actor_the_requester_and_the_way_it_came_in():
    story = story_of(completed().events)
    assert (story.asked.role, story.asked.pid, story.asked.host) == ("cli", 200, "host")
    assert (story.asked.requester_pid, story.asked.origin) == (200, "cli")


def test_a_target_that_dies_is_told_with_the_exit_its_code_and_its_last_lines():
    history = rolled_back()
    story = story_of(history.events)
    cause = story.cause
    assert cause is not None
    assert event_at(history, cause.seq) == "process.exited" == cause.event
    assert (cause.exit, cause.code, cause.log_tail) == ("exit code 7", 7, TRACEBACK)
    assert cause.log == f"logs/new/{cause.spawn}.log"
    assert story.error.startswith("ComfyUI ended with exit code 7")


def test_a_switch_that_was_just_asked_for_can_be_told():
    history = serving()
    history.ask("new", "old")
    story = story_of(history.events[: history.switch])
    assert names(story) == ["preparing"]
    assert (story.cause, story.silence, story.starts) == (None, None, ())


def test_a_bad_preflight_is_the_cause_and_nothing_was_stopped():
    history = serving()
    history.ask("new", "old")
    history.preflight("new", problem="no main.py")
    history.fail("no main.py", reason="preflight")
    history.end(SwitchRolledBack(environment="old", error="no main.py", nothing_stopped=True))
    fold(history.events)
    story = story_of(history.events)
    assert story.cause is not None
    assert (story.cause.event, story.cause.reason) == ("switch.preflighted", "preflight")
    assert (story.nothing_stopped, story.silence, story.serving) == (True, None, "old")
    assert story.stages[-1].failed


def test_a_failed_sync_is_the_cause():
    history = serving()
    history.ask("new", "old")
    history.preflight("new")
    history.sync("new", error="no network")
    history.fail("syncing new failed: no network", reason="sync")
    history.end(SwitchRolledBack(environment="old", error="no network", nothing_stopped=True))
    story = story_of(history.events)
    assert story.cause is not None
    assert story.cause.event == "sync.finished"


def test_a_target_that_is_too_late_is_told_with_what_it_printed_although_we_ended_it():
    history = serving()
    history.ask("new", "old")
    history.preflight("new")
    history.add(SyncSkipped(environment="new", fingerprint="f"))
    history.stop(history.main, "room for new")
    spawn = history.spawn("new")
    history.probe(spawn, ok=False, error="timed out")
    history.add(HealthFailed(spawn=spawn, why="timeout", detail="late"))
    history.fail("late", reason="timeout", spawn=spawn)
    history.stop(spawn, "the switch is given up", tail=("loading models",))
    story = story_of(history.events)
    assert story.cause is not None
    assert (story.cause.event, story.cause.log_tail) == ("health.failed", ("loading models",))
    assert (story.cause.exit, story.cause.code) == ("", None)
    assert story.starts[0].ended == "stopped by us, exit code 0"
    assert "unchanged" in story.stages[2].note


def test_a_start_that_never_came_to_be_is_the_cause():
    history = serving()
    history.ask("new", "old")
    spawn = history.spawn("new")
    history.fail("no such file", reason="spawn", spawn=spawn)
    history.add(ProcessSpawnFailed(spawn=spawn, error="no such file", lost=False))
    story = story_of(history.events)
    assert story.cause is not None
    assert story.cause.event == "process.spawn_failed"
    assert story.starts[0].ended == "not started: no such file"


def test_a_failure_without_a_process_is_its_own_evidence():
    history = serving()
    history.ask("new", "old")
    history.fail("port 8188 is held by nginx", reason="port")
    story = story_of(history.events)
    assert story.cause is not None
    assert story.cause.event == "switch.failed"


def test_a_critical_failure_has_a_command_and_nobody_serving():
    history = broken_target()
    spent_candidate(history, "old")
    history.end(SwitchCriticallyFailed(error="nothing left", recovery_command="do this"))
    fold(history.events)
    story = story_of(history.events)
    assert (story.ending, story.serving, story.recovery_command) == (Ending.CRITICAL_FAILURE, "", "do this")
    assert story.silence is not None
    assert story.silence.ns is None


def test_an_abort_is_the_cause_of_going_back():
    history = serving()
    history.ask("new", "old")
    history.add(AbortRequested(origin=Origin.CLI, reason="changed my mind"))
    history.end(SwitchRolledBack(environment="old", error="aborted by cli", nothing_stopped=True))
    story = story_of(history.events)
    assert story.cause is not None
    assert story.cause.event == "abort.requested"
    assert story.cause.error == "the switch was aborted by cli: changed my mind"


def test_a_switch_that_ends_with_its_orchestrator_is_aborted_by_whoever_asked_for_that():
    history = serving()
    history.ask("new", "old")
    history.add(ShutdownRequested(origin=Origin.SIGNAL, reason="SIGTERM", urgent=True))
    history.stop(history.main, "supervision ends")
    history.end(SwitchAborted(error="the orchestrator was stopped", manual=False, recovery_command="run it"))
    story = story_of(history.events)
    assert (story.ending, story.manual, story.recovery_command) == (Ending.ABORTED, False, "run it")
    assert story.cause is not None
    assert story.cause.event == "shutdown.requested"


def test_a_refused_switch_is_its_own_story():
    history = serving()
    refused = SwitchRefused(
        target="nope", source="old", origin=Origin.CONTROL, why=RefusalReason.UNKNOWN, message="there is no nope"
    )
    seq = history.add(refused)
    story = story_of(history.events, seq)
    assert (story.ending, story.switch, story.error) == (Ending.REFUSED, seq, "there is no nope")
    assert story.cause is not None
    assert story.cause.reason == "unknown_environment"


def test_without_a_number_a_switch_that_was_begun_goes_before_a_later_refusal():
    history = completed()
    switch = next(r.seq for r in history.events if r.event.stored_name == "switch.requested")
    history.add(
        SwitchRefused(
            target="new", source="new", origin=Origin.CLI, why=RefusalReason.ALREADY_SERVING, message="it does"
        )
    )
    assert story_of(history.events).switch == switch


def test_a_recovery_is_explained_by_the_crash_before_it():
    history = serving("old")
    history.ask("new", "old")
    history.stop(history.main, "room for new")
    spawn = history.serve("new")
    history.end(SwitchCompleted(environment="new", spawn=spawn))
    history.wait(10)
    crash = history.add(ProcessExited(spawn=spawn, code=9, signal="", cause=ExitCause.CRASH, log_tail=TRACEBACK))
    history.add(GenerationDisproved(generation=1, why="crashed"))
    history.ask("new", "new", kind=SwitchKind.RECOVER, reason="ComfyUI of new failed: exit code 9")
    history.try_candidate("old")
    history.serve("old")
    history.end(SwitchRolledBack(environment="old", error="exit code 9", nothing_stopped=False))
    story = story_of(history.events)
    assert (story.kind, story.asked.origin, names(story)) == ("recover", "supervisor", ["rolling_back"])
    assert story.stages[0].environment == "old"
    assert story.cause is not None
    assert (story.cause.seq, story.cause.code, story.cause.log) == (crash, 9, f"logs/new/{spawn}.log")
    assert story.silence is not None
    assert (story.silence.since, story.silence.ns) == (history.events[crash - 1].at, 5900 * MS)


def test_a_recovery_after_a_start_that_failed_is_explained_by_that():
    history = serving()
    failed = history.add(StartFailed(environment="old", reason="timeout", error="not ready after 180 s"))
    history.ask("old", "old", kind=SwitchKind.RECOVER, reason="ComfyUI of old failed")
    story = story_of(history.events)
    assert story.cause is not None
    assert (story.cause.seq, story.cause.reason, story.cause.log_tail) == (failed, "timeout", ())


def test_a_recovery_whose_crash_is_not_among_the_events_is_explained_by_its_reason():
    history = serving()
    history.ask("old", "old", kind=SwitchKind.RECOVER, reason="it crashed")
    story = story_of(history.events[-2:])
    assert story.cause is not None
    assert (story.cause.event, story.cause.error) == ("switch.requested", "it crashed")


def test_the_events_of_the_next_switch_are_not_told_where_the_end_of_this_one_is_lost():
    history = broken_target()
    first = history.switch
    history.ask("new", "old")
    history.preflight("new")
    story = story_of(history.events, first)
    assert story.ending is Ending.OPEN
    assert story.stages[-1].name == "rolling_back"


def test_what_happens_beside_an_open_switch_does_not_end_it():
    history = serving()
    switch = history.ask("new", "old")
    history.add(
        SwitchRefused(target="x", source="old", origin=Origin.CLI, why=RefusalReason.SWITCH_OPEN, message="wait")
    )
    spawn = history.serve("new")
    history.end(SwitchCompleted(environment="new", spawn=spawn))
    assert story_of(history.events, switch).ending is Ending.COMPLETE


def test_a_number_that_is_no_switch_has_no_story():
    with pytest.raises(NoSuchStoryError, match="event 3 is no switch"):
        story_of(completed().events, 3)
    with pytest.raises(NoSuchStoryError, match="no switch yet"):
        story_of(serving().events)


def test_every_prefix_of_a_switch_can_be_told():
    history = rolled_back()
    first = next(r.seq for r in history.events if r.event.stored_name == "switch.requested")
    for length in range(first, len(history.events) + 1):
        story = story_of(history.events[:length])
        assert (story.ending is Ending.OPEN) == (length < len(history.events) - 1)


def test_gaps_between_the_events_are_tolerated():
    history = rolled_back()
    first = next(r.seq for r in history.events if r.event.stored_name == "switch.requested")
    for missing in range(first, len(history.events)):
        events = [r for n, r in enumerate(history.events) if n != missing]
        assert story_of(events).switch == first


def test_a_story_is_frozen():
    story = story_of(completed().events)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        story.switch = 1  # type: ignore[misc]
    assert isinstance(completed().events[-1].event, LockReleased)

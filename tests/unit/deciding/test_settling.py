"""Facts become events before anything is decided on them: signals, files, processes, probes."""

import attrs
import pytest

from journal.clock import MS, S
from journal.events import (
    AbortRequested,
    ExitCause,
    FileIngested,
    FileRejected,
    GuardReaped,
    HealthFailed,
    Ladder,
    LeftBehind,
    LockBroken,
    OrchestratorLost,
    Origin,
    ProcessAdopted,
    ProcessExited,
    ProcessSpawned,
    ProcessSpawnFailed,
    ProcessStopAsked,
    ProcessSwept,
    RefusalReason,
    RestartRequested,
    ShutdownRequested,
    StartFailed,
    StartKind,
    SwitchFailed,
    SwitchRefused,
    SyncSkipped,
)
from journal.identity import Identity
from orchestrator.actions import Act, Sweep, TakeFile, TakeForeignLock, Took
from orchestrator.deciding.settling import RESTARTS_MAX
from orchestrator.world import AskKind, ChildFacts, EnvironmentFacts, InboxItem, Presence, ProbeFacts
from projections.evolve_supervision import inbox_key
from projections.jobs import JobKind
from projections.locking import ForeignLock
from projections.switching import Stage
from tests.helpers.histories import (
    SUCCESSOR,
    History,
    acted,
    decided,
    events_of,
    exited,
    gone,
    in_stage,
    intended,
    names_of,
    only,
    orchestrator_started,
    planned,
    planned_step,
    seen,
    source_seen,
    stamp,
    waits_s,
)
from tests.helpers.histories import (
    probed as probed_event_of,
)

SOMEBODY = Identity(4000, 4, "boot-1")


def item(kind: AskKind, number: int = 1, **changes) -> InboxItem:
    name = ".switch_request.json" if kind is AskKind.SWITCH else ".cmd"
    return attrs.evolve(
        InboxItem(
            name=name,
            key=inbox_key(name, f"{number:064x}", number, number),
            kind=kind,
            sha256=f"{number:064x}",
            mtime_ns=number,
            inode=number,
            content="{}",
        ),
        **changes,
    )


# --------------------------------------------------------------- signals


@pytest.mark.scenario("OL-12", "OL-13")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_to_us_ends_supervision_by_the_fast_ladder(name):
    history = History().serving()

    act = acted(history, seen(history, signal=name))

    assert only(act, ShutdownRequested) == ShutdownRequested(origin=Origin.SIGNAL, reason=name, urgent=True)
    assert act.took == {Took.SIGNAL}


def test_a_second_signal_says_nothing_new():
    history = History().serving()
    history.add(ShutdownRequested(origin="signal", urgent=True))

    assert acted(history, seen(history, signal="SIGINT")) == Act(took=frozenset({Took.SIGNAL}))


def test_a_signal_makes_a_patient_shutdown_urgent():
    history = History().serving()
    history.add(ShutdownRequested(origin="cli"))

    assert only(acted(history, seen(history, signal="SIGINT")), ShutdownRequested).urgent


# ----------------------------------------------------------------- inbox


def test_a_request_beside_a_shutdown_is_refused_before_the_end():
    history = History().serving()
    items = (item(AskKind.SHUTDOWN), item(AskKind.SWITCH, 2, target="b"))
    first = acted(history, seen(history, inbox=items))
    history.add(*events_of(first))
    second = acted(history, seen(history, inbox=items[1:]))

    assert first.effect == TakeFile(items[0].name, items[0].key)
    assert only(second, SwitchRefused).why is RefusalReason.STOPPING
    assert second.effect == TakeFile(items[1].name, items[1].key)


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        (AskKind.RESTART, RestartRequested(origin=Origin.FILE, reason="why not")),
        (AskKind.SHUTDOWN, ShutdownRequested(origin=Origin.FILE, reason="why not")),
        (AskKind.ABORT, AbortRequested(origin=Origin.FILE, reason="why not", manual_pid=77)),
    ],
)
def test_a_command_is_taken_in_and_is_the_cause_of_what_it_asks(kind, event):
    history = History().serving()
    found = item(kind, reason="why not", pid=77)

    act = acted(history, seen(history, inbox=(found,)))

    assert events_of(act)[1] == event
    assert [draft.cause for draft in act.events] == [None, history.state.seq + 1]
    assert act.effect == TakeFile(".cmd", found.key)
    assert act.took == {Took.INBOX}


def test_a_request_by_file_is_a_switch_and_its_lock_in_one_transaction():
    history = History().serving("a")
    found = item(AskKind.SWITCH, target="b", source="a")

    act = acted(history, seen(history, inbox=(found,), foreign_lock=ForeignLock(history.now), source=SOMEBODY))

    assert names_of(act) == ["file.ingested", "switch.requested", "lock.acquired"]
    requested, lock = events_of(act)[1:]
    assert (requested.target, requested.source, requested.origin) == ("b", "a", Origin.FILE)
    assert (requested.requester, lock.holder, lock.foreign) == (SOMEBODY, SOMEBODY, True)
    assert [draft.switch for draft in act.events] == [None, history.state.seq + 2, history.state.seq + 2]
    history.add(*events_of(act))
    assert history.state.lock.switch == history.state.job.job


@pytest.mark.parametrize(
    ("serving", "startup", "source"),
    [("a", "c", "a"), ("", "c", "c"), ("", "", "")],
    ids=["served", "captured", "nobody"],
)
def test_a_request_that_names_no_source_means_what_serves_or_served(serving, startup, source):
    history = History().serving(serving) if serving else History().begun("")
    found = item(AskKind.SWITCH, target="b")

    act = acted(history, seen(history, inbox=(found,), startup_environment=startup))

    assert events_of(act)[1].source == source


def test_a_target_that_nobody_has_looked_at_is_looked_at_first():
    history = History().serving("a")

    decision = decided(history, seen(history, inbox=(item(AskKind.SWITCH, target="b"),), environments={}))

    assert waits_s(decision, history) == 0.05


@pytest.mark.scenario("B-35")
def test_a_target_that_is_not_there_is_refused_by_its_name():
    history = History().serving("a")
    world = seen(
        history, inbox=(item(AskKind.SWITCH, target="b"),), environments={"b": EnvironmentFacts("b", "no folder")}
    )

    refused = only(acted(history, world), SwitchRefused)

    assert (refused.why, refused.target, refused.message) == (RefusalReason.UNKNOWN, "b", "no folder")


def test_a_file_that_is_known_is_only_removed():
    history = History().serving("a")
    found = item(AskKind.RESTART)
    history.add(FileIngested(name=".cmd", sha256=found.sha256, mtime_ns=1, inode=1, content=""))

    act = acted(history, seen(history, inbox=(found,)))

    assert act == Act((), TakeFile(".cmd", found.key), frozenset({Took.INBOX}))


def test_a_file_that_makes_no_sense_is_kept_in_the_journal_and_removed():
    history = History().serving("a")
    found = item(AskKind.REJECTED, problem="not JSON", content="aGk=")

    act = acted(history, seen(history, inbox=(found,)))

    (rejected,) = events_of(act)
    assert (rejected.why, rejected.content_base64, rejected.name) == ("not JSON", "aGk=", ".cmd")
    assert act.effect == TakeFile(".cmd", found.key)


def test_a_file_that_is_still_being_written_waits():
    history = History().serving("a")

    assert waits_s(decided(history, seen(history, inbox=(item(AskKind.UNFINISHED),))), history) == 0.05


@pytest.mark.scenario("B-33")
def test_a_command_does_not_wait_behind_a_file_that_is_still_being_written():
    history = History().serving("a")
    unfinished, command = item(AskKind.UNFINISHED, 1), item(AskKind.SHUTDOWN, 2)
    world = seen(history, inbox=(unfinished, command))

    act = acted(history, world)

    assert "shutdown.requested" in names_of(act)
    assert world.without(act.took).inbox == (unfinished,)


def test_a_whole_world_is_used_up_bit_by_bit():
    history = in_stage(Stage.PREPARING)
    world = seen(history, signal="SIGINT", inbox=(item(AskKind.RESTART),), probe=ProbeFacts(1, True, 1, 200, ""))

    left = world.without(frozenset(Took))

    assert (left.signal, left.inbox, left.probe, left.work) == ("", (), None, None)
    assert world.without(frozenset()) is world


# ---------------------------------------------------------- foreign lock


def test_a_stale_foreign_lock_without_a_switch_is_taken_away():
    history = History().serving("a").after(1000)
    lock = ForeignLock(stamp(history.now_s - 300))

    act = acted(history, seen(history, foreign_lock=lock))

    assert act.effect == TakeForeignLock()
    assert only(act, LockBroken) == LockBroken(why="foreign_stale", age_ns=300 * S)


def test_a_young_foreign_lock_is_looked_at_again_when_it_is_old():
    history = History().serving("a")
    lock = ForeignLock(stamp(history.now_s - 299))

    assert waits_s(decided(history, seen(history, foreign_lock=lock)), history) == 1


def refused_by_file(history: History) -> History:
    refused = SwitchRefused(target="x", source="a", origin=Origin.FILE, why=RefusalReason.UNKNOWN, message="no")
    history.add(refused)
    return history


@pytest.mark.parametrize("rejected", [False, True], ids=["refused", "not understood"])
def test_the_lock_of_a_request_that_came_to_nothing_goes_with_it(rejected):
    history = History().serving("a")
    lock = ForeignLock(stamp(history.now_s - 2))
    if rejected:
        history.add(
            FileRejected(name=".switch_request.json", sha256="", mtime_ns=0, inode=0, why="", content_base64="")
        )
    else:
        refused_by_file(history)

    act = acted(history.after(0.1), seen(history, foreign_lock=lock))

    assert act.effect == TakeForeignLock()
    assert only(act, LockBroken).why == "refused"


def test_the_lock_of_the_next_request_is_not_the_refused_ones():
    history = refused_by_file(History().serving("a")).after(1)

    assert not isinstance(decided(history, seen(history, foreign_lock=ForeignLock(stamp(history.now_s - 0.5)))), Act)


def test_a_lock_waits_for_the_request_that_is_being_written():
    history = refused_by_file(History().serving("a")).after(1)
    world = seen(history, foreign_lock=ForeignLock(stamp(history.now_s - 2)), inbox=(item(AskKind.UNFINISHED),))

    assert not isinstance(decided(history, world), Act)


def test_a_command_that_was_refused_because_of_a_lock_does_not_break_it():
    history = History().serving("a")
    lock = ForeignLock(stamp(history.now_s - 2))
    history.add(SwitchRefused(target="b", source="a", origin=Origin.CLI, why=RefusalReason.LOCKED, message="no"))

    assert not isinstance(decided(history, seen(history, foreign_lock=lock)), Act)


def test_a_lock_of_ours_never_ages():
    history = in_stage(Stage.PREPARING).after(10_000)

    assert "lock.broken" not in names_of(decided(history, seen(history, foreign_lock=ForeignLock(stamp(0)))))


# ----------------------------------------------------- intended processes


def intended_world(history: History, **facts):
    return seen(history, processes={history.job_spawn: ChildFacts(**facts)})


@pytest.mark.parametrize("presence", [Presence.ALIVE, Presence.GONE])
def test_an_intended_process_that_was_found_was_spawned_even_if_it_is_gone_by_now(presence):
    history = in_stage(Stage.STARTING)

    act = acted(history, intended_world(history, presence=presence, identity=SOMEBODY))

    assert events_of(act) == (ProcessSpawned(spawn=history.job_spawn, identity=SOMEBODY),)


def test_an_intended_process_that_cannot_be_told_is_waited_for():
    history = in_stage(Stage.STARTING)

    assert waits_s(decided(history, intended_world(history, presence=Presence.PENDING)), history) == 0.05


def test_but_not_for_ever():
    history = in_stage(Stage.STARTING).after(10)

    failed = only(acted(history, intended_world(history, presence=Presence.PENDING)), ProcessSpawnFailed)

    assert failed.lost


def test_the_time_for_it_counts_from_our_own_start():
    history = in_stage(Stage.STARTING).after(1000).succeeded_by()

    assert waits_s(decided(history, intended_world(history, presence=Presence.PENDING)), history) == 0.05


def test_a_start_that_was_lost_is_made_again_twice():
    history = in_stage(Stage.STARTING)
    for _ in range(2):
        act = acted(history, intended_world(history, presence=Presence.ABSENT))
        assert names_of(act) == ["process.spawn_failed"]
        history.add(*events_of(act))
        assert history.stage is Stage.CLEARING
        history.add(intended("b"))

    assert names_of(acted(history, intended_world(history, presence=Presence.ABSENT))) == [
        "switch.failed",
        "process.spawn_failed",
    ]


@pytest.mark.parametrize(
    ("history", "names"),
    [
        (in_stage(Stage.STARTING), ["switch.failed", "process.spawn_failed"]),
        (in_stage(Stage.STARTING, JobKind.START), ["start.failed", "process.spawn_failed"]),
        (in_stage(Stage.STARTING, rolling=True), ["rollback.try_failed", "process.spawn_failed"]),
    ],
)
def test_a_start_that_the_system_refused_is_not_made_again(history, names):
    act = acted(history, intended_world(history, presence=Presence.ABSENT, error="no such file"))

    assert names_of(act) == names
    assert only(act, ProcessSpawnFailed) == ProcessSpawnFailed(
        spawn=history.job_spawn, error="no such file", lost=False
    )
    history.add(*events_of(act))


def test_a_lost_start_that_nobody_wants_any_more_is_only_noted():
    history = in_stage(Stage.STARTING)
    spawn = history.job_spawn
    history.add(AbortRequested(origin="cli"))

    act = acted(history, seen(history, processes={spawn: ChildFacts(Presence.ABSENT, error="no such file")}))

    assert names_of(act) == ["process.spawn_failed"]


# -------------------------------------------------------------- adoption


def test_a_process_of_a_dead_orchestrator_is_adopted():
    history = History().serving("a").succeeded_by()
    process = history.state.main_process

    assert events_of(acted(history)) == (ProcessAdopted(spawn=process.spawn, identity=process.identity),)


def test_so_is_a_source_for_its_probes_are_counted_too():
    history = History().begun("b").switching("b", source="a", origin=Origin.FILE)
    spawn = history.add(source_seen("a"))
    history.succeeded_by()

    assert only(acted(history), ProcessAdopted).spawn == spawn


def test_what_is_ours_already_is_not_adopted():
    history = History().serving("a").succeeded_by()
    history.add(*events_of(acted(history)))

    assert not isinstance(decided(history), Act)


# ------------------------------------------------- what the guard knows


def test_how_an_orphan_ended_is_waited_for_before_anything_is_decided():
    history = History().serving("a").succeeded_by()
    history.add(*events_of(acted(history)))
    process = history.state.main_process
    untold = attrs.evolve(
        seen(history), processes={process.spawn: ChildFacts(Presence.PENDING, process.identity)}, signal=""
    )

    assert waits_s(decided(history, untold), history) == pytest.approx(0.05)


def test_that_the_guard_told_it_is_journaled_with_the_exit_and_the_code_means_what_it_always_does():
    history = History().serving("a").succeeded_by()
    history.add(*events_of(acted(history)))
    process = history.state.main_process
    decision = acted(history, gone(history, process.spawn, code=42, reaped=True))

    assert events_of(decision)[0] == GuardReaped(spawn=process.spawn, identity=process.identity, code=42, signal="")
    assert only(decision, ProcessExited).cause is ExitCause.RESTART


# ------------------------------------------------------------- survivors


def test_what_an_ended_process_left_behind_is_swept_before_its_exit_counts():
    history = History().serving("a")
    spawn = history.state.main
    world = gone(
        history, spawn, 0, left_behind=tuple(LeftBehind(Identity(pid, 7, "boot-1"), "helper", "") for pid in (41, 42))
    )

    act = acted(history, world)
    assert events_of(act) == (ProcessSwept(spawn=spawn, pids=(41, 42)),)
    assert act.effect == Sweep(spawn)

    history.add(*events_of(act))
    assert waits_s(decided(history, world), history) == 0.05
    history.after(0.15)
    assert waits_s(decided(history, world), history) == 0.05
    history.after(0.05)
    assert acted(history, world).effect == Sweep(spawn)


# ----------------------------------------------------------------- exits


def cause_of(history: History, code: int | None, signal: str = "", **changes) -> ExitCause:
    spawn = history.state.main
    assert spawn is not None
    world = attrs.evolve(gone(history, spawn, code, signal), **changes)
    return only(acted(history, world), ProcessExited).cause


@pytest.mark.scenario("OL-03", "OL-05", "OL-06")
@pytest.mark.parametrize(
    ("code", "signal", "cause"),
    [
        (0, "", ExitCause.CLEAN),
        (42, "", ExitCause.RESTART),
        (43, "", ExitCause.CRASH),
        (7, "", ExitCause.CRASH),
        (None, "SIGKILL", ExitCause.CRASH),
        (None, "", ExitCause.CRASH),
    ],
)
def test_what_an_exit_of_the_serving_process_means(code, signal, cause):
    assert cause_of(History().serving("a"), code, signal) is cause


@pytest.mark.scenario("B-22")
@pytest.mark.parametrize(("code", "signal"), [(0, ""), (42, ""), (43, ""), (7, ""), (None, "SIGKILL"), (None, "")])
def test_a_stop_that_we_asked_for_is_ours_whatever_the_code(code, signal):
    history = History().serving("a")
    history.add(ProcessStopAsked(spawn=history.state.main, why="", ladder=Ladder.PLANNED))

    assert cause_of(history, code, signal) is ExitCause.STOPPED


@pytest.mark.parametrize("code", [43, None])
def test_the_old_one_leaves_for_the_switch_that_is_open(code):
    assert cause_of(in_stage(Stage.SYNCING), code) is ExitCause.SWITCH


def test_an_unknown_exit_with_a_restart_asked_is_that_restart():
    history = History().serving("a")
    history.add(RestartRequested(origin="cli"))

    assert cause_of(history, None) is ExitCause.RESTART


@pytest.mark.parametrize(("passed_s", "cause"), [(59.9, ExitCause.SWITCH), (60, ExitCause.CRASH)])
def test_a_43_after_a_refused_request_is_its_page_leaving(passed_s, cause):
    history = History().serving("a")
    refused = SwitchRefused(target="x", source="a", origin=Origin.FILE, why=RefusalReason.UNKNOWN, message="no")
    history.add(refused)

    assert cause_of(history.after(passed_s), 43) is cause


@pytest.mark.parametrize(("passed_s", "cause"), [(59.9, ExitCause.SWITCH), (60, ExitCause.CRASH)])
def test_so_is_one_after_a_switch_that_failed_before_its_page_had_left(passed_s, cause):
    history = in_stage(Stage.PREPARING)
    history.add(SwitchFailed(reason="preflight", error="no main.py"))
    history.add(*events_of(acted(history)))
    assert history.state.job is None

    assert cause_of(history.after(passed_s), 43) is cause


def test_a_43_of_what_a_switch_or_its_rollback_has_just_started_is_a_crash():
    completed = History().serving("a").switching("b").completed()
    assert cause_of(completed, 43) is ExitCause.CRASH

    rolled_back = in_stage(Stage.VALIDATING, rolling=True).answered(3)
    rolled_back.add(*events_of(acted(rolled_back)))
    assert rolled_back.state.serving == "a"
    assert cause_of(rolled_back.after(1), 43) is ExitCause.CRASH


def test_what_went_down_with_the_machine_has_not_crashed():
    history = History().serving("a").succeeded_by(Identity(100, 1, "boot-2"))

    assert cause_of(history, None) is ExitCause.STOPPED


def test_a_source_leaves_to_make_room():
    history = History().begun("b").switching("b", source="a", origin=Origin.FILE)
    spawn = history.add(source_seen("a"))

    assert only(acted(history, gone(history, spawn)), ProcessExited).cause is ExitCause.SWITCH


def test_a_43_waits_for_the_request_that_is_still_being_written():
    history = History().serving("a")
    world = attrs.evolve(gone(history, history.state.main, 43), inbox=(item(AskKind.UNFINISHED),))

    assert waits_s(decided(history, world), history) == 0.05


@pytest.mark.scenario("HC-02")
@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (in_stage(Stage.VALIDATING), "switch.failed"),
        (in_stage(Stage.VALIDATING, JobKind.START), "start.failed"),
        (in_stage(Stage.VALIDATING, rolling=True), "rollback.try_failed"),
    ],
)
@pytest.mark.parametrize(("code", "signal", "words"), [(7, "", "exit code 7"), (None, "SIGSEGV", "signal SIGSEGV")])
def test_a_start_that_dies_is_unhealthy_at_once_with_its_code(history, verdict, code, signal, words):
    history = copied(history).after(1.5)
    spawn = history.job_spawn

    act = acted(history, gone(history, spawn, code, signal, log_tail=("loading", "ImportError: torch", "  ")))

    assert names_of(act) == ["process.exited", "health.failed", verdict]
    failed = only(act, HealthFailed)
    environment = history.job_environment
    assert failed.why == "exited"
    assert failed.detail == (
        f"ComfyUI of {environment} ended with {words} 1.5 s after its start; its last line: ImportError: torch"
    )
    assert failed.detail == events_of(act)[2].error
    assert only(act, ProcessExited).log_tail[-2] == "ImportError: torch"


def copied(history: History) -> History:
    again = History()
    again.now_s, again.records, again.state, again.actor = (
        history.now_s,
        history.records[:],
        history.state,
        history.actor,
    )
    return again


def test_a_start_that_leaves_with_0_before_it_was_healthy_has_failed():
    history = in_stage(Stage.VALIDATING, JobKind.START)

    act = acted(history, gone(history, history.job_spawn, 0))

    assert only(act, StartFailed).reason == "exited"


def test_a_start_may_ask_for_another_one_three_times():
    history = in_stage(Stage.VALIDATING)
    for _ in range(RESTARTS_MAX):
        act = acted(history, gone(history, history.job_spawn, 42))
        assert names_of(act) == ["process.exited"]
        history.add(*events_of(act))
        assert history.stage is Stage.SYNCING
        history.synced().started()

    act = acted(history, gone(history, history.job_spawn, 42))

    assert only(act, SwitchFailed).reason == "restarting"
    assert only(act, ProcessExited).cause is ExitCause.CRASH


def test_a_plain_start_may_not_ask_when_a_minute_has_seen_enough_starts():
    history = History().begun()
    for _ in range(6):
        history.add(planned(kind=StartKind.RESTART, asked=False), StartFailed(environment="a", reason="", error=""))
    history.add(planned(kind=StartKind.RESTART, asked=False))
    history.synced().started()

    act = acted(history, gone(history, history.job_spawn, 42))

    assert only(act, StartFailed).reason == "restarting"


def test_a_start_that_a_withdrawn_shutdown_stopped_is_made_again():
    history = in_stage(Stage.VALIDATING)
    spawn = history.job_spawn
    history.add(ShutdownRequested(origin="cli"), ProcessStopAsked(spawn=spawn, why="", ladder=Ladder.PLANNED))
    history.succeeded_by(manual=True)

    act = acted(history, gone(history, spawn, 0))

    assert names_of(act) == ["process.exited"]
    history.add(*events_of(act))
    assert history.stage is Stage.SYNCING


def test_a_start_that_went_down_with_the_machine_is_made_again():
    history = in_stage(Stage.VALIDATING).succeeded_by(Identity(1, 1, "boot-2"))

    act = acted(history, gone(history, history.job_spawn))

    assert names_of(act) == ["process.exited"]
    history.add(*events_of(act))
    assert history.stage is Stage.SYNCING


def test_a_target_that_leaves_with_43_has_failed():
    history = in_stage(Stage.VALIDATING)

    act = acted(history, gone(history, history.job_spawn, 43))

    assert only(act, ProcessExited).cause is ExitCause.CRASH
    assert only(act, SwitchFailed).reason == "exited"


def test_the_end_of_a_target_that_is_given_up_is_only_noted():
    history = in_stage(Stage.VALIDATING)
    history.add(AbortRequested(origin="cli"))

    assert names_of(acted(history, gone(history, history.state.main, 7))) == ["process.exited"]


def test_what_the_world_did_not_look_at_is_left_alone():
    history = History().serving("a")

    assert not isinstance(decided(history, seen(history, processes={})), Act)


# ---------------------------------------------------------------- source


def test_a_source_that_is_not_ours_is_watched_while_its_switch_is_open():
    history = History().begun("b").switching("b", source="a", origin=Origin.FILE)

    (found,) = events_of(acted(history, seen(history, source=SOMEBODY)))

    assert (found.environment, found.identity, found.port) == ("a", SOMEBODY, 8188)


@pytest.mark.parametrize("history", [History().serving("a"), in_stage(Stage.SYNCING, JobKind.START)])
def test_without_a_switch_there_is_no_source(history):
    assert "source.seen" not in names_of(decided(history, seen(history, source=SOMEBODY)))


def test_a_process_of_ours_is_no_source():
    history = in_stage(Stage.PREPARING)
    identity = history.state.main_process.identity

    assert "source.seen" not in names_of(decided(history, seen(history, source=identity)))


# ---------------------------------------------------------------- probes


def probed(history: History, ok: bool, **changes):
    facts = attrs.evolve(
        ProbeFacts(history.job_spawn, ok, 5 * MS, 200 if ok else None, "" if ok else "refused"), **changes
    )
    return acted(history, seen(history, probe=facts))


@pytest.mark.scenario("HC-09")
def test_each_success_is_a_journaled_probe_and_counts_one_more():
    history = in_stage(Stage.VALIDATING)
    for successes in (1, 2, 3):
        act = probed(history, ok=True)
        (event,) = events_of(act)
        assert (event.ok, event.successes, event.latency_ns, event.status) == (True, successes, 5 * MS, 200)
        assert act.took == {Took.PROBE}
        history.add(event)


@pytest.mark.scenario("HC-04")
def test_a_failure_begins_the_count_anew():
    history = in_stage(Stage.VALIDATING).answered(2)

    (event,) = events_of(probed(history, ok=False))

    assert (event.ok, event.successes, event.error) == (False, 0, "refused")


def test_an_answer_of_somebody_else_is_no_success():
    history = in_stage(Stage.VALIDATING).answered(2)

    (event,) = events_of(probed(history, ok=True, stranger="pid 9 (nginx)"))

    assert (event.ok, event.successes, event.error) == (False, 0, "answered by another process: pid 9 (nginx)")


def test_what_a_stranger_said_wrongly_is_told_beside_who_it_was():
    history = in_stage(Stage.VALIDATING)

    (event,) = events_of(probed(history, ok=False, stranger="pid 9 (nginx)"))

    assert event.error == "answered by another process: pid 9 (nginx): refused"


@pytest.mark.parametrize("of", ["an unknown process", "one that is being stopped", "one that is not there yet"])
def test_a_probe_of_no_interest_is_dropped(of):
    history = in_stage(Stage.STARTING if of == "one that is not there yet" else Stage.VALIDATING)
    spawn = history.job_spawn
    if of == "one that is being stopped":
        history.add(ProcessStopAsked(spawn=spawn, why="", ladder=Ladder.DRAINED))
    facts = ProbeFacts(99 if of == "an unknown process" else spawn, True, 1, 200, "")

    act = acted(history, seen(history, probe=facts, processes={}))

    assert act == Act(took=frozenset({Took.PROBE}))


# ---------------------------------------------------------- shown outcome


def test_an_outcome_is_shown_for_its_time_and_then_cleared():
    history = History().serving("a").switching("b").completed()
    history.now_s = history.now_s - 10 + 9.5
    assert waits_s(decided(history), history) == 0.5

    assert names_of(decided(history.after(0.5))) == ["status.cleared"]


def test_it_is_cleared_in_the_middle_of_a_plain_start_too():
    history = History().serving("a").switching("b").completed()
    history.add(exited(history.state.main, 42, ExitCause.RESTART), planned("b", StartKind.RESTART, asked=False))
    history.add(SyncSkipped(environment="b", fingerprint=""))
    history.now_s -= 1
    history.started().add(probed_event_of(history.job_spawn, 0))

    assert waits_s(decided(history), history) == 0.5
    assert names_of(decided(history.after(1))) == ["status.cleared"]


def test_a_successor_clears_what_its_predecessor_showed():
    history = History().serving("a").switching("b").completed().after(100)
    history.add(OrchestratorLost(identity=history.state.orchestrator), orchestrator_started(me=SUCCESSOR))
    history.add(*events_of(acted(history)))

    assert names_of(decided(history)) == ["status.cleared"]


def test_a_step_settles_all_that_it_can_in_one_transaction():
    history = History().serving("a")
    history.add(RestartRequested(origin="cli"))

    act = planned_step(history, gone(history, history.state.main, 42))

    assert names_of(act) == [
        "process.exited",
        "start.planned",
        "sync.skipped",
        "startup.captured",
        "process.intended",
    ]

"""Stories as people read them: one screen, and nothing in it that could command a terminal."""

import json

import attrs
import pytest

from comfygit_journal.lines import as_json
from comfygit_journal.present import Present, Serving
from comfygit_journal.story_text import story_document, story_text
from journal.events import (
    ExitCause,
    LeftBehind,
    OrchestratorLost,
    Origin,
    ProcessExited,
    RefusalReason,
    RestoreFinished,
    RestoreStarted,
    RollbackTried,
    SwitchAborted,
    SwitchCriticallyFailed,
    SwitchKind,
    SwitchRefused,
    SwitchRolledBack,
    SwitchRollingBack,
    WorkerLost,
)
from journal.identity import Identity
from projections.story import Story, story_of
from tests.helpers.story_events import (
    SUPERVISOR,
    History,
    broken_target,
    completed,
    rolled_back,
    serving,
    spent_candidate,
)

OLD_SERVES = Present(Serving("old", 36, 1036, alive=True), orchestrator_pid=100)
NOTHING = Present(None, None)
SCREEN_LINES = 24
SCREEN_COLUMNS = 100

ROLLED_BACK = """\
Switch 16: old -> new: rolled back to old after 9.7 s

asked       2026-03-01T12:01:45.900Z by cli (pid 200 on host), came in by cli
went wrong  ComfyUI ended with exit code 7 1.3 s after its start; its last line: ImportError: no
            module torch
evidence    event 28, process.exited of start 26: exit code 7; its last lines:
              Traceback (most recent call last):
                File "main.py", line 3, in <module>
              ImportError: no module torch
done        preparing 100 ms, syncing 400 ms, starting 2.0 s, validating 1.3 s (failed),
            rolling_back to old 5.9 s
            went back to old
probes      new (start 26): none; old (start 36): 3 ok, typically 3 ms, 1 failed (connection
            refused)
signals     SIGINT to old (start 8)
outage      nobody answered for 9.2 s
serves now  old (start 36, pid 1036)
next        less /ws/.metadata/logs/new/26.log
            comfygit-journal log --workspace /ws --switch 16
            comfygit-orchestrator switch --workspace /ws new"""


def text(history: History, present: Present = OLD_SERVES) -> str:
    return story_text(story_of(history.events), present, "/ws")


def section(shown: str, label: str) -> str:
    """The lines under one label, joined."""
    found: list[str] = []
    for line in shown.splitlines()[2:]:
        if line.startswith(label) or (found and line.startswith(" " * 12)):
            found.append(line[12:])
        elif found:
            break
    return " ".join(found)


def critical() -> History:
    history = broken_target()
    spent_candidate(history, "old")
    history.end(SwitchCriticallyFailed(error="nothing came up", recovery_command="comfygit-orchestrator switch old"))
    return history


def test_a_failed_switch_is_answered_in_full():
    assert text(rolled_back()) == ROLLED_BACK


@pytest.mark.parametrize("make", [completed, rolled_back, broken_target, critical])
def test_a_story_fits_on_one_screen(make):
    lines = text(make()).splitlines()
    assert len(lines) <= SCREEN_LINES
    assert max(map(len, lines)) <= SCREEN_COLUMNS


def test_a_note_on_several_starts_is_told_once_and_cannot_command_a_terminal():
    history = serving()
    history.ask("new", "old")
    first = history.spawn("new", notes=("--cpu was added\x1b[2J",))
    history.fail(history.crash(first), spawn=first)
    history.add(SwitchRollingBack(error="it broke"))
    second = history.spawn("old", notes=("--cpu was added\x1b[2J", "it is odd"))
    done = section(text(history), "done")
    assert f"new (start {first}), old (start {second}): --cpu was added" in done
    assert f"old (start {second}): it is odd" in done
    assert "\x1b" not in done


def test_what_could_not_be_ended_is_told_with_why():
    history = serving()
    history.ask("new", "old")
    spawn = history.spawn("new")
    left = (LeftBehind(Identity(77, 5, "boot"), "hel\x1bper", "it is another user's"),)
    history.add(ProcessExited(spawn=spawn, code=7, signal="", cause=ExitCause.CRASH, left=left))
    history.fail("it broke", spawn=spawn)

    assert section(text(history), "left") == "pid 77 (hel\\x1bper): it is another user's"


def test_a_very_long_error_is_wrapped_and_its_log_tail_is_cut():
    history = serving()
    history.ask("new", "old")
    spawn = history.spawn("new")
    error = history.crash(spawn, tail=("x" * 500,) * 20)
    history.fail(error[:300], spawn=spawn)
    lines = text(history).splitlines()
    assert sum("xxxxx…" in line for line in lines) == 6


def test_a_good_switch_has_nothing_gone_wrong():
    shown = text(completed())
    assert shown.startswith("Switch 16: old -> new: complete after 8.0 s\n")
    assert "went wrong" not in shown
    assert "evidence" not in shown


def test_an_unfinished_switch_says_where_it_is_and_how_to_watch_or_end_it():
    shown = text(broken_target())
    assert shown.startswith("Switch 16: old -> new: not over, rolling_back\n")
    assert "rolling_back (lasts)" in shown
    assert "since 2026-03-01T12:01:46.400Z nobody answered" in shown
    assert section(shown, "next").endswith("--follow --switch 16 comfygit-orchestrator abort --workspace /ws")


def test_a_critical_failure_names_its_recovery_command_first():
    shown = text(critical(), NOTHING)
    assert "critical failure after" in shown
    assert section(shown, "next").startswith("comfygit-orchestrator switch old less /ws")
    assert "went back to old, in vain: ComfyUI ended" in section(shown, "done")
    assert section(shown, "serves now") == "nothing; no orchestrator is at work"


@pytest.mark.parametrize(
    ("why", "step"),
    [
        (RefusalReason.UNKNOWN, "ls /ws/environments"),
        (RefusalReason.SWITCH_OPEN, "comfygit-orchestrator abort --workspace /ws"),
        (RefusalReason.ALREADY_SERVING, "comfygit-orchestrator restart --workspace /ws"),
        (RefusalReason.LOCKED, "comfygit-orchestrator status --workspace /ws"),
    ],
)
def test_a_refused_switch_says_why_and_what_to_do_about_that(why, step):
    history = serving()
    refused = SwitchRefused(target="nope", source="old", origin=Origin.CLI, why=why, message="it cannot be")
    seq = history.add(refused)
    shown = story_text(story_of(history.events, seq), OLD_SERVES, "/ws")
    assert shown.startswith(f"Switch to nope, asked for in event {seq}: refused\n")
    assert section(shown, "went wrong") == "it cannot be"
    assert section(shown, "done") == "nothing: it was not begun"
    assert section(shown, "next").startswith(step)


def test_what_was_not_stopped_answered_all_the_time():
    history = serving()
    history.ask("new", "old")
    history.preflight("new", problem="no main.py")
    history.fail("no main.py", reason="preflight")
    history.end(SwitchRolledBack(environment="old", error="no main.py", nothing_stopped=True))
    shown = text(history)
    assert section(shown, "outage") == "none: old answered all the time"
    assert "old was not stopped" in section(shown, "done")
    assert "switch.preflighted (preflight)" in section(shown, "evidence")


def test_a_recovery_and_a_rollback_are_called_so():
    history = serving()
    history.ask("old", "old", kind=SwitchKind.RECOVER, reason="it crashed")
    assert text(history).startswith("Recovery 16 of old: not over")
    history = serving()
    history.ask("older", "old", kind=SwitchKind.ROLLBACK)
    assert text(history).startswith("Rollback 16: old -> older: not over, preparing")


def test_a_takeover_and_a_start_by_hand_are_mentioned():
    history = serving()
    history.ask("new", "old")
    lost = history.add(OrchestratorLost(identity=SUPERVISOR.identity, signal="SIGKILL"))
    history.end(SwitchAborted(error="by hand", manual=True, recovery_command=""))
    shown = text(history, NOTHING)
    how = f"orchestrator pid {SUPERVISOR.identity.pid} ended by SIGKILL (event {lost}); its successor went on"
    assert f"on the way {how}" in section(shown, "done")
    assert section(shown, "serves now") == "a ComfyUI started by hand; no orchestrator is at work"


def test_a_process_that_is_gone_without_the_journal_knowing_does_not_serve():
    gone = Present(Serving("old", 36, 1036, alive=False), None)
    shown = section(text(rolled_back(), gone), "serves now")
    assert shown == "nothing: old (start 36, pid 1036) was the last, and no longer runs; no orchestrator is at work"


def test_an_outage_that_began_before_what_is_known_is_at_least_so_long():
    history = History()
    history.ask("new", "")
    spawn = history.serve("new")
    history.end(SwitchCriticallyFailed(error="x", recovery_command=""))
    assert spawn
    shown = text(history, NOTHING)
    assert "nobody answered for at least 5.5 s" in shown
    assert "(nothing) -> new" in shown


def test_nothing_that_others_wrote_can_command_the_terminal():
    evil = "\x1b[31m\x1b]0;title\x07\r\nSwitch 99: all is well\u202e"
    history = serving()
    history.ask("new" + evil, "old" + evil)
    spawn = history.spawn("new" + evil)
    error = history.crash(spawn, tail=(evil, evil))
    history.fail(error + evil, spawn=spawn)
    history.probe(spawn, ok=False, error=evil)
    history.end(SwitchCriticallyFailed(error=evil, recovery_command="run " + evil))
    shown = text(history)
    assert all(line.isprintable() for line in shown.splitlines())
    assert not any(line.startswith("Switch 99") for line in shown.splitlines())


def test_without_an_orchestrator_the_first_thing_to_do_is_to_start_one():
    shown = section(text(rolled_back(), NOTHING), "next")
    assert shown.startswith("comfygit-orchestrator spawn --workspace /ws ")


def test_commands_to_paste_quote_what_needs_it():
    history = rolled_back()
    story = attrs.evolve(story_of(history.events), target="a b; rm x")
    shown = story_text(story, OLD_SERVES, "/my ws")
    assert "comfygit-orchestrator switch --workspace '/my ws' 'a b; rm x'" in shown
    assert "less '/my ws/.metadata/logs/new/26.log'" in shown


@pytest.mark.parametrize("make", [completed, rolled_back, broken_target, critical])
def test_the_json_holds_every_field_of_the_story(make):
    story = story_of(make().events)
    document = json.loads(as_json(story_document(story, OLD_SERVES)))
    assert set(document) == {field.name for field in attrs.fields(Story)} | {"present"}
    assert document["at"] == "2026-03-01T12:01:45.900Z"
    assert document["ending"] == story.ending.value
    assert document["present"]["serving"]["environment"] == "old"
    assert [span["name"] for span in document["stages"]] == [span.name for span in story.stages]


def brought_back(*, ok: bool = True, tries: int = 1) -> History:
    """A start with an update fails, and the content of generation 3 comes back over what is generation 40 now."""
    history = serving("old")
    history.crash(history.main)
    history.ask("old", "old", kind=SwitchKind.RECOVER, reason="ComfyUI of old failed: exit code 7")
    history.add(RollbackTried(environment="old", generation=3, attempt=1, restores=True))
    for _ in range(tries - 1):
        history.add(WorkerLost(worker=history.add(RestoreStarted(environment="old", generation=3, saved=40))))
    worker = history.add(RestoreStarted(environment="old", generation=3, saved=40))
    history.add(
        RestoreFinished(
            worker=worker,
            environment="old",
            generation=3,
            ok=ok,
            written=(".cec/pyproject.toml", ".cec/uv.lock") if ok else (),
            removed=(".cec/overlays/new.toml",) if ok else (),
            duration_ns=1,
            error="" if ok else "no space left on device",
        )
    )
    if ok:
        history.sync("old")
        history.serve("old")
        history.end(SwitchRolledBack(environment="old", error="exit code 7", nothing_stopped=False))
    return history


def test_what_was_brought_back_is_told_with_the_way_to_undo_it():
    shown = text(brought_back())
    assert section(shown, "content") == (
        "generation 3 of old brought back: .cec/pyproject.toml, .cec/uv.lock, "
        ".cec/overlays/new.toml (removed); what was there is generation 40"
    )
    assert "comfygit-orchestrator rollback --workspace /ws --to 40" in section(shown, "next")


def test_one_that_was_interrupted_is_told_once_with_what_was_left_to_do():
    shown = section(text(brought_back(tries=2)), "content")
    assert shown.startswith(
        "generation 3 of old brought back, what an interrupted try had left of it: .cec/pyproject.toml, .cec/uv.lock, "
    )
    assert shown.count("generation 3") == 1


def test_a_restore_that_failed_says_why():
    assert "not brought back (no space left on device)" in section(text(brought_back(ok=False)), "content")


def test_a_switch_that_brought_back_what_it_had_overwritten_has_nothing_to_undo():
    undone = serving("old")
    undone.ask("old", "old", kind=SwitchKind.ROLLBACK)
    undone.preflight("old")
    for generation, saved in ((3, 40), (40, 3)):
        worker = undone.add(RestoreStarted(environment="old", generation=generation, saved=saved))
        done = RestoreFinished(
            worker=worker,
            environment="old",
            generation=generation,
            ok=True,
            written=("uv.lock",),
            removed=(),
            duration_ns=1,
            error="",
        )
        undone.add(done)
    undone.sync("old")
    undone.stop(undone.main, "room for old")
    undone.serve("old")
    undone.end(SwitchRolledBack(environment="old", error="it failed", nothing_stopped=False))
    assert "--to" not in section(text(undone), "next")

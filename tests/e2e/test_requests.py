"""Requests and commands as files: whole, half, doubled, too late; and several askers at the same moment."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from journal.events import (
    FileDrifted,
    FileIngested,
    FileRejected,
    LockAcquired,
    Origin,
    ProcessExited,
    RefusalReason,
    RestartRequested,
    ShutdownRequested,
    SwitchRefused,
    SwitchRequested,
)
from tests.helpers.waiting import until

REQUEST = ".switch_request.json"
SCRIPT = Path(sys.executable).with_name("comfygit-orchestrator")


def askers(live, targets):
    """A `switch` command for each of `targets`, all at once; they are not waited for."""
    command = [str(SCRIPT), "switch", "--workspace", str(live.root)]
    return [
        subprocess.Popen([*command, target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for target in targets
    ]


def said(processes):
    """(exit status, what was said) of each, once all have ended."""
    return [(process.returncode, "".join(spoken)) for process in processes for spoken in [process.communicate(60)]]


@pytest.mark.scenario("B-14")
@pytest.mark.parametrize("first", ["file", "commands"])
def test_of_many_requests_at_once_one_wins_and_each_other_is_refused_with_the_holder_named(workspace, first):
    slow = {"start_delay_s": 3}
    live = workspace(good=None, a=slow, b=slow, c=slow, d=slow)
    live.configure(source_grace_s=0)
    live.serve("good")
    if first == "file":
        live.request("d", "good")
        answers = said(askers(live, ["a", "b", "c"]))
    else:
        processes = askers(live, ["a", "b", "c"])
        live.until(lambda state: state.lock is not None)
        live.request("d", "good")
        answers = said(processes)
    live.until(lambda state: bool(live.of(SwitchRequested)) and len(live.of(SwitchRefused)) == 3)
    (won,) = live.recorded(SwitchRequested)
    refused = live.of(SwitchRefused)
    assert {won.event.target, *(event.target for event in refused)} == {"a", "b", "c", "d"}
    assert won.event.origin is (Origin.FILE if first == "file" else Origin.CLI)
    assert len(live.of(LockAcquired)) == 1
    holder = f"switch {won.seq} to '{won.event.target}' holds the lock"
    for event in refused:
        # In the first case a command may come between the panel's touching the lock and its request.
        assert holder in event.message or (first == "file" and event.why is RefusalReason.LOCKED)
    if first == "commands":
        assert all(f"pid {won.event.requester.pid}" in event.message for event in refused)
    messages = {event.message for event in refused if event.origin is Origin.CLI}
    told = [text for status, text in answers if status == 1]
    assert len(told) == len(refused) - (first == "commands")
    assert all(any(message in text for message in messages) for text in told)
    assert live.until_over().serving == won.event.target
    assert live.ask("/stand_in/environ")["cwd"] == str(live.comfyui(won.event.target))


@pytest.mark.scenario("B-14")
def test_a_request_while_a_switch_is_open_is_refused_journaled_and_removed(workspace):
    live = workspace(good=None, slow={"start_delay_s": 1}, third=None)
    live.configure(source_grace_s=0)
    live.serve("good")
    live.request("slow", "good")
    live.until(lambda state: state.lock is not None)
    published = until(lambda: ours(live))
    live.request("third", "good")
    live.until(lambda state: bool(live.of(SwitchRefused)))
    refused, (won, *more) = live.recorded(SwitchRefused)[0], live.recorded(SwitchRequested)
    assert not more
    assert refused.event.why is RefusalReason.SWITCH_OPEN
    assert (refused.event.target, refused.event.origin) == ("third", Origin.FILE)
    assert f"switch {won.seq} to 'slow'" in refused.event.message
    until(lambda: ours(live) == published)
    assert live.status()["target_env"] == "slow"
    assert live.until_over().serving == "slow"
    assert not live.starts("third")


def ours(live):
    """The request as we have published it; None while there is none of ours."""
    try:
        document = json.loads((live.metadata / REQUEST).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return document if "switch_id" in document else None


def test_a_request_in_pieces_is_taken_once_and_whole_and_the_same_file_again_only_removed(workspace):
    live = workspace(good=None, other=None)
    live.configure(source_grace_s=0)
    live.serve("good")
    text = json.dumps({"target_env": "other", "source_env": "good", "timestamp": 1_700_000_000.0})
    (live.metadata / ".switch.lock").touch()
    (live.metadata / REQUEST).touch()
    os.link(live.metadata / REQUEST, live.metadata / "kept.json")
    for piece in (text[:10], text[10:30], text[30:]):
        let_it_look(live)
        with (live.metadata / REQUEST).open("a") as file:
            file.write(piece)
    assert live.until_over().serving == "other"
    (live.metadata / "kept.json").rename(live.metadata / REQUEST)
    until(lambda: not (live.metadata / REQUEST).exists())
    let_it_look(live)
    assert [event.content for event in live.of(FileIngested)] == [text]
    assert len(live.of(SwitchRequested)) == 1
    assert not live.of(SwitchRefused)
    assert not live.of(FileDrifted)
    assert not list(live.metadata.glob("*.taken"))
    assert not live.of(FileRejected)


def test_what_a_crash_left_aside_is_not_asked_for_again(workspace):
    live = workspace(good=None, other=None)
    live.configure(source_grace_s=0)
    live.serve("good")
    (live.metadata / REQUEST).touch()
    os.link(live.metadata / REQUEST, live.metadata / "kept.json")
    live.request("other", "good")
    live.until_over()
    live.stop()
    aside = live.metadata / f"{REQUEST}.tmp.taken"
    (live.metadata / "kept.json").rename(aside)
    live.serve("other")
    until(lambda: not aside.exists())
    let_it_look(live)
    assert len(live.of(FileIngested)) == len(live.of(SwitchRequested)) == 1


def let_it_look(live):
    """Return when its loop has turned some times."""
    for _ in range(5):
        assert live.ask("/health", port=live.control_port())["status"] == "alive"


def test_a_request_that_stays_half_is_rejected_with_its_bytes_kept_and_the_next_one_is_taken(workspace):
    live = workspace(good=None, other=None)
    live.configure(source_grace_s=0)
    live.serve("good")
    half = b'{"target_env": "oth\xff'
    (live.metadata / REQUEST).write_bytes(half)
    live.until(lambda state: bool(live.of(FileRejected)))
    rejected = live.of(FileRejected)[0]
    assert base64.b64decode(rejected.content_base64) == half
    told = live.shown("rolled_back")
    assert (told["target_env"], told["progress"]) == ("unknown", 100)
    assert rejected.why in told["error"]
    until(lambda: not (live.metadata / REQUEST).exists())
    live.request("other", "good")
    assert live.until_over().serving == "other"


@pytest.mark.scenario("OL-04")
def test_a_43_whose_request_is_still_being_written_waits_for_it(workspace):
    live = workspace(good=None, other=None)
    live.serve("good")
    let_it_look(live)
    with (live.metadata / REQUEST).open("w") as file:
        file.write('{"target_env": ')
        file.flush()
        live.leave(43)
        until(lambda: not is_answering(live))
        let_it_look(live)
        assert not live.of(ProcessExited)
        file.write('"other", "source_env": "good", "timestamp": 1700000000.0}')
    assert live.until_over().serving == "other"
    assert len(live.starts("good")) == 1


def is_answering(live):
    """Whether something answers on the workspace's port."""
    try:
        live.ask("/system_stats")
    except OSError:
        return False
    return True


def test_a_request_for_what_serves_already_ends_the_dialog_as_complete(workspace):
    live = workspace(good=None)
    live.serve("good")
    live.request("good", "good")
    live.until(lambda state: bool(live.of(SwitchRefused)))
    assert live.shown("complete")["target_env"] == "good"
    assert not live.of(SwitchRequested)


def test_a_request_from_before_our_start_by_more_than_5_minutes_is_stale(workspace):
    live = workspace(good=None, other=None)
    live.request("other", "good")
    old_s = (live.metadata / REQUEST).stat().st_mtime - 400
    os.utime(live.metadata / REQUEST, (old_s, old_s))
    os.utime(live.metadata / ".switch.lock", (old_s, old_s))
    live.serve("good")
    assert not live.starts("other")
    assert "s old when the orchestrator started" in live.of(FileRejected)[0].why
    until(lambda: not (live.metadata / ".switch.lock").exists())


def test_a_restart_a_shutdown_and_nonsense_by_cmd(workspace):
    live = workspace(good=None)
    process = live.serve("good")
    live.command(command="explode")
    live.until(lambda state: bool(live.of(FileRejected)))
    assert json.loads(base64.b64decode(live.of(FileRejected)[0].content_base64)) == {"command": "explode"}
    live.command(command="restart", timestamp=1_700_000_000.0, reason="new node")
    live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    asked = live.of(RestartRequested)[0]
    assert (asked.origin, asked.reason) == (Origin.FILE, "new node")
    until(lambda: not (live.metadata / ".cmd").exists())
    live.command(command="shutdown", timestamp=1_700_000_000.0)
    assert process.wait(10) == 0
    assert live.of(ShutdownRequested)[0].origin == Origin.FILE
    assert not is_answering(live)
    assert not (live.metadata / ".cmd").exists()

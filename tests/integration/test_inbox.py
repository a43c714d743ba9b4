"""Foreign files as facts: real files, written as others write them."""

import json
import os
from pathlib import Path

import attrs
import pytest

from journal import clock
from journal.clock import S, Stamp
from orchestrator.inbox import COMMAND, READ_BYTES, Inbox, aside_of, settle_asides
from orchestrator.world import AskKind
from projections.views import REQUEST


@pytest.fixture
def now() -> Stamp:
    return clock.read()


@pytest.fixture
def inbox(tmp_path, now) -> Inbox:
    return Inbox(tmp_path, now)


def later(stamp: Stamp, by_s: float) -> Stamp:
    return attrs.evolve(
        stamp, monotonic_ns=stamp.monotonic_ns + round(by_s * S), wall_ns=stamp.wall_ns + round(by_s * S)
    )


def only(inbox: Inbox, now: Stamp):
    (item,) = inbox.look(now)
    return item


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_nothing_there_is_nothing_seen(inbox, now):
    assert inbox.look(now) == ()


def test_a_request_is_understood(inbox, tmp_path, now):
    write(tmp_path, REQUEST, {"target_env": "beta", "source_env": "alpha", "timestamp": 1.5})
    item = only(inbox, now)
    assert (item.kind, item.target, item.source) == (AskKind.SWITCH, "beta", "alpha")


def test_a_request_without_a_source_is_understood(inbox, tmp_path, now):
    write(tmp_path, REQUEST, {"target_env": "beta", "source_env": None})
    assert only(inbox, now).source == ""


@pytest.mark.parametrize("torn", ["", "{", '{"target_env": "be', "\x00\x00"])
def test_a_torn_request_is_unfinished_for_two_seconds_and_then_rejected_with_its_bytes(inbox, tmp_path, now, torn):
    write(tmp_path, REQUEST, torn)
    assert only(inbox, now).kind is AskKind.UNFINISHED
    assert only(inbox, later(now, 1.9)).kind is AskKind.UNFINISHED
    rejected = only(inbox, later(now, 2.0))
    assert rejected.kind is AskKind.REJECTED
    assert "not JSON" in rejected.problem


def test_a_torn_request_that_goes_on_being_written_starts_its_two_seconds_anew(inbox, tmp_path, now):
    path = write(tmp_path, REQUEST, "{")
    assert only(inbox, now).kind is AskKind.UNFINISHED
    path.write_text('{"target_env"')
    assert only(inbox, later(now, 2.5)).kind is AskKind.UNFINISHED
    path.write_text('{"target_env": "beta"}')
    assert only(inbox, later(now, 2.6)).kind is AskKind.SWITCH


@pytest.mark.parametrize(
    "document",
    [
        [],
        '"text"',
        7,
        None,
        {},
        {"target_env": 7},
        {"target_env": ""},
        {"target_env": None},
        {"target_env": "b", "source_env": 3},
        {"target_env": "b", "timestamp": "now"},
        {"target_env": "b", "timestamp": True},
        {"target_env": "b", "timestamp": None},
        '{"target_env": "b", "timestamp": 1e999}',
    ],
)
def test_a_request_of_the_wrong_shape_is_rejected_at_once(inbox, tmp_path, now, document):
    write(tmp_path, REQUEST, document)
    item = only(inbox, now)
    assert item.kind is AskKind.REJECTED
    assert item.problem


def test_our_own_view_is_no_request(inbox, tmp_path, now):
    write(tmp_path, REQUEST, {"target_env": "beta", "source_env": None, "timestamp": 1.0, "switch_id": 4})
    assert inbox.look(now, seq=4) == ()


@pytest.mark.parametrize("number", [5, 0, -1, True, "4", None, 4.0])
def test_a_number_that_the_journal_cannot_know_is_no_view_of_ours(inbox, tmp_path, now, number):
    write(tmp_path, REQUEST, {"target_env": "beta", "switch_id": number})
    (item,) = inbox.look(now, seq=4)
    assert item.kind is AskKind.SWITCH


@pytest.mark.parametrize("field", ["target_env", "source_env"])
def test_text_that_is_no_unicode_is_rejected(inbox, tmp_path, now, field):
    write(tmp_path, REQUEST, {"target_env": "a", field: "x\ud800"})
    assert only(inbox, now).kind is AskKind.REJECTED


def test_a_source_that_is_no_name_is_rejected(inbox, tmp_path, now):
    write(tmp_path, REQUEST, {"target_env": "a", "source_env": "../elsewhere"})
    assert only(inbox, now).kind is AskKind.REJECTED


def test_a_wall_clock_that_steps_back_makes_no_later_request_old(inbox, tmp_path, now):
    path = write(tmp_path, REQUEST, {"target_env": "beta"})
    os.utime(path, ns=(now.wall_ns, now.wall_ns - 3_600 * S))
    assert only(inbox, now).kind is AskKind.SWITCH
    write(tmp_path, COMMAND, {"command": "restart"})
    os.utime(tmp_path / COMMAND, ns=(now.wall_ns, now.wall_ns - 3_600 * S))
    assert [item.kind for item in inbox.look(now)] == [AskKind.RESTART, AskKind.SWITCH]


def test_a_request_that_was_old_when_we_started_is_stale(tmp_path, now):
    path = write(tmp_path, REQUEST, {"target_env": "beta"})
    os.utime(path, ns=(now.wall_ns, now.wall_ns - 301 * S))
    item = only(Inbox(tmp_path, now), now)
    assert item.kind is AskKind.REJECTED
    assert "old" in item.problem


def test_a_command_from_before_our_start_is_stale(tmp_path, now):
    path = write(tmp_path, COMMAND, {"command": "shutdown"})
    os.utime(path, ns=(now.wall_ns, now.wall_ns - 5 * S))
    assert only(Inbox(tmp_path, now), now).kind is AskKind.REJECTED


def test_a_command_to_a_predecessor_that_was_killed_is_taken_up(tmp_path, now):
    path = write(tmp_path, COMMAND, {"command": "restart"})
    os.utime(path, ns=(now.wall_ns, now.wall_ns - 5 * S))
    assert only(Inbox(tmp_path, None), now).kind is AskKind.RESTART


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"command": "restart", "reason": "new node"}, AskKind.RESTART),
        ({"command": "shutdown", "timestamp": 3.0}, AskKind.SHUTDOWN),
        ({"command": "abort_switch", "pid": 4711}, AskKind.ABORT),
        ({"command": "dance"}, AskKind.REJECTED),
        ({"command": ["restart"]}, AskKind.REJECTED),
        ({"command": "restart", "pid": "7"}, AskKind.REJECTED),
        ({"command": "restart", "pid": True}, AskKind.REJECTED),
        ({"command": "restart", "pid": 0}, AskKind.REJECTED),
        ({"command": "restart", "pid": 10**4000}, AskKind.REJECTED),
        ({"command": "restart", "reason": 7}, AskKind.REJECTED),
        ({"command": "restart", "reason": "\ud800"}, AskKind.REJECTED),
        ({"command": "restart", "timestamp": "now"}, AskKind.REJECTED),
        ({"command": "restart", "pid": None, "reason": None}, AskKind.RESTART),
    ],
)
def test_commands(inbox, tmp_path, now, document, kind):
    write(tmp_path, COMMAND, document)
    assert only(inbox, now).kind is kind


def test_the_command_comes_before_the_request(inbox, tmp_path, now):
    write(tmp_path, REQUEST, {"target_env": "beta"})
    write(tmp_path, COMMAND, {"command": "abort_switch"})
    assert [item.name for item in inbox.look(now)] == [COMMAND, REQUEST]


def test_a_link_a_folder_a_pipe_and_a_huge_file_are_rejected_and_never_waited_for(inbox, tmp_path, now):
    elsewhere = write(tmp_path, "elsewhere", {"target_env": "beta"})
    path = tmp_path / REQUEST
    for make, undo in (
        (lambda: path.symlink_to(elsewhere), path.unlink),
        (path.mkdir, path.rmdir),
        (lambda: os.mkfifo(path), path.unlink),
        (lambda: path.write_text(json.dumps({"target_env": "b" * READ_BYTES})), path.unlink),
    ):
        make()
        assert only(inbox, now).kind is AskKind.REJECTED
        undo()


@pytest.mark.parametrize(
    "text",
    [
        '{"target_env": "b", "target_env": "c"}',
        '{"target_env": "b", "timestamp": NaN}',
        '{"target_env": "b", "timestamp": ' + "1" * 5_000 + "}",
    ],
)
def test_what_python_would_read_but_nobody_can_mean_is_rejected(inbox, tmp_path, now, text):
    write(tmp_path, REQUEST, text)
    only(inbox, now)
    assert only(inbox, later(now, 2)).kind is AskKind.REJECTED


def test_a_request_with_a_byte_order_mark_is_understood_and_kept_with_it(inbox, tmp_path, now):
    text = '\ufeff{"target_env": "beta"}'
    write(tmp_path, REQUEST, text)
    item = only(inbox, now)
    assert (item.kind, item.target, item.content) == (AskKind.SWITCH, "beta", text)


def test_a_rejected_request_says_which_environment_it_named(inbox, tmp_path, now):
    write(tmp_path, REQUEST, {"target_env": "b" * 300, "timestamp": "now"})
    item = only(inbox, now)
    assert (item.kind, item.target) == (AskKind.REJECTED, "b" * 255)


def test_a_link_to_a_folder_is_taken_away_and_the_folder_left(inbox, tmp_path, now):
    (tmp_path / "folder").mkdir()
    (tmp_path / REQUEST).symlink_to(tmp_path / "folder")
    seen = only(inbox, now)
    assert inbox.set_aside(seen.name, seen.key)
    inbox.drop_aside(seen.name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_was_taken_lies_aside_until_it_is_dropped(inbox, tmp_path, now):
    path = write(tmp_path, REQUEST, {"target_env": "beta"})
    seen = only(inbox, now)
    assert inbox.set_aside(seen.name, seen.key)
    assert not path.exists()
    assert aside_of(path).exists()
    inbox.drop_aside(seen.name)
    inbox.drop_aside(seen.name)
    assert list(tmp_path.iterdir()) == []


class Replacing(Inbox):
    """Somebody writes another file in the moment between the look and the renaming, and perhaps a third one after it."""

    then: tuple[str, ...] = ()

    def set_aside(self, name, key):
        rename = Path.rename

        def late(path, target):
            with pytest.MonkeyPatch.context() as undone:
                undone.setattr(Path, "rename", rename)
                for number, text in enumerate(self.then):
                    other = path.with_name(f"other-{number}")
                    other.write_text(text)
                    other.replace(path)
                    if number == 0:
                        path.rename(target)
            return target

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Path, "rename", late)
            return super().set_aside(name, key)


@pytest.mark.parametrize("then", [("gamma",), ("gamma", "delta")], ids=["one", "and a third"])
def test_a_file_that_replaces_the_one_seen_is_not_lost(tmp_path, now, then):
    inbox = Replacing(tmp_path, now)
    inbox.then = tuple(json.dumps({"target_env": target}) for target in then)
    path = write(tmp_path, REQUEST, {"target_env": "beta"})
    seen = only(inbox, now)
    assert not inbox.set_aside(seen.name, seen.key)
    assert [path.name for path in tmp_path.iterdir()] == [path.name]
    assert only(inbox, now).target == then[-1]


@pytest.mark.parametrize(
    ("in_its_place", "journaled", "left"),
    [
        (None, True, None),
        (None, False, "beta"),
        ({"target_env": "alpha", "switch_id": 3}, True, "alpha"),
        ({"target_env": "alpha", "switch_id": 3}, False, "beta"),
        ({"target_env": "newer"}, True, "newer"),
        ({"target_env": "newer"}, False, "newer"),
    ],
)
def test_what_a_crash_left_aside_is_removed_but_one_that_nobody_has_journaled_is_not_lost(
    inbox, tmp_path, now, in_its_place, journaled, left
):
    path = write(tmp_path, REQUEST, {"target_env": "beta"})
    seen = only(inbox, now)
    assert inbox.set_aside(seen.name, seen.key)
    if in_its_place is not None:
        write(tmp_path, REQUEST, in_its_place)
    settle_asides(tmp_path, {seen.key} if journaled else set(), seq=5)
    assert not aside_of(path).exists()
    found = json.loads(path.read_text())["target_env"] if path.exists() else None
    assert found == left


def test_one_that_cannot_be_removed_is_not_seen_again(inbox, tmp_path, now):
    path = tmp_path / REQUEST
    (path / "full").mkdir(parents=True)
    seen = only(inbox, now)
    assert not inbox.set_aside(seen.name, seen.key)
    assert inbox.look(now) == ()
    (path / "full").rmdir()
    path.rmdir()
    write(tmp_path, REQUEST, {"target_env": "beta"})
    assert only(inbox, now).kind is AskKind.SWITCH


def test_deeply_nested_json_is_no_request_and_no_crash(inbox, tmp_path, now):
    write(tmp_path, REQUEST, "[" * 60_000)
    assert only(inbox, now).kind is AskKind.UNFINISHED


def test_only_the_file_that_was_seen_is_removed(inbox, tmp_path, now):
    path = write(tmp_path, REQUEST, {"target_env": "beta"})
    seen = only(inbox, now)
    path.write_text(json.dumps({"target_env": "gamma"}))
    assert not inbox.set_aside(seen.name, seen.key)
    assert path.exists()
    assert inbox.set_aside(seen.name, only(inbox, now).key)
    assert not path.exists()

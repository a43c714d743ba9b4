"""Views on a real disk: what is written, what is left alone, what somebody else changed."""

import json
import os
import resource
import stat
import threading

import pytest

from journal.events import ControlListening, OrchestratorStopped
from projections.publisher import NOT_A_FILE, Drift, Publisher, compare, is_ours, read_bytes
from projections.views import CONTROL_PORT, LOCK, PID, REQUEST, STATUS, views
from tests.helpers.histories import History


@pytest.fixture
def publisher(tmp_path):
    return Publisher(tmp_path)


@pytest.fixture
def switching():
    return History().serving("a").switching("b")


def present(folder):
    return {path.name for path in folder.iterdir()}


def test_every_view_is_written_byte_for_byte(tmp_path, publisher, switching):
    assert publisher.publish(switching.state) == ()

    wanted = {name: content for name, content in views(switching.state).items() if content is not None}
    assert present(tmp_path) == set(wanted) == {PID, LOCK, REQUEST, STATUS}
    assert {name: (tmp_path / name).read_bytes() for name in wanted} == wanted
    assert compare(tmp_path, views(switching.state)) == ()


def test_views_are_for_their_owner_alone(tmp_path, publisher, switching):
    before = os.umask(0)
    try:
        publisher.publish(switching.state)
    finally:
        os.umask(before)

    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in present(tmp_path)} == {0o600}


def test_what_is_no_longer_true_is_removed(tmp_path, publisher, switching):
    publisher.publish(switching.state)
    publisher.publish(switching.completed().state)

    assert present(tmp_path) == {PID, STATUS}


def test_what_is_right_already_is_not_written_again(tmp_path, publisher, switching):
    publisher.publish(switching.state)
    before = {name: (tmp_path / name).stat().st_ino for name in present(tmp_path)}

    publisher.publish(switching.state)

    assert {name: (tmp_path / name).stat().st_ino for name in present(tmp_path)} == before


def test_a_deleted_view_comes_back_and_is_reported(tmp_path, publisher, switching):
    publisher.publish(switching.state)
    (tmp_path / LOCK).unlink()
    (tmp_path / PID).write_bytes(b"999")

    drifted = publisher.publish(switching.state)

    assert set(drifted) == {
        Drift(LOCK, views(switching.state)[LOCK], None),
        Drift(PID, b"100", b"999"),
    }
    assert compare(tmp_path, views(switching.state)) == ()


def test_a_view_that_somebody_wrote_where_there_is_none_is_removed_and_reported(tmp_path, publisher, switching):
    publisher.publish(switching.state)
    (tmp_path / CONTROL_PORT).write_bytes(b"1")

    assert publisher.publish(switching.state) == (Drift(CONTROL_PORT, None, b"1"),)
    assert CONTROL_PORT not in present(tmp_path)


def test_what_we_changed_ourselves_is_no_drift(publisher, switching):
    publisher.publish(switching.state)
    switching.add(ControlListening(host="127.0.0.1", port=5051))

    assert publisher.publish(switching.state) == ()


def test_a_foreign_request_that_we_took_away_ourselves_is_no_drift(tmp_path, publisher, switching):
    (tmp_path / REQUEST).write_text('{"target_env": "b"}')
    assert publisher.publish(switching.state) == ()
    (tmp_path / REQUEST).unlink()

    assert publisher.publish(switching.state) == ()
    assert is_ours((tmp_path / REQUEST).read_bytes(), switching.state.seq)


def test_a_view_that_cannot_be_written_has_not_been_changed_by_anybody(tmp_path, publisher, switching):
    (tmp_path / f"{LOCK}.tmp.{os.getpid()}").mkdir()

    assert [publisher.publish(switching.state) for _ in range(3)] == [(), (), ()]
    assert publisher.problems


def test_what_was_there_before_us_is_no_drift(tmp_path, publisher, switching):
    (tmp_path / PID).write_bytes(b"999")

    assert publisher.publish(switching.state) == ()
    assert (tmp_path / PID).read_bytes() == b"100"


@pytest.mark.parametrize(
    "content", [b"", b'{"target_env": "c"', b'{"target_env": "c"}', b"[1]", b"\xff", b"[" * 100_000]
)
def test_a_request_that_is_not_ours_is_left_until_it_has_been_taken_in(tmp_path, publisher, switching, content):
    (tmp_path / REQUEST).write_bytes(content)

    publisher.publish(switching.state)
    publisher.publish(switching.completed().state)

    assert (tmp_path / REQUEST).read_bytes() == content


def test_a_foreign_lock_is_left_while_there_is_none_of_ours(tmp_path, publisher):
    (tmp_path / LOCK).touch()
    history = History().serving("a")
    publisher.publish(history.state)
    assert (tmp_path / LOCK).read_bytes() == b""

    publisher.publish(history.switching("b").state)
    assert is_ours((tmp_path / LOCK).read_bytes(), history.state.seq)


def test_a_lock_of_ours_is_removed_when_it_is_free(tmp_path, switching):
    Publisher(tmp_path).publish(switching.state)

    Publisher(tmp_path).publish(switching.completed().state)

    assert LOCK not in present(tmp_path)


@pytest.mark.parametrize(
    ("document", "ours"),
    [
        ({"switch_id": 7}, True),
        ({"switch_id": 1}, True),
        ({"switch_id": 8}, False),
        ({"switch_id": 0}, False),
        ({"switch_id": True}, False),
        ({"switch_id": "7"}, False),
        ({"target_env": "b"}, False),
        ([7], False),
    ],
)
def test_ours_are_known_by_the_number_of_a_switch_that_the_journal_can_know(document, ours):
    assert is_ours(json.dumps(document).encode(), 7) is ours


def test_a_folder_in_the_place_of_a_view_is_moved_aside_with_what_is_in_it(tmp_path, publisher, switching):
    (tmp_path / PID / "kept").mkdir(parents=True)

    publisher.publish(switching.state)

    assert publisher.problems == ()
    assert (tmp_path / PID).is_file()
    assert [path.parent.name for path in tmp_path.glob("*/kept")] == [f"{PID}.moved-aside.{os.getpid()}"]


@pytest.mark.parametrize("name", [PID, LOCK, REQUEST])
def test_a_pipe_or_a_link_under_a_views_name_is_never_waited_for_nor_followed(tmp_path, publisher, switching, name):
    endless = tmp_path / "endless"
    endless.symlink_to("/dev/zero")
    for make in (lambda: os.mkfifo(tmp_path / name), lambda: (tmp_path / name).symlink_to(endless)):
        make()
        assert read_bytes(tmp_path / name) == NOT_A_FILE
        publisher.publish(switching.state)
        (tmp_path / name).unlink()


def test_a_view_that_cannot_be_written_keeps_no_other_back_and_is_tried_again(tmp_path, publisher, switching):
    blocked = tmp_path / f"{LOCK}.tmp.{os.getpid()}"
    blocked.mkdir()

    publisher.publish(switching.state)

    assert LOCK in publisher.problems[0]
    assert STATUS in present(tmp_path)
    assert LOCK not in present(tmp_path)
    blocked.rmdir()
    publisher.publish(switching.state)
    assert publisher.problems == ()
    assert LOCK in present(tmp_path)


def test_without_a_descriptor_left_nothing_is_taken_for_changed_and_all_is_looked_at_again(
    tmp_path, publisher, switching
):
    publisher.publish(switching.state)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        drifted = publisher.publish(switching.state)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert drifted == ()
    assert "Too many open files" in publisher.problems[0]
    (tmp_path / STATUS).write_text("{}")

    assert [drift.name for drift in publisher.publish(switching.state)] == [STATUS]
    assert publisher.problems == ()


def test_a_reader_never_sees_half_a_view(tmp_path, publisher):
    """One thread rewrites, this one reads: every reading is a whole document."""
    history, done = History().serving("a"), threading.Event()
    states = [history.switching("b").state, history.preflighted().state]
    publisher.publish(states[0])

    def rewrite() -> None:
        for number in range(100):
            publisher.publish(states[number % 2])
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(json.loads((tmp_path / STATUS).read_bytes())["state"])
    writer.join()

    assert seen <= {"preparing", "syncing"}


def test_a_lock_is_touched_where_it_is(tmp_path, publisher, switching):
    publisher.publish(switching.state)
    os.utime(tmp_path / LOCK, (0, 0))

    publisher.touch(LOCK)
    publisher.touch("no such file")

    assert (tmp_path / LOCK).stat().st_mtime > 0


def test_nothing_but_views_is_touched(tmp_path, publisher, switching):
    (tmp_path / "journal.db").write_bytes(b"the truth")
    publisher.publish(switching.state)
    switching.completed().add(OrchestratorStopped(why="", exit_status=0))
    publisher.publish(switching.state)

    assert present(tmp_path) == {"journal.db", STATUS}

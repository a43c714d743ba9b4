"""ComfyUI's output on stdout: a real file, a real pipe."""

import os

import attrs
import pytest

from journal.clock import Stamp
from journal.codec import own_actor
from journal.events import Role
from journal.identity import own_identity
from orchestrator.foreground import OutputFollower
from orchestrator.ledger import Ledger
from orchestrator.workspace import Workspace
from projections.state import Process, WorkspaceState
from tests.helpers.waiting import until

NOW = Stamp(1, 1, "boot")


def serving(spawn: int) -> WorkspaceState:
    main = Process(
        spawn=spawn,
        role=Role.MAIN,
        environment="a",
        fingerprint="",
        generation=None,
        port=1,
        url="",
        owner=own_identity(),
        since=NOW,
    )
    return attrs.evolve(WorkspaceState(), main=spawn, processes={spawn: main})


@pytest.fixture
def ledger(tmp_path):
    (tmp_path / ".metadata/logs/a").mkdir(parents=True)
    with Ledger.open(Workspace(tmp_path), own_actor("test")) as opened:
        yield opened


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return b""


def log_of(ledger, spawn):
    return ledger.workspace.log_path("a", spawn)


def test_what_is_printed_from_now_on_is_copied_and_the_next_start_from_its_first_byte(ledger, pipe):
    log_of(ledger, 3).write_bytes(b"long ago\n")
    ledger.state = serving(3)
    follower = OutputFollower(ledger, pipe[1])
    follower.start()
    with log_of(ledger, 3).open("ab") as log:
        log.write(b"now \xff\n")
    assert until(lambda: read(pipe[0])) == b"now \xff\n"
    log_of(ledger, 9).write_bytes(b"again\n")
    ledger.state = serving(9)
    assert until(lambda: read(pipe[0])) == b"again\n"
    follower.stop()


def test_the_rest_is_copied_at_the_end(ledger, pipe):
    follower = OutputFollower(ledger, pipe[1])
    follower.start()
    log_of(ledger, 3).write_bytes(b"last words\n")
    ledger.state = serving(3)
    follower.stop()
    assert read(pipe[0]) == b"last words\n"


def test_a_reader_who_stops_reading_holds_up_nobody(ledger, pipe):
    log_of(ledger, 3).write_bytes(b"")
    ledger.state = serving(3)
    follower = OutputFollower(ledger, pipe[1])
    follower.start()
    log_of(ledger, 3).write_bytes(b"x" * (1 << 20))
    follower.stop()
    until(lambda: not read(pipe[0]))


def test_what_was_cut_out_meanwhile_is_passed_over(ledger, pipe):
    log = log_of(ledger, 3)
    log.write_bytes(b"")
    ledger.state = serving(3)
    follower = OutputFollower(ledger, pipe[1])
    with log.open("r+b") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"newest\n")
    follower.start()
    assert until(lambda: read(pipe[0])) == b"newest\n"
    follower.stop()

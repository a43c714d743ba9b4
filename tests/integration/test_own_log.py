"""The orchestrator's own log: to its file at once, to a terminal as soon as that takes it."""

import io
import logging
import os
import stat
import threading

import pytest

from orchestrator.own_log import WAITING_MAX, own_log
from tests.helpers.waiting import PATIENCE_S, until

LOG = logging.getLogger("orchestrator.somewhere")


@pytest.fixture
def pipe():
    """What reads us, and may stop doing so; where we write."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", buffering=0) as reader:
        yield reader, writing
    for thread in threading.enumerate():
        if thread.name == "log":
            thread.join(PATIENCE_S)  # nobody reads any more: it ends before its descriptor can be another's
            assert not thread.is_alive()
    os.close(writing)


def heard(reader: io.FileIO) -> bytes:
    return reader.read(1 << 20) or b""


def test_what_is_said_is_in_the_file_and_on_the_terminal(tmp_path, pipe):
    reader, terminal = pipe
    with own_log(tmp_path / "own.log", terminal):
        LOG.warning("first")
        assert b"first" in until(lambda: heard(reader))
        assert "first" in (tmp_path / "own.log").read_text()
        LOG.warning("last words")
    assert b"last words" in heard(reader)
    assert stat.S_IMODE((tmp_path / "own.log").stat().st_mode) == 0o600


def test_a_terminal_that_takes_nothing_holds_nobody_up_and_is_told_what_it_missed(tmp_path, pipe):
    reader, terminal = pipe
    with own_log(tmp_path / "own.log", terminal):
        for number in range(WAITING_MAX + 2_000):  # some fill the pipe
            LOG.warning("%d %s", number, "x" * 100)
        assert (tmp_path / "own.log").read_text().count("\n") == WAITING_MAX + 2_000
        said = b""
        while b" 0 x" not in said:
            said += until(lambda: heard(reader))

        def caught_up() -> bool:
            nonlocal said
            LOG.warning("caught up")
            said += heard(reader)
            return b"caught up" in said

        until(caught_up)
    assert b"lines are in the log file alone)" in said


def test_nobody_waits_for_a_terminal_at_the_end(tmp_path, pipe):
    reader, terminal = pipe
    with own_log(tmp_path / "own.log", terminal):
        for number in range(WAITING_MAX):
            LOG.warning("%d %s", number, "x" * 1_000)
    assert b" 0 x" in until(lambda: heard(reader))


def test_one_that_is_gone_costs_nothing(tmp_path, pipe):
    reader, terminal = pipe
    reader.close()
    with own_log(tmp_path / "own.log", terminal):
        for _ in range(WAITING_MAX * 2):
            LOG.warning("said to nobody")
    assert (tmp_path / "own.log").read_text().count("said to nobody") == WAITING_MAX * 2


def test_without_a_file_stderr_is_it(capsys):
    with own_log(None):
        LOG.warning("detached")
    assert "detached" in capsys.readouterr().err

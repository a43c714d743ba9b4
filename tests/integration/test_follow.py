"""Following a journal that others write."""

import itertools
import sys
import threading
from pathlib import Path

import pytest

from journal import Anchor, Journal
from journal.doorbell import Doorbell
from tests.helpers.journals import new_journal, probes

FAR_TOO_LONG_S = 50.0
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="inotify")


def append_soon(folder: Path, *batches: int) -> threading.Thread:
    """Append batches of so many probes from another thread's connection, one after the other."""

    def run() -> None:
        with new_journal(folder) as journal:
            for count in batches:
                journal.append(probes(count))

    thread = threading.Timer(0.05, run)
    thread.start()
    return thread


def test_what_is_there_comes_first(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(3))
        following = journal.follow(after=2)
        assert [record.seq for record in itertools.islice(following, 2)] == [3, 4]
        following.close()


@linux_only
def test_the_head_file_wakes_a_follower(tmp_path):
    with new_journal(tmp_path) as journal, Journal.open_readonly(journal.path) as reader:
        following = reader.follow(after=1, poll_s=FAR_TOO_LONG_S)
        writer = append_soon(tmp_path, 1, 2, 1)
        assert [record.seq for record in itertools.islice(following, 4)] == [2, 3, 4, 5]
        following.close()
        writer.join()


@pytest.mark.parametrize("head_file", ["missing", "unwritable"])
def test_a_follower_looks_by_itself_when_nothing_wakes_it(tmp_path, head_file):
    with new_journal(tmp_path) as journal, Journal.open_readonly(journal.path) as reader:
        path = journal.path.with_suffix(".head")
        path.unlink()
        if head_file == "unwritable":
            path.mkdir()
        following = reader.follow(after=1, poll_s=0.02)
        writer = append_soon(tmp_path, 1)
        assert next(following).seq == 2
        following.close()
        writer.join()


def test_a_head_file_that_cannot_be_written_does_not_fail_the_append(tmp_path):
    with new_journal(tmp_path) as journal:
        path = journal.path.with_suffix(".head")
        path.unlink()
        path.mkdir()

        assert journal.append(probes(1))[0].seq == 2
        assert "could not be written" in journal.anchor_problem

        path.rmdir()
        journal.append(probes(1))
        assert journal.anchor() is Anchor.OK


@linux_only
def test_a_head_file_that_was_replaced_is_watched_again(tmp_path):
    with new_journal(tmp_path) as journal:
        path = journal.path.with_suffix(".head")
        bell = Doorbell(path)
        path.rename(path.with_suffix(".old"))
        bell.wait(FAR_TOO_LONG_S)
        journal.append(probes(1))
        bell.wait(FAR_TOO_LONG_S)
        journal.append(probes(1))
        bell.wait(FAR_TOO_LONG_S)
        bell.close()


def test_following_ends_when_it_is_told_to(tmp_path):
    with new_journal(tmp_path) as journal:
        looks = iter([False, False, True])
        following = journal.follow(after=0, poll_s=0.01, stop=lambda: next(looks))
        assert [record.seq for record in following] == [1]

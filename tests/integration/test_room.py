"""What has to be had before anything is begun, and a standstill that is said once."""

import logging
import resource
from pathlib import Path

import pytest

from journal.clock import S, Stamp
from journal.errors import JournalBusy, JournalWriteFailed
from orchestrator.room import NoRoom, Standstill, need_descriptors, need_space
from tests.helpers.mounts import needs_mounts
from tests.helpers.own_mounts import Disk, in_own_mounts

PATH = Path("journal.db")


def at(seconds: int) -> Stamp:
    return Stamp(0, seconds * S, "boot")


def open_files() -> list[int]:
    """The descriptors of this process; listing them opens another one for the moment."""
    return sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())


def test_descriptors_are_given_back():
    before = open_files()
    need_descriptors()
    assert open_files() == before


def test_too_few_descriptors_are_said_and_given_back():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(open_files())
    before = open_files()
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 3, hard))
    try:
        with pytest.raises(NoRoom, match="opening 1000 files: Too many open files") as caught:
            need_descriptors(1000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "ulimit -n" in caught.value.hint
    assert open_files() == before


def test_space_is_looked_for_in_a_folder_that_is_made_and_left_empty(tmp_path):
    need_space(tmp_path / "logs")
    assert list((tmp_path / "logs").iterdir()) == []


def test_a_folder_that_cannot_be_made_for_another_reason_is_not_its_business(tmp_path):
    (tmp_path / "logs").write_text("in the way")
    need_space(tmp_path / "logs")


@needs_mounts
def test_a_full_disk_has_no_space_until_it_has(tmp_path):
    def body():
        disk = Disk(tmp_path / "disk")
        logs = tmp_path / "disk" / "logs"
        disk.fill()
        with pytest.raises(NoRoom, match="No space left on device"):
            need_space(logs)
        disk.free()
        need_space(logs)
        disk.make_read_only(tmp_path / "disk")
        with pytest.raises(NoRoom, match="Read-only file system"):
            need_space(logs)
        disk.relieve()
        assert list(logs.iterdir()) == []

    in_own_mounts(body)


def test_a_standstill_is_said_once_for_each_cause_and_when_it_is_over(caplog):
    caplog.set_level(logging.WARNING)
    standstill = Standstill()
    standstill.end(at(0))
    assert caplog.messages == []
    for second in range(3):
        standstill.note(JournalWriteFailed(PATH, "the disk is full"), at(second))
    standstill.note(JournalBusy(PATH, 4711, "holds it"), at(5))
    standstill.end(at(9))
    standstill.end(at(10))
    full, busy, over = caplog.messages
    assert full.startswith("write to journal.db: the disk is full; free some disk space")
    assert "process 4711 holds it" in busy
    assert over == "going on after a standstill of 9.0 s"

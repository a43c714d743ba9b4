import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from orchestrator.doorbell import EVERYTHING, Doorbell, is_noise
from tests.helpers.waiting import until_async

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify")


class Bell:
    def __init__(self, folder: Path) -> None:
        self.rings = 0
        self.names: set[str] = set()
        self.doorbell = Doorbell(folder, self.ring)

    def ring(self) -> None:
        self.rings += 1
        self.names |= self.doorbell.take()

    async def heard(self, *names: str) -> None:
        await until_async(lambda: set(names) <= self.names)


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def with_bell(folder: Path, body: Callable[[Bell], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        bell = Bell(folder)
        assert bell.doorbell.start(asyncio.get_running_loop())
        try:
            await body(bell)
        finally:
            bell.doorbell.stop()

    asyncio.run(main())


def test_a_file_written_and_closed_rings_not_one_still_open(tmp_path):
    async def body(bell: Bell) -> None:
        with (tmp_path / ".cmd").open("w") as file:
            file.write("{")
            file.flush()
            (tmp_path / "another").touch()
            await bell.heard("another")
            assert bell.names == {"another"}
        await bell.heard(".cmd")

    with_bell(tmp_path, body)


def test_a_rename_rings_for_both_names_and_a_deletion_for_its_own(tmp_path):
    (tmp_path / "old").touch()
    (tmp_path / "gone").touch()

    async def body(bell: Bell) -> None:
        (tmp_path / "old").rename(tmp_path / "new")
        (tmp_path / "gone").unlink()
        await bell.heard("old", "new", "gone")

    with_bell(tmp_path, body)


def test_noise_wakes_nobody(tmp_path):
    async def body(bell: Bell) -> None:
        for name in ("orchestrator.log", "supervisor-switch.log", ".x.tmp.1", "journal.db-wal", "journal.db-shm"):
            (tmp_path / name).touch()
        (tmp_path / ".x.tmp.1").rename(tmp_path / ".x")
        await bell.heard(".x")
        assert bell.names == {".x"}

    with_bell(tmp_path, body)


@pytest.mark.parametrize(
    ("name", "noise"),
    [
        (".switch_status.json.tmp.123.4", True),
        ("orchestrator.log", True),
        ("journal.db-wal", True),
        ("journal.head", False),
        (".cmd.tmp.77", True),
        (".switch_request.json", False),
        ("orchestrator.log.1", False),
        ("journal.db", True),
        ("journal.lock", True),
        (".orchestrator.lock", True),
        (".switch.lock", False),
        (".cmd", False),
    ],
)
def test_what_is_noise(name, noise):
    assert is_noise(name) == noise


def test_many_changes_are_few_calls_and_taken_once(tmp_path):
    async def body(bell: Bell) -> None:
        names = [f"file {number}" for number in range(500)]
        for name in names:
            (tmp_path / name).touch()
        await bell.heard(*names)
        assert bell.rings < 100
        assert bell.doorbell.take() == frozenset()

    with_bell(tmp_path, body)


def test_names_that_are_not_text_are_heard_too(tmp_path):
    async def body(bell: Bell) -> None:
        name = os.fsdecode(b"caf\xe9")
        (tmp_path / name).touch()
        await bell.heard(name)

    with_bell(tmp_path, body)


def test_the_folder_deleted_rings_for_everything_and_it_can_be_started_again(tmp_path):
    folder = tmp_path / ".metadata"
    folder.mkdir()

    async def body(bell: Bell) -> None:
        shutil.rmtree(folder)
        await bell.heard(EVERYTHING)
        assert not bell.doorbell.is_watching
        assert not bell.doorbell.start(asyncio.get_running_loop()), "nothing there to watch"
        folder.mkdir()
        assert bell.doorbell.start(asyncio.get_running_loop())
        (folder / "again").touch()
        await bell.heard("again")

    with_bell(folder, body)


def test_the_folder_moved_away_rings_for_everything(tmp_path):
    folder = tmp_path / ".metadata"
    folder.mkdir()

    async def body(bell: Bell) -> None:
        folder.rename(tmp_path / "elsewhere")
        await bell.heard(EVERYTHING)
        assert not bell.doorbell.is_watching

    with_bell(folder, body)


def test_lost_count_rings_for_everything_and_goes_on(tmp_path):
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip("the queue is too long to be filled")

    async def body(bell: Bell) -> None:
        first, second = tmp_path / "one", tmp_path / "two"
        first.touch()
        for _ in range(limit // 2 + 10):
            first.rename(second)
            second.rename(first)
        await bell.heard(EVERYTHING)
        (tmp_path / "later").touch()
        await bell.heard("later")

    with_bell(tmp_path, body)


def test_stopped_it_is_mute_and_starting_or_stopping_twice_is_harmless(tmp_path):
    async def main() -> None:
        bell, loop = Bell(tmp_path), asyncio.get_running_loop()
        bell.doorbell.stop()
        before = _open_descriptors()
        assert bell.doorbell.start(loop)
        assert bell.doorbell.start(loop)
        bell.doorbell.stop()
        bell.doorbell.stop()
        assert _open_descriptors() == before
        (tmp_path / "unheard").touch()
        await asyncio.sleep(0)
        assert bell.rings == 0

    asyncio.run(main())


def test_without_a_folder_or_with_a_file_in_its_place_it_says_that_it_cannot_watch(tmp_path):
    (tmp_path / "file").touch()

    async def main() -> None:
        for folder in (tmp_path / "missing", tmp_path / "file"):
            assert not Bell(folder).doorbell.start(asyncio.get_running_loop())

    asyncio.run(main())

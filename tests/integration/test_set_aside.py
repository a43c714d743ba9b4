"""What becomes of a node that was set aside, by what core did in its place and how it ended."""

from pathlib import Path

import pytest

from orchestrator.environments.set_aside import SetAside, set_aside, settle
from orchestrator.environments.sync_record import SyncRecord, undo_interrupted
from tests.helpers.content_fixtures import git, write

WHY = "2 here, 1 in the manifest"


class Sync:
    """One that has set the node `sampler` aside."""

    def __init__(self, root: Path) -> None:
        self.cec, self.custom_nodes, self.cache = root / ".cec", root / "custom_nodes", root / "cache"
        self.node = self.custom_nodes / "sampler"
        write(self.cec / "pyproject.toml")
        write(self.node / "mine.py", "an hour of work")
        write(self.cache / "node.py", "by core")
        write(self.cache / "lib" / "more.py", "by core")
        self.begin()

    def begin(self) -> None:
        self.record, self.aside = SyncRecord(self.cec), list[SetAside]()
        set_aside(self.custom_nodes, [("sampler", WHY)], self.record, self.aside)

    def copy(self, **files: str) -> None:
        """As core does, into a new folder; not to the end."""
        self.record.copying("sampler", self.cache)
        for name, content in files.items():
            write(self.node / f"{name}.py", content)

    def end(self, *, killed: bool) -> str:
        """What is said of it."""
        if killed:
            said = undo_interrupted(self.cec, self.custom_nodes)
        else:
            changed, warned = settle(self.aside, self.record)
            said = changed + warned
            self.record.close()
        return "; ".join(said)

    def set_aside_folders(self) -> list[Path]:
        return sorted(self.custom_nodes.glob("sampler.*.disabled"))


@pytest.fixture
def sync(tmp_path) -> Sync:
    return Sync(tmp_path)


ends = pytest.mark.parametrize("killed", [False, True], ids=["failed", "killed"])


@ends
def test_without_another_in_its_place_it_returns(sync, killed):
    assert sync.end(killed=killed)
    assert (sync.node / "mine.py").exists()
    assert sync.set_aside_folders() == []


@pytest.mark.scenario("B-45")
@ends
@pytest.mark.parametrize("content", ["by core", "by", ""], ids=["a file is missing", "cut short", "empty"])
def test_it_returns_in_place_of_half_a_copy_however_often(sync, killed, content):
    for _ in range(3):
        sync.copy(node=content)
        assert sync.end(killed=killed)
        assert [file.name for file in sync.node.iterdir()] == ["mine.py"]
        assert sync.set_aside_folders() == []
        sync.begin()


@pytest.mark.scenario("B-45")
@ends
@pytest.mark.parametrize("file", ["node", "notes"])
def test_what_somebody_put_into_half_a_copy_is_kept_and_named(sync, killed, file):
    sync.copy(**{"node": "by core", file: "mine, too"})
    said = sync.end(killed=killed)
    assert (sync.node / "mine.py").exists()
    (kept,) = sync.set_aside_folders()
    assert (kept / f"{file}.py").read_text() == "mine, too"
    assert str(kept) in said


@pytest.mark.scenario("B-45")
@ends
def test_what_came_into_its_place_without_core_stays_and_both_are_kept(sync, killed):
    write(sync.node / "node.py", "cloned by hand")
    said = sync.end(killed=killed)
    assert (sync.node / "node.py").read_text() == "cloned by hand"
    (kept,) = sync.set_aside_folders()
    assert (kept / "mine.py").exists()
    assert str(kept) in said


@pytest.mark.scenario("B-45")
@ends
def test_a_whole_copy_stays_and_own_work_is_kept_and_named(sync, killed):
    sync.copy(node="by core")
    sync.record.copied("sampler")
    said = sync.end(killed=killed)
    assert (sync.node / "node.py").exists()
    (kept,) = sync.set_aside_folders()
    assert (kept / "mine.py").exists()
    assert str(kept) in said


def test_one_that_holds_nobodys_work_is_deleted_once_another_is_whole(sync, tmp_path):
    (folder,) = sync.set_aside_folders()
    (folder / "mine.py").unlink()
    write(folder / "node.py", "released")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "1")
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    sync.copy(node="by core")
    sync.record.copied("sampler")
    assert sync.end(killed=False) == f"custom node sampler replaced ({WHY})"
    assert sync.set_aside_folders() == []


@pytest.mark.scenario("B-45")
def test_what_the_user_disabled_under_such_a_name_is_never_touched(sync):
    by_hand = [sync.custom_nodes / f"sampler.{year}0101.disabled" for year in (2023, 2024, 2025)]
    for folder in by_hand:
        write(folder / "mine.py")
    for _ in range(3):
        sync.copy(node="by core")
        sync.record.copied("sampler")
        sync.end(killed=False)
        write(sync.node / "mine.py", "more of it")
        sync.begin()
    assert all((folder / "mine.py").exists() for folder in by_hand)
    assert len(sync.set_aside_folders()) == len(by_hand) + 4

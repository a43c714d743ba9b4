"""What a sync has in hand: the manifest as it was, whoever writes it meanwhile, and however the sync ends."""

import pytest

from orchestrator.environments.sync_record import SyncRecord, undo_interrupted
from orchestrator.workspace import EnvironmentPaths
from tests.helpers.content_fixtures import comfygit_environment, git, write

MINE, EDITED, BY_CORE, AGAIN = b"mine\n", b"mine, and an hour of work\n", b"by core\n", b"by core, again\n"


@pytest.fixture
def paths(tmp_path) -> EnvironmentPaths:
    """With a dirty manifest."""
    made = comfygit_environment(tmp_path / "one")
    write(made.cec / "pyproject.toml", MINE)
    return made


def by_core(record: SyncRecord, content: bytes) -> None:
    record.writing()
    write(record.manifest, content)
    record.wrote()


def kept(paths: EnvironmentPaths) -> list[bytes]:
    """What is in the folder of backups when the sync is over."""
    return [file.read_bytes() for file in sorted((paths.cec / "backups").iterdir())]


@pytest.mark.scenario("B-45")
def test_what_core_wrote_into_a_dirty_manifest_is_taken_back(paths):
    record = SyncRecord(paths.cec)
    by_core(record, BY_CORE)
    by_core(record, AGAIN)
    assert record.close() == []
    assert record.manifest.read_bytes() == MINE
    assert kept(paths) == []


@pytest.mark.scenario("B-45")
def test_an_edit_stays_when_core_wrote_nothing(paths):
    record = SyncRecord(paths.cec)
    write(record.manifest, EDITED)
    assert record.close() == []
    assert record.manifest.read_bytes() == EDITED


@pytest.mark.scenario("B-45")
def test_an_edit_after_cores_writing_stays_and_the_manifest_of_before_is_kept(paths):
    record = SyncRecord(paths.cec)
    by_core(record, BY_CORE)
    write(record.manifest, EDITED)
    (said,) = record.close()
    assert record.manifest.read_bytes() == EDITED
    assert kept(paths) == [MINE]
    assert str(paths.cec / "backups" / "pyproject.toml.1") in said


@pytest.mark.scenario("B-45")
@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("first", [True, False], ids=["before core wrote", "between two of its writings"])
def test_an_edit_that_core_then_writes_over_comes_back(paths, first, killed):
    record = SyncRecord(paths.cec)
    if not first:
        by_core(record, BY_CORE)
    write(record.manifest, EDITED)
    by_core(record, AGAIN)
    said = undo_interrupted(paths.cec, paths.comfyui / "custom_nodes") if killed else record.close()
    assert said
    assert record.manifest.read_bytes() == EDITED
    assert kept(paths) == [MINE]


@pytest.mark.scenario("B-45")
def test_an_edit_of_a_committed_manifest_that_core_then_writes_over_comes_back(paths):
    git(paths.cec, "commit", "--quiet", "--all", "-m", "mine")
    record = SyncRecord(paths.cec)
    by_core(record, BY_CORE)
    write(record.manifest, EDITED)
    by_core(record, AGAIN)
    assert record.close() == []
    assert record.manifest.read_bytes() == EDITED
    assert kept(paths) == [], "git has it"


@pytest.mark.parametrize("committed", [False, True])
def test_half_a_manifest_becomes_whole_again(paths, committed):
    if committed:
        git(paths.cec, "commit", "--quiet", "--all", "-m", "mine")
    record = SyncRecord(paths.cec)
    by_core(record, BY_CORE)
    record.writing()
    write(record.manifest, AGAIN[:3])
    assert record.close() == []
    assert record.manifest.read_bytes() == MINE


def test_what_was_saved_after_a_sync_was_killed_in_the_middle_of_a_writing_is_kept_beside(paths):
    record = SyncRecord(paths.cec)
    record.writing()
    write(record.manifest, EDITED)
    said = undo_interrupted(paths.cec, paths.comfyui / "custom_nodes")
    assert "half written or saved since" in said[-1]
    assert record.manifest.read_bytes() == MINE
    assert kept(paths) == [EDITED]


def test_an_edit_made_while_uv_was_at_work_and_failed_stays(paths):
    record = SyncRecord(paths.cec)
    by_core(record, BY_CORE)
    record.writing(in_place=False)
    write(record.manifest, EDITED)
    assert record.close()
    assert record.manifest.read_bytes() == EDITED
    assert kept(paths) == [MINE]


@pytest.mark.parametrize("killed", [False, True])
def test_a_manifest_that_is_a_link_stays_one(paths, tmp_path, killed):
    shared, link = tmp_path / "shared.toml", paths.cec / "pyproject.toml"
    link.rename(shared)
    link.symlink_to(shared)
    record = SyncRecord(paths.cec)
    by_core(record, BY_CORE)
    if killed:
        undo_interrupted(paths.cec, paths.comfyui / "custom_nodes")
    else:
        record.close()
    assert link.is_symlink()
    assert shared.read_bytes() == MINE

"""Hashes that are remembered, in the process and beside the journal, and when they are not believed."""

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from freezegun import freeze_time

from orchestrator.doorbell import is_noise
from orchestrator.environments import file_hashes
from orchestrator.environments.file_hashes import FileHashes
from orchestrator.environments.fingerprints import fingerprint
from orchestrator.environments.remembered_hashes import FILE_NAME, keep, recall
from orchestrator.workspace import EnvironmentPaths
from tests.helpers.content_fixtures import write

LATER = "2100-01-01"
"""Every file is old by then."""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / ".metadata").mkdir()
    write(tmp_path / "x.py", "pass")
    return tmp_path


@pytest.fixture
def file(workspace: Path) -> Path:
    return workspace / "x.py"


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def forge(hashes: FileHashes) -> None:
    """As if everything known had another hash: shows what is taken from memory."""
    known = hashes.items()
    hashes._known.clear()
    hashes.learn((path, identity, "f" * 64) for path, identity, _ in known)


def test_an_old_file_is_read_once(file):
    hashes = FileHashes()
    with freeze_time(LATER):
        assert hashes.of(str(file)) == sha256(file)
    assert hashes.changed
    forge(hashes)
    assert hashes.of(str(file)) == "f" * 64


def test_a_file_that_was_just_written_is_read_again(file):
    hashes = FileHashes()
    hashes.of(str(file))
    assert hashes.items() == []
    os.utime(file, ns=(0, 0))  # what it says of its age is not believed: its status was changed just now
    hashes.of(str(file))
    assert hashes.items() == []
    with freeze_time("2000-01-01"):
        hashes.of(str(file))
    assert hashes.items() == []


@pytest.mark.parametrize("change", ["written", "replaced", "times set back"])
def test_a_file_that_changed_is_read_again(file, change):
    hashes, before = FileHashes(), file.stat()
    with freeze_time(LATER):
        hashes.of(str(file))
        if change == "written":
            file.write_text("PASS")
        else:
            write(file.with_name("new"), "PASS")
            file.with_name("new").replace(file)
        if change == "times set back":
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert hashes.of(str(file)) == sha256(file)


def test_what_is_no_file_has_no_hash(workspace):
    os.mkfifo(workspace / "pipe.py")
    hashes = FileHashes()
    assert hashes.of(str(workspace / "pipe.py")) == ""
    assert hashes.of(str(workspace)) == ""
    with pytest.raises(FileNotFoundError):
        hashes.of(str(workspace / "gone"))


def test_no_more_are_remembered_than_there_is_room_for(workspace, monkeypatch):
    monkeypatch.setattr(file_hashes, "MOST", 3)
    hashes = FileHashes()
    with freeze_time(LATER):
        for number in range(5):
            write(workspace / f"{number}.py")
            hashes.of(str(workspace / f"{number}.py"))
    assert [Path(path).name for path, _, _ in hashes.items()] == ["2.py", "3.py", "4.py"]


def kept(workspace: Path, file: Path) -> Path:
    hashes = FileHashes()
    with freeze_time(LATER):
        hashes.of(str(file))
    forge(hashes)
    keep(workspace / ".metadata", hashes)
    return workspace / ".metadata" / FILE_NAME


def test_the_next_process_knows_what_this_one_knew_and_nobody_else_may_look(workspace, file):
    cache = kept(workspace, file)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    assert [path.name for path in (workspace / ".metadata").iterdir()] == [FILE_NAME]
    hashes = FileHashes()
    with freeze_time(LATER):
        recall(workspace / ".metadata", hashes)
    assert hashes.of(str(file)) == "f" * 64
    assert not hashes.changed


def test_keeping_them_wakes_nobody():
    assert is_noise(FILE_NAME)
    assert is_noise(f".{FILE_NAME}.tmp.{os.getpid()}")


def test_what_is_young_by_the_clock_of_now_is_not_believed(workspace, file):
    kept(workspace, file)
    hashes = FileHashes()
    recall(workspace / ".metadata", hashes)
    assert hashes.items() == []


def test_files_of_other_workspaces_are_not_kept_here(workspace, file, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / ".metadata").mkdir()
    assert json.loads(kept(elsewhere, file).read_text())["files"] == {}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"version": 2, "files": {}}',
        '{"version": 1, "files": 7}',
        '{"version": 1, "files": {"x.py": 7}}',
        '{"version": 1, "files": {"x.py": [1, 2, 3, 4, 5, "short"]}}',
        '{"version": 1, "files": {"x.py": [1, 2, 3, 4, null, "' + "f" * 64 + '"]}}',
        '{"version": 1, "files": {"x.py": [1, 2, 3, 4, Infinity, "' + "f" * 64 + '"]}}',
        "[" * 100_000,
    ],
)
def test_a_file_that_is_not_understood_is_none(workspace, content):
    (workspace / ".metadata" / FILE_NAME).write_text(content)
    hashes = FileHashes()
    recall(workspace / ".metadata", hashes)
    assert hashes.items() == []


def test_a_cache_that_is_a_pipe_is_none(workspace):
    os.mkfifo(workspace / ".metadata" / FILE_NAME)
    hashes = FileHashes()
    recall(workspace / ".metadata", hashes)
    assert hashes.items() == []


def test_a_fingerprint_is_told_where_nothing_can_be_kept(workspace, monkeypatch):
    monkeypatch.setattr("orchestrator.environments.fingerprints.SHARED", FileHashes())
    paths = EnvironmentPaths("one", workspace / "environments" / "one")
    write(paths.comfyui / "custom_nodes" / "node" / "x.py", "pass")
    (workspace / ".metadata" / FILE_NAME).mkdir()
    with freeze_time(LATER):
        first = fingerprint(paths)
        (workspace / ".metadata" / FILE_NAME).rmdir()
        (workspace / ".metadata").rmdir()
        write(paths.comfyui / "custom_nodes" / "node" / "y.py", "pass")
        assert fingerprint(paths) not in {"", first}
    assert not (workspace / ".metadata").exists()

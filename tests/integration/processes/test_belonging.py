"""Whether a process is this workspace's, or that of one which this is a copy of."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from journal.identity import Identity, identify
from orchestrator.processes.belonging import belongs
from orchestrator.processes.output_file import open_locked
from tests.helpers.child_scripts import LIVE_ON, PYTHON, end, wait_for_line

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is told from /proc")


@attrs.frozen
class Place:
    """A workspace with one environment."""

    root: Path

    @property
    def log(self) -> Path:
        return self.root / "logs/good/8.log"

    @property
    def folder(self) -> Path:
        return self.root / "environments/good"

    def has(self, identity: Identity) -> bool:
        return belongs(identity, self.log, self.folder)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path / "ws")
    (made.folder / "ComfyUI").mkdir(parents=True)
    return made


@pytest.fixture
def comfyui(place):
    """A process as we start one."""
    with open_locked(place.log) as output:
        process = subprocess.Popen(
            [*PYTHON, LIVE_ON], cwd=place.folder / "ComfyUI", stdout=output, start_new_session=True
        )
    wait_for_line(place.log, "ready")
    identity = identify(process.pid)
    assert identity is not None
    yield identity
    end(identity)
    process.wait()


def copied(place: Place) -> Place:
    copy = Place(place.root.with_name("copy"))
    shutil.copytree(place.root, copy.root, symlinks=True)
    return copy


def test_a_copy_of_the_workspace_does_not_have_it(place, comfyui):
    copy = copied(place)
    assert place.has(comfyui)
    assert not copy.has(comfyui)


def test_a_copy_that_shares_the_environments_folder_does_not_have_it_either(place, comfyui):
    shared = place.root.with_name("shared")
    place.folder.rename(shared)
    place.folder.symlink_to(shared)
    copy = copied(place)
    assert place.has(comfyui)
    assert not copy.has(comfyui)


def test_a_workspace_that_was_moved_has_it_still(place, comfyui):
    moved = Place(place.root.rename(place.root.with_name("moved")))
    assert moved.has(comfyui)


@pytest.mark.parametrize("what", ["deleted", "deleted and made anew", "renamed", "moved away"])
def test_whatever_was_done_to_its_log_it_is_ours(place, comfyui, what):
    if what == "renamed":
        place.log.rename(place.log.with_name("8.log.1"))
    elif what == "moved away":
        place.log.rename(place.root / "kept.txt")
    else:
        place.log.unlink()
    if what == "deleted and made anew":
        place.log.touch()
    assert place.has(comfyui)


def test_where_nothing_is_left_of_it_that_is_believed(place, comfyui):
    shutil.rmtree(place.root)
    assert place.has(comfyui)


def test_of_a_process_that_is_gone_or_not_ours_to_look_at_it_is_believed(place, comfyui):
    assert place.has(attrs.evolve(comfyui, pid=2**22 + 1))
    if os.geteuid() != 0:
        assert Place(Path("/nowhere")).has(attrs.evolve(comfyui, pid=1))

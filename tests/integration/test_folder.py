"""Journals on file systems that are read-only, full, or somewhere else."""

import json
from pathlib import Path

import pytest

from journal import Journal, JournalOnNetwork, own_actor
from journal.folder import copy_aside, network_file_system, refuse_network
from tests.helpers.journals import new_journal, numbers, probes
from tests.helpers.mounts import REMOUNTED_READ_ONLY, needs_mounts, run_on_tmpfs

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /mnt/share rw - nfs4 server:/export rw
31 30 0:27 / /mnt/share/local rw - ext4 /dev/vdb rw
32 22 0:28 / /mnt/with\040blank rw - fuse.sshfs me@host: rw
33 22 0:29 / /mnt/twice rw - ext4 /dev/vdc rw
34 22 0:30 / /mnt/twice rw - cifs //server/share rw
35 22 0:31 / /c rw - 9p drvfs rw
36 22 0:32 / /tmp rw - tmpfs none rw
"""


@pytest.mark.parametrize(
    ("path", "file_system"),
    [
        ("/home/me/comfygit/.metadata/journal.db", ""),
        ("/mnt/share/w/.metadata/journal.db", "nfs4"),
        ("/mnt/shared/journal.db", ""),
        ("/mnt/share/local/journal.db", ""),
        ("/mnt/with blank/journal.db", "fuse.sshfs"),
        ("/mnt/twice/journal.db", "cifs"),
        ("/c/Users/me/journal.db", "9p"),
        ("/tmp/journal.db", ""),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount_point(path, file_system):
    assert network_file_system(Path(path), MOUNTS) == file_system


def test_a_journal_on_a_network_file_system_is_refused_by_name(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"30 22 0:26 / {tmp_path} rw - nfs4 server:/export rw\n")

    with pytest.raises(JournalOnNetwork) as caught:
        refuse_network(tmp_path / "journal.db", mounts)
    assert caught.value.file_system == "nfs4"
    assert "local disk" in caught.value.hint

    mounts.unlink()
    refuse_network(tmp_path / "journal.db", mounts)


def test_a_copy_holds_what_is_only_in_the_wal(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(3))
        path = journal.path
        copy = copy_aside(path)
        journal.append(probes(3))

    with copy as folder:
        assert {found.name for found in Path(folder).iterdir()} == {"journal.db", "journal.db-wal", "journal.head"}
        with Journal.open_readonly(Path(folder, "journal.db")) as reader:
            assert numbers(reader) == [0, 1, 2]
            assert reader.anchor_problem == ""


READ = """
import json, os, sys, tempfile
from tests.helpers.journals import *
from journal import JournalError, verify
path = Path(sys.argv[1], ".metadata", "journal.db")
before = sorted(os.listdir(path.parent))
with Journal.open_readonly(path) as journal:
    found = [numbers(journal), verify(journal).ok, journal.head()[0], str(journal.path)]
left = [name for name in os.listdir(tempfile.gettempdir()) if name.startswith("comfygit-journal-")]
try:
    new_journal(path.parent.parent)
    refused = ""
except JournalError as exc:
    refused = type(exc).__name__
print(json.dumps([*found, left, sorted(os.listdir(path.parent)) == before, refused]))
"""


@needs_mounts
@pytest.mark.parametrize("state", ["closed", "left by a killed writer"])
def test_a_read_only_folder_is_read_and_not_written(tmp_path, state):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    journal = new_journal(workspace)
    journal.append(probes(5))
    if state == "closed":
        journal.close()
    found = json.loads(run_on_tmpfs(workspace, READ, then=f'rm -f "$1"/.metadata/*-shm; {REMOUNTED_READ_ONLY}'))
    journal.close()

    path = str(workspace / ".metadata" / "journal.db")
    assert found == [[0, 1, 2, 3, 4], True, 6, path, [], True, "JournalReadOnly"]


FILL = """
import json, sys
from tests.helpers.journals import *
from journal import JournalError, verify
errors, stored = [], 0
folder = Path(sys.argv[1])
with new_journal(folder) as journal:
    drafts = [Draft(probe(0, error="x" * 20_000))] * 10
    while not errors:
        try:
            stored = journal.append(drafts)[-1].seq
        except JournalError as exc:
            errors.append(type(exc).__name__)
    verdict = verify(journal)
    result = [errors, journal.head()[0] == stored, verdict.ok, stored > 10]
    (folder / "ballast").unlink()
    result.append(journal.append(probes(1))[0].seq == stored + 1)
    result.append(verify(journal).ok)
print(json.dumps(result))
"""


@needs_mounts
def test_a_full_disk_fails_the_append_and_nothing_else(tmp_path):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "ballast").write_bytes(bytes(1 << 20))

    found = json.loads(run_on_tmpfs(workspace, FILL, options="size=4m"))

    assert found == [["JournalWriteFailed"], True, True, True, True, True]


def test_a_new_journal_on_a_local_disk_is_not_refused(tmp_path):
    path = tmp_path / "journal.db"
    Journal.open(path, own_actor("test")).close()
    assert path.exists()

"""The journal on a real SQLite: append, read, what is refused."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from journal import (
    Draft,
    Journal,
    JournalBusy,
    JournalConflict,
    JournalDamaged,
    JournalError,
    JournalMissing,
    JournalReadOnly,
    JournalTooNew,
    own_actor,
    verify,
)
from journal.clock import Stamp
from journal.connection import connect, prepare_for_writing
from journal.events import HealthProbed, JournalCreated
from journal.rows import CHUNK, COLUMNS, GENESIS
from journal.schema import VERSION, found_version, migrate
from tests.helpers.journals import new_journal, numbers, probe, probes, run_python

UNREADABLE = HealthProbed(spawn="1", ok=True, latency_ns=1, status=1, error="", successes=1)  # type: ignore[arg-type]
OTHERS = COLUMNS.removeprefix("seq, ")


def foreign(journal: Journal | Path) -> sqlite3.Connection:
    """Another program's connection to the file."""
    return sqlite3.connect(journal.path if isinstance(journal, Journal) else journal, isolation_level=None)


def test_a_new_journal_begins_with_its_creation(tmp_path):
    with new_journal(tmp_path) as journal:
        (created,) = journal.read()

    assert isinstance(created.event, JournalCreated)
    assert len(created.event.journal_id) == 32
    assert created.event.workspace == str(tmp_path)
    assert (created.seq, created.switch, created.cause) == (1, None, None)


def test_what_is_appended_is_read_by_whoever_opens_it_next(tmp_path):
    with new_journal(tmp_path) as journal:
        appended = journal.append([Draft(probe(1), switch=184, cause=1), Draft(probe(2))])
        assert journal.head() == (3, appended[-1].hash)

    with new_journal(tmp_path) as journal:
        found = list(journal.read(after=1))
        assert journal.anchor_problem == ""

    assert tuple(found) == appended
    assert [record.seq for record in found] == [2, 3]
    assert (found[0].event, found[0].switch, found[0].cause) == (probe(1), 184, 1)
    assert found[0].actor == own_actor("test")
    assert found[0].at == found[1].at
    assert len({record.id for record in found}) == 2


def test_an_event_can_be_given_the_time_when_it_happened(tmp_path):
    at = Stamp(wall_ns=123, monotonic_ns=45, boot_id="an earlier boot")
    with new_journal(tmp_path) as journal:
        journal.append(probes(1), at=at)
        assert journal.newest(1)[0].at == at


def test_nothing_to_append_changes_nothing(tmp_path):
    with new_journal(tmp_path) as journal:
        assert journal.append([]) == ()
        assert journal.head()[0] == 1


def test_an_append_after_another_seq_than_expected_is_refused(tmp_path):
    with new_journal(tmp_path) as journal, new_journal(tmp_path) as other:
        other.append(probes(2))

        with pytest.raises(JournalConflict) as caught:
            journal.append(probes(1, first=9), expected_seq=1)
        assert (caught.value.expected, caught.value.found) == (1, 3)
        assert "seq 1" in caught.value.hint

        journal.append(probes(1, first=2), expected_seq=3)
        assert numbers(other) == [0, 1, 2]


@pytest.mark.parametrize(
    ("draft", "error"),
    [
        (Draft(UNREADABLE), TypeError),
        (Draft(probe(1), switch=5_000), ValueError),
        (Draft(probe(1), cause=1 << 70), ValueError),
    ],
    ids=["event", "switch", "cause"],
)
def test_of_several_events_none_is_stored_when_one_cannot_be(tmp_path, draft, error):
    with new_journal(tmp_path) as journal:
        before = journal.head()

        with pytest.raises(error):
            journal.append([*probes(2), draft])

        assert journal.head() == before
        journal.append(probes(1))
        assert journal.head()[0] == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '{}' WHERE seq = 2",
        "UPDATE OR REPLACE events SET seq = 1 WHERE seq = 2",
        "DELETE FROM events WHERE seq = 3",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE seq = 2",
        f"INSERT INTO events SELECT 9, {OTHERS} FROM events WHERE seq = 2",
        f"INSERT INTO events SELECT -9, {OTHERS} FROM events WHERE seq = 2",
        f"INSERT INTO events SELECT NULL, {OTHERS} FROM events WHERE seq = 2",
    ],
)
def test_no_program_can_change_delete_replace_or_leave_a_gap(tmp_path, statement):
    with new_journal(tmp_path) as journal:
        journal.append(probes(2))
        before = list(journal.read_raw())
        connection = foreign(journal)
        with pytest.raises(sqlite3.IntegrityError, match="never|next seq"):
            connection.execute(statement)
        connection.close()

        assert list(journal.read_raw()) == before


def test_no_program_can_store_a_value_of_another_type(tmp_path):
    with new_journal(tmp_path) as journal:
        connection = foreign(journal)
        with pytest.raises(sqlite3.IntegrityError, match="TEXT"):
            connection.execute("INSERT INTO events SELECT 2, x'00', '', 1, 1, 1, '', '', 1, 1, '', x'00' FROM events")
        connection.close()


def test_pages_join_without_a_seam(tmp_path):
    count = 2 * CHUNK + 3
    with new_journal(tmp_path) as journal:
        journal.append(probes(count))

        assert numbers(journal) == list(range(count))
        assert [record.seq for record in journal.read(after=CHUNK, until=CHUNK + 2)] == [CHUNK + 1, CHUNK + 2]
        assert len(list(journal.read(limit=CHUNK))) == CHUNK
        assert len(list(journal.read(limit=CHUNK + 1))) == CHUNK + 1
        assert list(journal.read(limit=0)) == []
        assert list(journal.read(after=count + 1)) == []
        assert [row.seq for row in journal.read_raw(after=count - 1)] == [count, count + 1]


def test_one_switch_is_read_from_before_its_request_to_the_end(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append([*probes(1, switch=3), *probes(1, first=1), *probes(1, first=2, switch=3), *probes(3, switch=2)])

        assert [record.seq for record in journal.read(switch=3)] == [2, 4]
        assert [record.seq for record in journal.read(after=2, switch=3)] == [4]
        assert [record.seq for record in journal.newest(1, switch=3)] == [4]
        assert [record.seq for record in journal.newest(9, switch=3)] == [2, 4]


def test_the_newest_are_given_oldest_first(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(5))

        assert [record.seq for record in journal.newest(3)] == [4, 5, 6]
        assert [record.seq for record in journal.newest(3, types=("journal.created",))] == [1]
        assert len(journal.newest(100, types=("journal.created", "health.probed"))) == 6
        assert journal.newest(0) == []


def test_a_reader_at_work_holds_up_no_checkpoint(tmp_path):
    with new_journal(tmp_path) as journal, Journal.open_readonly(journal.path) as reader:
        journal.append(probes(CHUNK + 10))
        reading = reader.read()
        next(reading)
        connection = foreign(journal)

        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

        connection.close()
        assert busy == 0
        assert len(list(reading)) == CHUNK + 10


def test_the_data_version_changes_with_the_commits_of_others(tmp_path):
    with new_journal(tmp_path) as journal, Journal.open_readonly(journal.path) as reader:
        before = reader.data_version()
        assert reader.data_version() == before

        journal.append(probes(1))

        assert reader.data_version() != before


def test_every_file_is_for_its_owner_only(tmp_path):
    before = os.umask(0)
    try:
        with new_journal(tmp_path) as journal:
            journal.append(probes(1))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in journal.path.parent.iterdir()}
    finally:
        os.umask(before)

    assert modes == dict.fromkeys(
        ["journal.db", "journal.db-wal", "journal.db-shm", "journal.head", "journal.lock"], 0o600
    )


def test_every_commit_reaches_the_disk_and_nobody_else_checkpoints(tmp_path):
    with new_journal(tmp_path) as journal:
        pragmas = ("journal_mode", "synchronous", "wal_autocheckpoint")
        values = [journal._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]

    assert values == ["wal", 2, 0]


def test_the_wal_is_written_again_from_its_start_past_4_mib(tmp_path):
    with new_journal(tmp_path) as journal:
        wal = journal.path.with_name("journal.db-wal")
        for _ in range(12):
            journal.append([Draft(probe(1, error="x" * 2_000))] * 512)

        assert 4 << 20 < wal.stat().st_size < 8 << 20
        assert journal.path.stat().st_size > 8 << 20


def test_a_reader_creates_and_changes_nothing(tmp_path):
    with pytest.raises(JournalMissing):
        Journal.open_readonly(tmp_path / "journal.db")
    assert list(tmp_path.iterdir()) == []

    with new_journal(tmp_path) as journal:
        journal.append(probes(3))
        expected = list(journal.read())
    before = (journal.path.read_bytes(), journal.path.stat().st_mtime_ns)

    with Journal.open_readonly(journal.path) as reader:
        assert list(reader.read()) == expected
        assert reader.head() == (4, expected[-1].hash)
        assert verify(reader).ok
        with pytest.raises(JournalReadOnly):
            reader.append(probes(1))
        with pytest.raises(JournalReadOnly):
            reader.writing()

    assert (journal.path.read_bytes(), journal.path.stat().st_mtime_ns) == before


def test_a_journal_that_is_being_created_is_not_there_yet(tmp_path):
    path = tmp_path / "journal.db"
    path.touch()

    with pytest.raises(JournalMissing, match="not been created"):
        Journal.open_readonly(path)


def test_a_journal_that_comes_to_be_while_it_is_looked_at_is_not_of_another_program(tmp_path):
    path = tmp_path / "journal.db"
    path.touch()
    with closing(connect(path, "rw")) as writer, closing(connect(path, "ro")) as reader:
        prepare_for_writing(writer)

        def migrate_before(statement: str) -> None:
            if "sqlite_master" in statement and found_version(writer) == 0:
                migrate(writer, 0)

        reader.set_trace_callback(migrate_before)
        assert found_version(reader) == 0
        reader.set_trace_callback(None)
        assert found_version(reader) == VERSION


@pytest.mark.parametrize("step", ["empty file", "schema without events"])
def test_a_creation_that_was_cut_off_is_completed(tmp_path, step):
    path = tmp_path / ".metadata" / "journal.db"
    path.parent.mkdir()
    path.touch()
    if step != "empty file":
        with new_journal(tmp_path):
            pass
        connection = foreign(path)
        connection.executescript("DROP TRIGGER events_remain; DELETE FROM events")
        connection.close()
        path.with_suffix(".head").unlink()
        with Journal.open_readonly(path) as reader:
            assert reader.head() == (0, GENESIS)

    with new_journal(tmp_path) as journal:
        assert [record.seq for record in journal.read()] == [1]
        assert journal.anchor_problem == ""


def test_a_journal_without_its_folder_is_missing(tmp_path):
    with pytest.raises(JournalMissing, match="folder"):
        Journal.open(tmp_path / "nowhere" / "journal.db", own_actor("test"))


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_a_writer_notices_that_the_file_was_taken_away(tmp_path, change):
    with new_journal(tmp_path) as journal:
        journal.path.rename(tmp_path / "taken.db")
        if change == "replaced":
            journal.path.touch()

        with pytest.raises(JournalMissing):
            journal.append(probes(1))


def test_a_newer_schema_is_refused_by_everybody_and_stays_as_it_is(tmp_path):
    with new_journal(tmp_path) as old_release:
        connection = foreign(old_release)
        connection.execute("PRAGMA user_version = 2")
        connection.close()

        with pytest.raises(JournalTooNew) as caught:
            new_journal(tmp_path)
        assert caught.value.found == "schema version 2"
        assert caught.value.supported == "up to version 1"
        with pytest.raises(JournalTooNew):
            Journal.open_readonly(old_release.path)
        with pytest.raises(JournalTooNew):
            old_release.append(probes(1))
        assert old_release.head()[0] == 1


def test_a_file_of_another_program_is_refused_and_stays_as_it_is(tmp_path):
    path = tmp_path / ".metadata" / "journal.db"
    path.parent.mkdir()
    connection = foreign(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(JournalDamaged, match="another program"):
        new_journal(tmp_path)

    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_damaged(tmp_path):
    path = tmp_path / ".metadata" / "journal.db"
    path.parent.mkdir()
    path.write_bytes(b"no database\n" * 1000)

    with pytest.raises(JournalDamaged, match="not a database"):
        new_journal(tmp_path)
    with pytest.raises(JournalDamaged):
        Journal.open_readonly(path)


def test_a_program_that_keeps_the_file_locked_is_reported(tmp_path):
    with new_journal(tmp_path, wait_s=0.05) as journal:
        connection = foreign(journal)
        connection.execute("BEGIN IMMEDIATE")

        with pytest.raises(JournalBusy, match="locked"):
            journal.append(probes(1))

        connection.execute("ROLLBACK")
        connection.close()
        journal.append(probes(1))
        assert journal.head()[0] == 2


FOREIGN_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("begun", flush=True)
sys.stdin.readline()
"""


def test_a_program_that_takes_no_lock_of_ours_and_writes_is_named(tmp_path):
    with new_journal(tmp_path) as journal:
        command = [sys.executable, "-c", FOREIGN_WRITER, str(journal.path)]
        with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == "begun\n"
            with pytest.raises(JournalBusy) as caught, journal.writing(0.05):
                journal.append(probes(1))
            writer.communicate("\n")
        assert caught.value.holder_pid == writer.pid
        assert f"process {writer.pid} ({sys.executable} -c " in caught.value.message
        journal.append(probes(1))


def test_a_reader_says_so_when_a_program_keeps_the_file_for_itself(tmp_path):
    with new_journal(tmp_path) as journal:
        path = journal.path
    connection = foreign(path)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN IMMEDIATE")
    reader = Journal(path, connect(path, "ro", busy_wait_s=0.02))
    with pytest.raises(JournalBusy):
        list(reader.read())
    reader.close()
    connection.close()


def test_a_migration_that_fails_changes_nothing(tmp_path):
    connection = foreign(tmp_path / "journal.db")
    connection.execute("CREATE TABLE events (theirs)")

    with pytest.raises(sqlite3.Error):
        migrate(connection, 0)

    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
    assert not connection.in_transaction
    connection.close()


def test_an_unknown_event_is_named_where_it_is_reached(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(1))
        connection = foreign(journal)
        connection.executescript("DROP TRIGGER events_stay; UPDATE events SET type = 'switch.dreamt' WHERE seq = 2")
        connection.close()

        with pytest.raises(JournalTooNew, match=r"switch\.dreamt.* at seq 2"):
            list(journal.read())


def test_a_damaged_event_is_named_where_it_is_reached(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(2))
        connection = foreign(journal)
        connection.executescript("DROP TRIGGER events_stay; UPDATE events SET data = '{\"spawn\":1}' WHERE seq = 3")
        connection.close()

        reading = journal.read()
        assert [next(reading).seq, next(reading).seq] == [1, 2]
        with pytest.raises(JournalDamaged) as caught:
            next(reading)
        assert caught.value.seq == 3


def test_an_error_says_what_to_do_next(tmp_path):
    with pytest.raises(JournalError) as caught:
        Journal.open_readonly(tmp_path / "journal.db")

    assert str(caught.value) == f"{caught.value.message}; {caught.value.hint}"
    assert str(tmp_path) in caught.value.message


def test_only_a_schema_that_is_not_up_to_date_costs_the_import_of_sqlite_utils(tmp_path):
    script = (
        "import sys; from pathlib import Path; from journal import Journal, own_actor; p = Path(sys.argv[1]);"
        "j = Journal.open(p, own_actor('cli')); list(j.read()); j.close(); print('sqlite_utils' in sys.modules)"
    )
    path = tmp_path / "journal.db"

    assert [run_python(script, path).strip() for _ in range(2)] == ["True", "False"]


AS_NOBODY = """
import os, sys
from pathlib import Path
from journal import Journal, JournalError, own_actor
actor = own_actor("cli")
os.seteuid(65534)
for attempt in (Journal.open_readonly, lambda path: Journal.open(path, actor)):
    try:
        attempt(Path(sys.argv[1]))
    except JournalError as exc:
        print(type(exc).__name__)
os.seteuid(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_that_it_may_not(tmp_path):
    with new_journal(tmp_path) as journal:
        tmp_path.chmod(0o700)

    assert run_python(AS_NOBODY, journal.path).split() == ["JournalForbidden"] * 2


def test_closing_twice_is_harmless(tmp_path):
    journal = new_journal(tmp_path)
    journal.close()
    journal.close()

    assert {path.name for path in journal.path.parent.iterdir()} == {"journal.db", "journal.head", "journal.lock"}

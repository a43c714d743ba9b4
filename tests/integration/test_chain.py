"""What verify sees."""

import hashlib
import signal
import sqlite3
import struct
import subprocess
import sys
from typing import Any

import pytest

from journal import Anchor, Journal, JournalDamaged, verify
from journal.head import Head, lost_path, read, write
from journal.rows import GENESIS, INSERT, link
from tests.helpers.journals import new_journal, numbers, probes


def tamper(journal: Journal, script: str) -> None:
    """What somebody does who first removes the triggers."""
    connection = sqlite3.connect(journal.path)
    connection.executescript(
        "DROP TRIGGER events_stay; DROP TRIGGER events_remain; DROP TRIGGER events_follow;" + script
    )
    connection.close()


def test_an_untouched_journal_is_good(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(1_200))
        verdict = verify(journal)

    assert verdict.ok
    assert (verdict.events, verdict.first_damaged_seq, verdict.problems, verdict.anchor) == (1_201, None, (), Anchor.OK)


def test_the_chain_can_be_computed_from_what_the_documentation_says(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(1, switch=7))
        first, second = journal.read_raw()

    previous = GENESIS
    for row, switch, flags in ((first, 0, 0), (second, 7, 1)):
        texts = (row.id, row.type, row.boot_id, row.actor, row.data)
        numbers_ = struct.pack(">6q", row.seq, row.version, row.wall_ns, row.monotonic_ns, switch, 0)
        lengths = struct.pack(">5I", *map(len, texts))
        previous = hashlib.sha256(previous + numbers_ + bytes([flags]) + lengths + b"".join(texts)).digest()
        assert row.hash == previous


@pytest.mark.parametrize(
    "change",
    [
        "data = replace(data, '200', '201')",
        "id = upper(id) || '0'",
        "type = 'health.confirmed'",
        "version = 2",
        "wall_ns = wall_ns + 1",
        "monotonic_ns = 0",
        "boot_id = ''",
        "actor = replace(actor, 'test', 'rest')",
        "switch = 0",
        "cause = 0",
        "hash = zeroblob(32)",
        "data = ''",
        "type = type || char(0)",
        # the same bytes, another boundary between two columns
        "id = substr(id, 1, 31), type = substr(id, 32) || type",
    ],
)
def test_a_change_of_any_column_is_found_where_it_is_and_only_there(tmp_path, change):
    with new_journal(tmp_path) as journal:
        journal.append(probes(5))
        tamper(journal, f"UPDATE events SET {change} WHERE seq = 4")

        verdict = verify(journal)

    assert not verdict.ok
    assert verdict.first_damaged_seq == 4
    assert verdict.problems == ("event 4: its content does not match its hash",)
    assert verdict.events == 6


def test_several_changes_are_all_found(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(9))
        tamper(journal, "UPDATE events SET data = '' WHERE seq IN (3, 4, 8)")

        verdict = verify(journal)

    assert [problem.split(":")[0] for problem in verdict.problems] == ["event 3", "event 4", "event 8"]


def test_missing_events_are_found(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(9))
        tamper(journal, "DELETE FROM events WHERE seq IN (1, 5, 6)")

        verdict = verify(journal)

    assert verdict.problems == ("after event 0 comes event 2", "after event 4 comes event 7")
    assert verdict.first_damaged_seq == 1
    assert verdict.events == 7


@pytest.mark.parametrize("value", ["'late'", "NULL", "1.5"])
def test_a_value_of_another_type_is_found(tmp_path, value):
    with new_journal(tmp_path) as journal:
        journal.append(probes(3))
        lax = "ALTER TABLE events RENAME TO strict; CREATE TABLE events AS SELECT * FROM strict"
        tamper(journal, f"{lax}; UPDATE events SET wall_ns = {value} WHERE seq = 3")

        verdict = verify(journal)

    assert verdict.problems == ("event 3: a column holds another type than it should",)
    assert verdict.first_damaged_seq == 3


def test_at_most_a_hundred_problems_are_listed(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(300))
        tamper(journal, "UPDATE events SET data = ''")

        assert len(verify(journal).problems) == 100


def chained(journal: Journal, **columns: Any) -> None:
    """Append a row whose hash is right, whatever it holds; the head file follows."""
    seq, previous = journal.head()
    (*_, last) = journal.read_raw()
    row = last._replace(seq=seq + 1, **columns)
    digest = link(previous, row)
    texts = [column.decode() if isinstance(column, bytes) else column for column in row[:11]]
    connection = sqlite3.connect(journal.path)
    connection.execute(INSERT, (*texts, digest))
    connection.commit()
    connection.close()
    write(journal.path.with_suffix(".head"), Head(seq + 1, digest))


@pytest.mark.parametrize(
    ("columns", "problem", "damaged"),
    [
        ({"type": b"switch.dreamt"}, "newer release", None),
        ({"version": 9}, "newer release", None),
        ({"version": 0}, "in version 0", 3),
        ({"data": b'{"spawn":"1"}'}, "not of type int", 3),
        ({"data": b"{}"}, "key 'spawn' is missing", 3),
        ({"actor": b"nobody"}, "no actor", 3),
    ],
)
def test_an_event_that_cannot_be_understood_is_a_problem_though_its_hash_is_right(tmp_path, columns, problem, damaged):
    with new_journal(tmp_path) as journal:
        journal.append(probes(1))
        chained(journal, **columns)
        journal_is_chained = verify(journal, decoding=False)

        verdict = verify(journal)

    assert journal_is_chained.ok
    assert not verdict.ok
    assert len(verdict.problems) == 1
    assert problem in verdict.problems[0]
    assert verdict.first_damaged_seq == damaged


def overwrite_page_of(journal: Journal, seq: int) -> None:
    """Fill the part of the closed file with nonsense in which this probe is."""
    content = bytearray(journal.path.read_bytes())
    page = content.index(b'"latency_ns":%d,' % seq) // 4096 * 4096
    content[page : page + 4096] = b"\xa5" * 4096
    journal.path.write_bytes(content)


def test_a_damaged_file_is_checked_as_far_as_it_can_be_read(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(600, first=1_000))
    overwrite_page_of(journal, 1_300)

    with Journal.open_readonly(journal.path) as reader:
        with pytest.raises(JournalDamaged) as caught:
            list(reader.read())
        verdict = verify(reader)

    assert caught.value.seq == verdict.events + 1 == verdict.first_damaged_seq
    assert 250 < verdict.events < 302
    assert "cannot be read on" in verdict.problems[0]


def test_everything_before_the_damage_is_given(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(600, first=1_000))
    overwrite_page_of(journal, 1_300)
    found: list[int] = []

    with Journal.open_readonly(journal.path) as reader, pytest.raises(JournalDamaged):
        found.extend(record.seq for record in reader.read())

    assert found == list(range(1, len(found) + 1))
    assert 250 < len(found) < 302


LEAVES_A_WAL = """
import os, signal, sys
from tests.helpers.journals import *
journal = new_journal(Path(sys.argv[1]))
journal.append(probes(3))
print(os.path.getsize(str(journal.path) + "-wal"), flush=True)
journal.append(probes(4, first=3))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def lost_tail(tmp_path):
    """A journal that ends after event 4, with a head file that knows event 8."""
    killed = subprocess.run([sys.executable, "-c", LEAVES_A_WAL, tmp_path], stdout=subprocess.PIPE, check=False)
    assert killed.returncode == -signal.SIGKILL
    path = tmp_path / ".metadata" / "journal.db"
    with path.with_name("journal.db-wal").open("r+b") as wal:
        wal.truncate(int(killed.stdout))
    return path


def test_a_lost_tail_is_seen_by_the_head_file(lost_tail):
    with Journal.open_readonly(lost_tail) as reader:
        verdict = verify(reader)
        assert numbers(reader) == [0, 1, 2]
        assert reader.anchor_problem in verdict.problems

    assert (verdict.ok, verdict.anchor, verdict.first_damaged_seq) == (False, Anchor.AHEAD, None)
    assert "tail is lost" in verdict.problems[0]


def test_a_lost_tail_is_not_forgotten_when_a_writer_goes_on(lost_tail, tmp_path):
    with new_journal(tmp_path) as journal:
        assert "tail is lost" in journal.anchor_problem
        journal.append(probes(1))
        assert journal.anchor() is Anchor.OK
        lost = read(lost_path(lost_tail))
        assert lost is not None
        assert lost.seq == 8
    with new_journal(tmp_path) as journal:
        journal.append(probes(1))
        assert "lost once, up to seq 8" in journal.anchor_problem
        assert verify(journal).problems == (journal.anchor_problem,)

    lost_path(lost_tail).unlink()
    with Journal.open_readonly(lost_tail) as reader:
        assert verify(reader).ok


def test_an_exchanged_tail_is_seen_by_the_head_file(tmp_path):
    with new_journal(tmp_path) as journal:
        journal.append(probes(2))
        seq, _ = journal.head()
        write(journal.path.with_suffix(".head"), Head(seq - 1, bytes(32)))

        verdict = verify(journal)

    assert (verdict.ok, verdict.anchor) == (False, Anchor.DIFFERS)
    assert "exchanged" in verdict.problems[0]


@pytest.mark.parametrize("state", [Anchor.MISSING, Anchor.BEHIND])
def test_a_head_file_that_is_missing_or_behind_is_repaired_by_the_next_writer(tmp_path, state):
    with new_journal(tmp_path) as journal:
        head_file = journal.path.with_suffix(".head")
        early = head_file.read_bytes()
        journal.append(probes(2))
    if state is Anchor.BEHIND:
        head_file.write_bytes(early)
    else:
        head_file.unlink()
    with Journal.open_readonly(journal.path) as reader:
        verdict = verify(reader)
        assert (verdict.ok, verdict.anchor, reader.anchor_problem) == (True, state, "")

    with new_journal(tmp_path) as journal:
        assert journal.anchor() is Anchor.OK
        assert journal.anchor_problem == ""

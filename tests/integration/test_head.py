"""The head file."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.head import Anchor, Head, compare, head_path, keep_lost, lost_path, problem, read, write

HASHES = {seq: bytes([seq]) * 32 for seq in range(10)}


def test_it_is_48_bytes_and_read_back(tmp_path):
    path = tmp_path / "journal.head"
    write(path, Head(184, b"h" * 32))

    assert read(path) == Head(184, b"h" * 32)
    assert path.read_bytes() == b"CGJHEAD1" + (184).to_bytes(8, "big") + b"h" * 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_rewritten_in_place_whatever_was_there(tmp_path):
    path = tmp_path / "journal.head"
    path.write_bytes(b"x" * 1_000)
    inode = path.stat().st_ino
    write(path, Head(1, bytes(32)))

    assert read(path) == Head(1, bytes(32))
    assert path.stat().st_ino == inode


@pytest.mark.parametrize("content", [b"", b"CGJHEAD1", b"x" * 48, b"CGJHEAD1" + bytes(41), b"CGJHEAD2" + bytes(40)])
def test_a_file_that_is_none_of_ours_says_nothing(tmp_path, content):
    path = tmp_path / "journal.head"
    path.write_bytes(content)

    assert read(path) is None


def test_no_file_says_nothing(tmp_path):
    assert read(tmp_path / "journal.head") is None


@pytest.mark.parametrize(
    ("file", "anchor"),
    [
        (None, Anchor.MISSING),
        (Head(5, HASHES[5]), Anchor.OK),
        (Head(4, HASHES[4]), Anchor.BEHIND),
        (Head(0, bytes(32)), Anchor.BEHIND),
        (Head(6, HASHES[6]), Anchor.AHEAD),
        (Head(5, HASHES[4]), Anchor.DIFFERS),
        (Head(3, HASHES[4]), Anchor.DIFFERS),
    ],
)
def test_how_it_stands_to_a_journal_of_five_events(file, anchor):
    assert compare(file, Head(5, HASHES[5]), HASHES.get) is anchor


def test_both_are_at_the_beginning():
    assert compare(Head(0, bytes(32)), Head(0, bytes(32)), HASHES.get) is Anchor.OK


@given(st.integers(0, 9), st.integers(0, 9))
def test_only_a_file_that_contradicts_the_journal_is_alarming(file_seq, journal_seq):
    anchor = compare(Head(file_seq, HASHES[file_seq]), Head(journal_seq, HASHES[journal_seq]), HASHES.get)

    assert anchor.is_alarming == (file_seq > journal_seq)


def test_the_first_head_file_of_a_lost_tail_is_kept(tmp_path):
    journal = tmp_path / "journal.db"
    keep_lost(journal)
    assert not lost_path(journal).exists()

    for seq in (9, 5):
        write(head_path(journal), Head(seq, HASHES[seq]))
        keep_lost(journal)

    assert read(lost_path(journal)) == Head(9, HASHES[9])
    assert "up to seq 9" in problem(journal, Anchor.OK)

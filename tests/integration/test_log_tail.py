import os
import random

from orchestrator.logs.tail import MAX_LINE_CHARS, tail


def test_the_last_lines_come_oldest_first(tmp_path):
    log = tmp_path / "log"
    log.write_text("one\ntwo\nthree\n")
    assert tail(log, 2) == ("two", "three")


def test_a_line_without_an_end_is_shown_and_asking_for_more_than_there_is_gives_all(tmp_path):
    log = tmp_path / "log"
    log.write_text("one\n\ntwo")
    assert tail(log, 80) == ("one", "", "two")


def test_missing_empty_and_unreadable_files_have_no_lines(tmp_path):
    (tmp_path / "empty").touch()
    assert tail(tmp_path / "missing", 5) == ()
    assert tail(tmp_path / "empty", 5) == ()
    assert tail(tmp_path, 5) == ()


def test_no_lines_asked_for_are_no_lines(tmp_path):
    log = tmp_path / "log"
    log.write_text("one\n")
    assert tail(log, 0) == ()
    assert tail(log, -1) == ()


def test_only_the_end_of_a_big_file_is_read(tmp_path):
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(1 << 40)  # a sparse terabyte: whoever reads it all is noticed
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast but one\nlast\n")
    assert tail(log, 2) == ("last but one", "last")


def test_a_line_that_begins_before_the_window_is_left_out(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"x" * 1000 + b"\nshort\n")
    assert tail(log, 5, max_bytes=100) == ("short",)


def test_a_line_that_begins_exactly_at_the_window_is_whole(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"before\nfirst\nsecond\n")
    assert tail(log, 5, max_bytes=len(b"first\nsecond\n")) == ("first", "second")


def test_one_endless_line_is_shown_by_its_end_and_cut(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"x" * 10_000_000)
    (line,) = tail(log, 5)
    assert line == "x" * MAX_LINE_CHARS


def test_any_bytes_give_printable_text(tmp_path):
    log = tmp_path / "log"
    noise = random.Random(7)
    log.write_bytes(bytes(noise.randrange(256) for _ in range(200_000)))
    lines = tail(log, 10_000)
    assert len(lines) > 10
    assert all(character == "\t" or character.isprintable() or ord(character) >= 0xA0 for character in "".join(lines))


def test_colours_titles_and_links_are_taken_out(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(
        b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07plain \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ "
        b"\x1b(Bend\x00\x7f\xc2\x9b\n"
    )
    assert tail(log, 1) == ("red plain link end",)


def test_bytes_that_are_not_utf_8_are_replaced(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"caf\xe9 caf\xc3\xa9\n")
    assert tail(log, 1) == ("caf\ufffd café",)


def test_a_progress_bar_is_shown_in_its_last_state(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b" 10%\r 50%\r100%\r\nwindows line\r\n\r\n")
    assert tail(log, 3) == ("100%", "windows line", "")

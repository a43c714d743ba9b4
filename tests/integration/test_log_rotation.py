"""Rotation by copy and truncate."""

from orchestrator.logs.rotation import rotate_when_large, rotated_path


def test_a_small_log_is_left_alone(tmp_path):
    log = tmp_path / "orchestrator.log"
    log.write_bytes(b"x" * 100)
    assert not rotate_when_large(log, 100)
    assert not rotated_path(log).exists()


def test_a_large_log_is_copied_and_emptied_and_who_appends_goes_on_in_it(tmp_path):
    log = tmp_path / "orchestrator.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 101)
        assert rotate_when_large(log, 100)
        assert rotated_path(log).read_bytes() == b"x" * 101
        writer.write(b"more")
    assert log.read_bytes() == b"more"
    assert rotated_path(log).stat().st_mode & 0o777 == 0o600


def test_a_missing_log_and_a_folder_in_the_way_are_no_errors(tmp_path):
    assert not rotate_when_large(tmp_path / "none", 1)
    log = tmp_path / "orchestrator.log"
    log.write_bytes(b"x" * 101)
    rotated_path(log).mkdir()
    assert not rotate_when_large(log, 100)
    assert len(log.read_bytes()) == 101

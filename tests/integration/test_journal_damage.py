"""`comfygit-journal` on journals that are damaged, cut short, or of another release; and `verify`."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from journal import Draft, Journal, own_actor
from journal.events import (
    ControlListening,
    HealthProbed,
)
from tests.helpers.journal_command import Run, database, runner, tampering
from tests.helpers.story_events import completed, journal_of, rolled_back, serving

SWITCH = 16


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journal_of(rolled_back(), tmp_path_factory.mktemp("template"))


@pytest.fixture
def ws(template: Path, tmp_path: Path) -> Path:
    """A workspace with a switch that was rolled back; no view was ever written."""
    shutil.copytree(template, tmp_path / "ws")
    return tmp_path / "ws"


def test_a_whole_journal_is_verified(run, ws):
    outcome = run(ws, "verify")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "the journal is whole: 45 events, each as it was written, none missing\n"
    assert run(ws, "verify --json").json["ok"] is True


def test_a_changed_event_is_found(run, ws):
    with tampering(ws) as connection:
        connection.execute("UPDATE events SET data = replace(data, 'new', 'old') WHERE seq = 16")
    outcome = run(ws, "verify")
    assert outcome.code == 1
    assert outcome.out.startswith("the journal is damaged")
    assert "the first damage is at event 16" in outcome.out
    assert run(ws, "verify --json").json["first_damaged_seq"] == SWITCH


# --------------------------------------------------------------- damage


@pytest.fixture
def damaged(ws: Path) -> Path:
    """The event 20 of this workspace is no JSON any more."""
    with tampering(ws) as connection:
        connection.execute("UPDATE events SET data = '{half' WHERE seq = 20")
    return ws


def test_log_shows_a_damaged_event_as_it_is(run, damaged):
    lines = run(damaged, "log").out.splitlines()
    assert len(lines) == 45
    assert "DAMAGED" in lines[19]
    assert run(damaged, "log -n 30 --json").json[4]["data"] == "{half"


def test_what_can_be_told_is_told_then_the_error(run, damaged):
    for command in ("explain", "explain --json"):
        outcome = run(damaged, command)
        assert outcome.code == 1
        assert "rolled_back" in outcome.out or "rolled back" in outcome.out
        assert outcome.err.startswith("error: read event 20: ")
        assert "comfygit-journal verify" in outcome.err


def test_replay_shows_the_state_before_the_damage_and_compares_nothing(run, damaged):
    for command in ("replay", "replay --write", "replay --last-healthy"):
        outcome = run(damaged, command)
        assert outcome.code == 1
        assert "agree" not in outcome.out
        assert "differ" not in outcome.out
        assert outcome.err.startswith("error: read event 20: ")
    assert run(damaged, "replay").out.startswith("journal       19 events")
    assert not (damaged / ".metadata" / ".orchestrator.pid").exists()


def test_a_damaged_request_cannot_be_explained_but_the_others_are_listed(run, tmp_path):
    history = completed()
    history.wait(5)
    second = history.ask("old", "new")
    root = journal_of(history, tmp_path)
    with tampering(root) as connection:
        connection.execute(f"UPDATE events SET data = '{{half' WHERE seq = {SWITCH}")
    assert [line["switch"] for line in run(root, "switches --json").json] == [second]
    outcome = run(root, f"explain {SWITCH}")
    assert (outcome.code, outcome.out) == (1, "")
    assert "error: read event 16" in outcome.err


def test_an_event_of_a_newer_release_is_shown_by_log_and_refused_by_replay(run, ws):
    with tampering(ws) as connection:
        columns = "id, version, wall_ns, monotonic_ns, boot_id, actor, switch, cause, data, hash"
        connection.execute(
            f"INSERT INTO events (seq, type, {columns}) SELECT 46, 'moon.landed', {columns} FROM events WHERE seq = 45"
        )
    assert "moon.landed" in run(ws, "log -n 1").out
    outcome = run(ws, "replay")
    assert outcome.code == 1
    assert "event 'moon.landed' at seq 46" in outcome.err


def test_an_event_that_cannot_have_happened_is_named(run, tmp_path):
    history = serving()
    seq = history.add(HealthProbed(spawn=999, ok=True, latency_ns=1, status=200, error="", successes=1))
    outcome = run(journal_of(history, tmp_path), "replay")
    assert outcome.code == 1
    assert f"error: folding the journal: event {seq}, health.probed, is illegal" in outcome.err


def test_a_journal_of_a_newer_release_is_an_error_also_for_the_quickest_command(run, ws):
    with tampering(ws) as connection:
        connection.execute("PRAGMA user_version = 99")
    outcome = run(ws, "log -n 1")
    assert (outcome.code, outcome.out) == (1, "")
    assert "found schema version 99" in outcome.err


def test_a_tail_that_was_lost_once_is_not_forgotten(run, ws):
    with tampering(ws) as connection:
        connection.execute("DELETE FROM events WHERE seq > 40")
    with Journal.open(database(ws), own_actor("test")) as journal:
        journal.append([Draft(ControlListening(host="", port=None))])
    assert "the journal's tail was lost once, up to seq 45" in run(ws, "log -n 1").err


def test_a_file_that_is_no_journal_is_said_to_be_none(run, ws):
    database(ws).write_bytes(b"something else, longer than a header" * 100)
    outcome = run(ws, "log -n 1")
    assert (outcome.code, outcome.out) == (1, "")
    assert "file is not a database" in outcome.err


def test_without_a_head_file_all_is_read(run, ws):
    (ws / ".metadata" / "journal.head").unlink()
    assert run(ws, "log -n 1").out.split()[0] == "45"


def test_a_lost_tail_is_warned_of_also_by_the_quickest_command(run, ws):
    with tampering(ws) as connection:
        connection.execute("DELETE FROM events WHERE seq > 40")
    outcome = run(ws, "log -n 1")
    assert outcome.out.split()[0] == "40"
    assert outcome.err.startswith("warning: the journal's tail is lost")
    assert run(ws, "verify").code == 1


def with_a_bad_page(root: Path, marker: bytes) -> Path:
    """A workspace with 415 events, of which those on the page that holds `marker` cannot be read."""
    history = serving()
    for number in range(400):
        history.add(ControlListening(host="", port=None, why=f"marker {number}"))
    journal_of(history, root)
    with sqlite3.connect(database(root)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [size] = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = bytearray(database(root).read_bytes())
    page = content.index(marker) // size * size
    content[page : page + 8] = b"\xff" * 8
    database(root).write_bytes(content)
    return root


def test_a_bad_page_costs_only_the_events_in_it(run, tmp_path):
    outcome = run(with_a_bad_page(tmp_path, b"marker 200"), "log")
    shown = [int(line.split()[0]) for line in outcome.out.splitlines()]
    assert (outcome.code, shown[0], shown[-1]) == (1, 1, 415)
    assert 300 < len(shown) < 415
    assert "cannot be read on from here" in outcome.err


def test_a_bad_last_page_leaves_all_before_it_readable(run, tmp_path):
    root = with_a_bad_page(tmp_path, b"marker 399")
    outcome = run(root, "log -n 3")
    assert (outcome.code, len(outcome.out.splitlines())) == (1, 3)
    assert 380 < int(outcome.out.split()[0]) < 415
    assert outcome.err.startswith("error: ")
    assert (
        run(root, "replay").out.splitlines()[2]
        == "serves        old (start 8, pid 1008, http://127.0.0.1:8188), healthy"
    )
    assert run(root, "show 3").code == 0
    assert run(root, "explain").err.startswith("error: read event ")
    verdict = run(root, "verify --json")
    assert verdict.code == 1
    assert 380 < verdict.json["first_damaged_seq"] <= 415

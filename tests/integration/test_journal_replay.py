"""`comfygit-journal replay`: from the journal alone, what every file must hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from comfygit_journal.cli import main
from comfygit_journal.replaying import Difference, differences, fold_journal
from journal import Draft, Journal, own_actor
from journal.events import ControlListening
from projections.evolve import evolve
from projections.publisher import Publisher
from projections.views import views
from tests.helpers.story_events import broken_target, completed, journal_of, serving

pytestmark = pytest.mark.slow

WRITER = """
import sys
from pathlib import Path
from journal import Draft, Journal, own_actor
from journal.events import ControlListening, OrchestratorStarted
from journal.identity import own_identity
from projections.evolve import fold
from projections.publisher import Publisher
from projections.state import WorkspaceState

metadata = Path(sys.argv[1])
publisher, state = Publisher(metadata), WorkspaceState()
me = OrchestratorStarted(identity=own_identity(), release="1", environment="", arguments=(), manual=True)
with Journal.open(metadata / "journal.db", own_actor("test")) as journal:
    def step(event):
        global state
        with journal.writing():
            journal.append([Draft(event)])
            state = fold(journal.read(state.seq), state)
            publisher.publish(state)
    step(me)
    print("ready", flush=True)
    for port in range(1024, 60000):
        step(ControlListening(host="127.0.0.1", port=port))
        if Path(sys.argv[2]).exists():
            break
"""
"""A workspace in which two views change with every event, as fast as the disk allows, until a file turns up."""


@pytest.fixture
def run(capsys):
    """Runs `replay` in this process: status, stdout, stderr."""

    def run(root: Path, *options: str) -> tuple[int, str, str]:
        code = main(["replay", *options, "--workspace", str(root)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def metadata(root: Path) -> Path:
    return root / ".metadata"


@pytest.fixture
def published(tmp_path) -> Path:
    """A workspace with an open switch whose views are all there."""
    root = journal_of(broken_target(), tmp_path)
    publish(root)
    return root


def publish(root: Path) -> None:
    with Journal.open_readonly(metadata(root) / "journal.db") as journal:
        Publisher(metadata(root)).publish(fold_journal(journal).state)


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in metadata(root).iterdir() if path.name.startswith(".")}


def test_views_that_hold_what_the_journal_says_all_agree(run, published):
    code, out, err = run(published)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "all views agree"
    assert json.loads(run(published, "--json")[1])["views_agree"] is True


def test_every_view_that_differs_is_named_with_what_was_expected_and_found(run, published):
    (metadata(published) / ".orchestrator.pid").write_text("4711")
    (metadata(published) / ".control_port").unlink()
    code, out, err = run(published)
    assert (code, err) == (1, "")
    assert out.splitlines()[-7:] == [
        ".orchestrator.pid differs",
        "  expected  100",
        "  found     4711",
        ".control_port differs",
        "  expected  5050",
        "  found     no file",
        "2 of 7 views differ",
    ]
    wrong = json.loads(run(published, "--json")[1])["differences"]
    assert wrong[0] == {"name": ".orchestrator.pid", "expected": "100", "found": "4711", "foreign": False}


def test_a_file_too_many_differs_as_well(run, tmp_path):
    root = journal_of(serving(), tmp_path)
    publish(root)
    (metadata(root) / ".switch_status.json").write_text("{}")
    assert "  expected  no file" in run(root)[1]


def test_write_restores_every_file_byte_for_byte(run, published):
    before = contents(published)
    for name in before:
        (metadata(published) / name).unlink()
    code, out, _ = run(published, "--write")
    assert code == 0
    assert out.count("restored ") == len(before)
    assert out.splitlines()[-1] == "all views agree"
    assert contents(published) == before
    assert run(published)[0] == 0


def test_write_with_nothing_to_restore_changes_nothing(run, published):
    before = {path: path.stat().st_mtime_ns for path in metadata(published).iterdir() if path.name[0] == "."}
    code, out, _ = run(published, "--write", "--json")
    assert (code, json.loads(out)["restored"]) == (0, [])
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_foreign_file_is_called_so_and_never_overwritten(run, tmp_path):
    root = journal_of(serving(), tmp_path)
    publish(root)
    request = metadata(root) / ".switch_request.json"
    request.write_text('{"target_env": "x"}')
    (metadata(root) / ".switch.lock").touch()
    code, out, _ = run(root)
    assert code == 1
    assert out.count("(a foreign file: ") == 2
    code, out, _ = run(root, "--write")
    assert code == 1
    assert "restored" not in out
    assert request.read_text() == '{"target_env": "x"}'


def test_what_a_file_holds_cannot_command_the_terminal(run, published):
    (metadata(published) / ".control_port").write_bytes(b"\x1b[2J\xff\n5050")
    out = run(published)[1]
    assert "  found     \\x1b[2J\\xff\\n5050" in out.splitlines()


def test_until_an_event_shows_the_state_then_and_compares_nothing(run, published):
    code, out, _ = run(published, "--until", "15")
    assert code == 0
    assert out.startswith("journal       15 events")
    assert "serves        old (start 8, pid 1008, http://127.0.0.1:8188), healthy" in out
    assert "agree" not in out
    assert json.loads(run(published, "--until", "15", "--json")[1])["serving"] == "old"


def test_until_a_time_is_until_the_last_event_stamped_by_then(run, published):
    out = run(published, "--until", "2026-03-01T12:01:45.900Z", "--json")[1]
    assert json.loads(out)["seq"] == 18


@pytest.mark.parametrize("until", ["0", "999"])
def test_until_an_event_that_is_not_there_is_an_error(run, published, until):
    code, out, err = run(published, "--until", until)
    assert (code, out) == (1, "")
    assert "there are events 1 to 31" in err


def test_until_a_time_before_the_journal_is_an_error(run, published):
    code, _, err = run(published, "--until", "2001-01-01")
    assert code == 1
    assert "the journal begins later" in err


def test_last_healthy_names_the_rollback_target(run, tmp_path):
    root = journal_of(completed(), tmp_path)
    code, out, _ = run(root, "--last-healthy")
    assert code == 0
    assert out.startswith("rollback target: old, generation 14, healthy at ")
    assert json.loads(run(root, "--last-healthy", "--json")[1])["rollback_targets"] == [
        {"environment": "old", "generation": 14}
    ]


def test_without_anything_healthy_before_there_is_no_rollback_target(run, tmp_path):
    code, out, err = run(journal_of(serving(), tmp_path), "--last-healthy")
    assert (code, out) == (1, "")
    assert err.startswith("error: looking for the last healthy environment")


def test_write_waits_for_whoever_writes_and_publishes_the_newest_state(run, published):
    with Journal.open(metadata(published) / "journal.db", own_actor("test")) as journal:
        journal.append([Draft(ControlListening(host="127.0.0.1", port=5051))])
    assert run(published)[0] == 1
    assert run(published, "--write")[0] == 0
    assert (metadata(published) / ".control_port").read_text() == "5051"


def test_views_that_cannot_be_written_are_an_error(run, published):
    (metadata(published) / ".control_port").unlink()
    blocked = metadata(published) / f".control_port.tmp.{os.getpid()}"
    blocked.mkdir()
    code, _, err = run(published, "--write")
    assert code == 1
    assert err.startswith(f"error: restoring the views: writing {metadata(published) / '.control_port'}: ")
    blocked.rmdir()


def test_a_file_may_agree_with_any_state_that_there_was_while_the_files_were_read(tmp_path):
    root = journal_of(serving(), tmp_path)
    path = metadata(root) / "journal.db"
    with Journal.open_readonly(path) as journal, Journal.open(path, own_actor("test")) as writer:
        before = fold_journal(journal).state
        Publisher(metadata(root)).publish(before)
        [recorded] = writer.append([Draft(ControlListening(host="127.0.0.1", port=5051))])
        state, wrong = differences(journal, metadata(root), before)
        assert (state.seq, wrong) == (recorded.seq, ())
        (metadata(root) / ".control_port").write_bytes(views(state)[".control_port"] or b"")
        assert differences(journal, metadata(root), before)[1] == ()
        (metadata(root) / ".control_port").write_text("1")
        expected = Difference(".control_port", b"5051", b"1", foreign=False)
        assert differences(journal, metadata(root), evolve(before, recorded))[1][0] == expected


def test_a_workspace_in_which_somebody_writes_all_the_time_agrees_each_time(run, tmp_path):
    folder, stop = tmp_path / ".metadata", tmp_path / "stop"
    folder.mkdir()
    command = [sys.executable, "-c", WRITER, str(folder), str(stop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        try:
            assert writer.stdout.readline() == "ready\n"
            seen: list[int] = []
            while len(seen) < 5 or seen[-1] < seen[0] + 20:
                code, out, err = run(tmp_path, "--json")
                document = json.loads(out)
                assert (code, err, document["differences"]) == (0, "", [])
                seen.append(document["seq"])
            assert run(tmp_path, "--write")[0] == 0
        finally:
            stop.touch()
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert run(tmp_path)[0] == 0

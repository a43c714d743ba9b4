"""What all commands of `comfygit-journal` have in common."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from comfygit_journal import quick
from comfygit_journal.cli import main
from journal import Draft, Journal, own_actor
from journal.events import (
    ControlListening,
    OrchestratorStarted,
)
from journal.identity import own_identity
from orchestrator.panel import finding
from tests.helpers.journal_command import Run, database, runner
from tests.helpers.story_events import broken_target, journal_of, rolled_back, serving

pytestmark = pytest.mark.slow

READING = ["replay", "log", "show 3", "switches", "explain", "verify"]


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


def program(*arguments: object, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "comfygit_journal", *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("command", READING)
def test_without_a_journal_every_command_says_what_is_missing(run, tmp_path, command):
    outcome = run(tmp_path, command)
    assert (outcome.code, outcome.out) == (1, "")
    assert "there is no folder .metadata" in outcome.err
    (tmp_path / ".metadata").mkdir()
    outcome = run(tmp_path, command)
    assert (outcome.code, outcome.out) == (1, "")
    assert "no such journal" in outcome.err
    assert list((tmp_path / ".metadata").iterdir()) == []


@pytest.mark.parametrize("command", READING)
def test_reading_commands_leave_the_journal_as_it_is(run, ws, command):
    before = database(ws).read_bytes(), (ws / ".metadata" / "journal.head").read_bytes()
    assert run(ws, command).code in {0, 1}
    assert (database(ws).read_bytes(), (ws / ".metadata" / "journal.head").read_bytes()) == before


def test_the_workspace_may_stand_before_the_command(run, ws):
    assert run(None, f"--workspace {ws} log -n 1").code == 0
    assert main(["--workspace", "/nowhere", "log", "-n", "1", "--workspace", str(ws)]) == 0


def test_the_workspace_is_found_as_the_orchestrator_finds_it(run, ws, tmp_path, monkeypatch):
    inside = ws / "environments" / "old" / "ComfyUI"
    inside.mkdir(parents=True)
    home = tmp_path / "home"
    (home / "comfygit" / ".metadata").mkdir(parents=True)
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    for place, at_home, variable, found in (
        (inside, nowhere, None, ws),
        (nowhere, nowhere, str(ws), ws),
        (nowhere, nowhere, str(nowhere), None),
        (inside, home, None, home / "comfygit"),
        (ws, nowhere, None, ws),
    ):
        monkeypatch.chdir(place)
        monkeypatch.setenv("HOME", str(at_home))
        monkeypatch.setenv("COMFYGIT_HOME", variable or "")
        assert finding.find_workspace_root() == found
        assert quick.workspace_root() == str(found or "")
        assert run(None, "log -n 1").code == (0 if found == ws else 1)


def test_results_and_messages_go_apart_and_the_status_says_how_it_went(ws):
    for arguments, status in (("log -n 2", 0), ("replay", 1), ("show x", 2)):
        child = program(*arguments.split(), "--workspace", ws)
        out, err = child.communicate(timeout=20)
        assert child.returncode == status
        assert bool(out) == (status != 2)
        assert ("error: " in err) == (status == 2)


def test_a_reader_that_leaves_early_is_no_trouble(tmp_path):
    history = serving()
    for number in range(2_000):
        history.add(ControlListening(host="", port=None, why=f"{number}"))
    child = program("log", "--workspace", journal_of(history, tmp_path))
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait(20) == 141
    child.stderr.close()


def test_reading_commands_import_nothing_that_they_do_not_need(ws):
    script = (
        "import sys; before = set(sys.modules)\n"
        "from comfygit_journal.cli import main; sys.stdout = open('/dev/null', 'w')\n"
        "heavy = {'sqlite_utils', 'aiohttp', 'psutil', 'rich', 'filelock', 'asyncio'}\n"
        "light = {'click', 'attr', 'cattrs', 'journal', 'pathlib'}\n"
        f"main(['log', '-n', '20', '--workspace', {str(ws)!r}])\n"
        "first = sorted((heavy | light) & set(sys.modules) - before)\n"
        f"for command in {READING!r}: main([*command.split(), '--workspace', {str(ws)!r}])\n"
        "print(first, sorted(heavy & set(sys.modules) - before), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "[] []\n"


def test_a_bug_is_reported_as_one(run, ws, monkeypatch):
    monkeypatch.setattr("comfygit_journal.verify_command.verify", lambda journal: 1 / 0)
    outcome = run(ws, "verify")
    assert outcome.code == 1
    assert "ZeroDivisionError" in outcome.err
    assert outcome.err.endswith("error: this is a bug in comfygit-journal\nhint: report it, with the lines above\n")


def test_an_orchestrator_at_work_and_an_unfinished_switch_can_be_read(run, tmp_path):
    history = broken_target()
    root = journal_of(history, tmp_path)
    with Journal.open(database(root), own_actor("test")) as journal, journal.writing():
        started = OrchestratorStarted(identity=own_identity(), release="1", environment="", arguments=None, manual=True)
        journal.append([Draft(started)])
        for command in ("log", "show 3", "switches", "explain", "verify"):
            assert run(root, command).code == 0

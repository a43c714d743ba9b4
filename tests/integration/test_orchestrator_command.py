"""`comfygit-orchestrator` on a workspace where no orchestrator lives: what it prints, where, and its exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from comfyui_stand_in.install import install, make_python
from journal.codec import Draft, own_actor
from journal.events import (
    Evidence,
    GenerationRecorded,
    LockAcquired,
    OrchestratorStarted,
    Origin,
    SwitchKind,
    SwitchRequested,
)
from journal.identity import Identity, boot_id, own_identity
from journal.store import Journal
from orchestrator.cli import cli, main, split_arguments
from orchestrator.ledger import Ledger
from orchestrator.workspace import Workspace


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    (tmp_path / ".metadata").mkdir()
    for name in ("stable", "nightly"):
        install(tmp_path / "environments" / name / "ComfyUI")
        make_python(tmp_path / "environments" / name / ".venv")
    return Workspace(tmp_path)


@pytest.fixture
def run(workspace, capfd):
    def call(*arguments: str) -> tuple[int, str, str]:
        status = main([*arguments, "--workspace", str(workspace.root)])
        said = capfd.readouterr()
        return status, said.out, said.err

    return call


def journal_of(workspace: Workspace, *drafts: Draft) -> None:
    with Ledger.open(workspace, own_actor("test")) as ledger:
        ledger.ask(lambda _: drafts)


def generation(environment: str) -> Draft:
    return Draft(
        GenerationRecorded(
            environment=environment, fingerprint="f", evidence=Evidence.PROBED, spawn=None, arguments=("--cpu",)
        )
    )


def started(identity: Identity) -> Draft:
    return Draft(OrchestratorStarted(identity=identity, release="1", environment="stable", arguments=(), manual=True))


SHOWN = sorted(name for name, command in cli.commands.items() if not command.hidden)


@pytest.mark.parametrize("name", [*SHOWN, "generations pin", "generations unpin"])
def test_every_command_has_help_that_shows_an_example(name):
    done = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert done.exit_code == 0
    assert f"comfygit-orchestrator {name}" in done.output.split("Example:")[1]


@pytest.mark.parametrize("name", SHOWN)
def test_every_command_is_in_the_readme_or_reachable_from_its_help(name):
    assert name in CliRunner().invoke(cli, ["--help"]).output


def test_wrong_usage_ends_with_2(capfd):
    assert main(["switch"]) == 2
    assert "TARGET" in capfd.readouterr().err


def test_no_workspace_is_an_error_with_a_hint(tmp_path, capfd):
    assert main(["status", "--workspace", str(tmp_path)]) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: opening workspace")
    assert "hint: " in said


def test_status_of_a_workspace_never_used_writes_nothing(run, workspace):
    status, out, _ = run("status")
    assert status == 0
    assert "serving       nothing" in out
    assert list(workspace.metadata.iterdir()) == []


def test_status_imports_nothing_of_the_loop(run, workspace):
    run("spawn", "--environment", "gone")  # there is a journal
    script = (
        "import sys; from orchestrator.cli import main\n"
        f"main(['status', '--workspace', {str(workspace.root)!r}])\n"
        "heavy = ('aiohttp', 'asyncio', 'filelock', 'psutil', 'rich', 'sqlite_utils')\n"
        "loop = ('asking', 'deciding', 'environments', 'inbox', 'ledger', 'observing', 'processes', 'world')\n"
        "print([name for name in (*heavy, *map('orchestrator.{}'.format, loop)) if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "not running" in done.stdout
    assert done.stderr == "[]\n"


def test_status_as_json(run):
    status, out, _ = run("status", "--json")
    assert status == 0
    assert json.loads(out)["serving"] is None


@pytest.mark.scenario("B-27")
@pytest.mark.parametrize("name", ["../stable", "a/b", ".", "", "x" * 300, "a\nb", "gone"])
def test_a_switch_to_what_is_no_environment_is_refused_by_name_and_starts_nothing(run, workspace, name):
    before = sorted(path for path in workspace.root.rglob("*") if ".metadata" not in path.parts)
    status, out, err = run("switch", "--", name) if name.startswith("-") else run("switch", name)
    assert status == 1
    assert out == ""
    assert "error: not switching" in err
    assert "\n" not in err.strip()
    with Journal.open_readonly(workspace.journal_path) as journal:
        assert [recorded.event.stored_name for recorded in journal.read()] == ["journal.created", "switch.refused"]
    assert sorted(path for path in workspace.root.rglob("*") if ".metadata" not in path.parts) == before


def test_a_refusal_as_json_names_the_reason(run):
    status, out, _ = run("switch", "gone", "--json")
    assert status == 1
    assert json.loads(out)["outcome"] == "unknown_environment"


@pytest.mark.scenario("B-14")
def test_a_second_switch_is_refused_and_told_who_holds_the_lock(run, workspace):
    journal_of(workspace, started(own_identity()))
    requested = SwitchRequested(
        target="stable", source="", kind=SwitchKind.SWITCH, origin=Origin.CLI, requester=own_identity()
    )
    journal_of(workspace, Draft(requested, switch=3), Draft(LockAcquired(holder=own_identity()), switch=3))
    status, _, err = run("switch", "nightly")
    assert status == 1
    assert "switch 3 to 'stable' holds the lock" in err
    assert f"pid {os.getpid()}" in err


def test_what_is_reached_already_is_success(run):
    assert run("stop")[0] == 0
    assert run("abort")[:2] == (0, "no switch is under way\n")


def test_spawn_beside_a_living_orchestrator_is_success_and_starts_nothing(run, workspace):
    journal_of(workspace, started(own_identity()))
    status, out, _ = run("spawn", "--environment", "stable")
    assert status == 0
    assert f"already running: orchestrator pid {os.getpid()}" in out


def test_spawn_of_an_unknown_environment_names_those_that_there_are(run):
    status, _, err = run("spawn", "--environment", "gone")
    assert status == 1
    assert "hint: there are: nightly, stable" in err


@pytest.mark.scenario("B-27")
def test_run_of_an_unknown_environment_leaves_no_journal(run, workspace):
    status, _, err = run("run", "--environment", "../elsewhere")
    assert status == 1
    assert "../elsewhere" in err
    assert not workspace.journal_path.exists()


def test_a_dead_orchestrator_is_not_called_alive(run, workspace):
    journal_of(workspace, started(Identity(2**22 + 1, 1, boot_id())))
    assert "not running" in run("status")[1]


def test_rollback_without_anything_healthy_is_an_error(run):
    status, _, err = run("rollback")
    assert status == 1
    assert "no healthy generation" in err


def test_a_dry_run_says_where_it_would_go_and_changes_nothing(run, workspace):
    journal_of(workspace, generation("nightly"), generation("stable"))
    seq = Journal.open_readonly(workspace.journal_path)
    with seq as journal:
        before = journal.head()
    status, out, _ = run("rollback", "--dry-run", "--json")
    assert status == 0
    plan = json.loads(out)
    assert (plan["environment"], plan["generation"], plan["kept"], plan["problem"]) == ("stable", 3, False, None)
    status, out, _ = run("rollback", "--to", "2", "--dry-run")
    assert "environment nightly, generation 2" in out
    assert run("rollback", "--to", "99", "--dry-run")[0] == 1
    with Journal.open_readonly(workspace.journal_path) as journal:
        assert journal.head() == before


def test_generations_newest_first(run, workspace):
    journal_of(workspace, generation("nightly"), generation("stable"))
    status, out, _ = run("generations", "--json")
    assert status == 0
    assert [entry["environment"] for entry in json.loads(out)] == ["stable", "nightly"]
    assert run("generations")[1].splitlines()[1].startswith("3 ")


@pytest.mark.parametrize(
    ("argv", "ours", "theirs"),
    [
        (["run", "--environment", "a"], ["run", "--environment", "a"], None),
        (["run", "--args"], ["run"], ()),
        (["run", "--args", "--port", "1", "--args"], ["run"], ("--port", "1", "--args")),
        (
            ["--workspace", "w", "--environment", "a"],
            ["run", "--detached", "--workspace", "w", "--environment", "a"],
            (),
        ),
        (["--help"], ["--help"], None),
        ([], [], None),
    ],
)
def test_what_is_ours_and_what_is_comfyuis(argv, ours, theirs):
    assert split_arguments(argv) == (ours, theirs)


def test_the_panels_way_of_starting_us_is_understood_by_a_script_too(tmp_path):
    ours, theirs = split_arguments(["--environment", "a", "--workspace", str(tmp_path), "--args", "--enable-manager"])
    assert ours[:2] == ["run", "--detached"]
    assert theirs == ()
    assert Path(ours[-1]) == tmp_path

"""`generations`, `pin`, `unpin` and `rollback --dry-run` where no orchestrator lives: what they print, and when they write."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from journal.codec import Draft, own_actor
from journal.events import CaptureFinished, CaptureStarted, Evidence, GenerationRecorded, SavedFile
from orchestrator.cli import main
from orchestrator.environments.content import ContentError
from orchestrator.environments.content_program import capture
from orchestrator.ledger import Ledger
from orchestrator.workspace import EnvironmentPaths, Workspace
from tests.helpers.content_fixtures import Seen, comfygit_environment, everything, git, write

Run = Callable[..., tuple[int, str, str]]
MANIFEST = """
[tool.comfygit.nodes.sampler]
name = "sampler"
source = "git"
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With `alpha`, which has a manifest repository, and the plain folder `plain`; neither has ever been started."""
    (tmp_path / ".metadata").mkdir()
    alpha = comfygit_environment(tmp_path / "environments" / "alpha")
    write(alpha.cec / "pyproject.toml", MANIFEST)
    add_node(alpha, "sampler", "1.0")
    add_node(alpha, "mine", "1.0")
    add_package(alpha, "idna", "3.6")
    plain = tmp_path / "environments" / "plain"
    write(plain / "ComfyUI" / "main.py", "pass")
    write(plain / "pyproject.toml", "[project]\n")
    write(plain / "uv.lock", "version = 1\n")
    for environment in (alpha.root, plain):
        write(environment / ".venv" / "bin" / "python", "#!/bin/sh\n", executable=True)
    return Workspace(tmp_path)


@pytest.fixture
def run(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        status = main([*arguments, "--workspace", str(workspace.root)])
        said = capfd.readouterr()
        return status, said.out, said.err

    return call


def add_node(paths: EnvironmentPaths, name: str, version: str) -> None:
    write(paths.comfyui / "custom_nodes" / name / "pyproject.toml", f'[project]\nversion = "{version}"\n')


def add_package(paths: EnvironmentPaths, name: str, version: str) -> None:
    packages = paths.venv / "lib" / "python3.11" / "site-packages"
    for older in packages.glob(f"{name}-*.dist-info"):
        older.rename(older.with_name(f"{name}-{version}.dist-info"))
    (packages / f"{name}-{version}.dist-info").mkdir(parents=True, exist_ok=True)


def healthy(workspace: Workspace, environment: str) -> int:
    """A generation of what is there now, kept as an orchestrator keeps it."""
    paths = workspace.environment(environment)
    made = GenerationRecorded(
        environment=environment, fingerprint="f-1", evidence=Evidence.PROBED, spawn=None, arguments=()
    )
    with Ledger.open(workspace, own_actor("test")) as ledger:
        generation = ledger.ask(lambda _: (Draft(made),))[0].seq
        started = CaptureStarted(generation=generation, environment=environment)
        worker = ledger.ask(lambda _: (Draft(started),))[0].seq
        try:
            kept = capture(paths, generation, ledger.state.journal_id, frozenset())
        except ContentError as error:
            kept = {"ok": False, "commit": "", "files": [], "inventory": [], "error": str(error)}
        finished = CaptureFinished(
            worker=worker,
            generation=generation,
            ok=kept["ok"],
            commit=kept["commit"],
            files=tuple(SavedFile(**file) for file in kept["files"]),
            inventory=tuple(kept["inventory"]),
            duration_ns=1,
            error=kept["error"],
        )
        ledger.ask(lambda _: (Draft(finished),))
    return generation


@pytest.mark.parametrize(
    "arguments",
    [
        ("generations", "pin", "3"),
        ("generations", "unpin", "3"),
        ("rollback",),
        ("rollback", "--to", "3"),
        ("rollback", "--dry-run"),
    ],
    ids=" ".join,
)
def test_in_a_workspace_without_a_journal_it_is_an_error_that_writes_nothing(run, workspace, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert "error: there is no healthy generation in" in err
    assert "hint: start one: comfygit-orchestrator spawn" in err
    assert list(workspace.metadata.iterdir()) == []


def test_a_list_of_nothing_writes_nothing(run, workspace):
    assert run("generations")[:2] == (0, "no environment has been seen healthy yet\n")
    assert run("generations", "--json")[:2] == (0, "[]\n")
    assert list(workspace.metadata.iterdir()) == []


def test_a_generation_is_pinned_under_a_name_found_by_it_and_unpinned(run, workspace):
    first, second = healthy(workspace, "alpha"), healthy(workspace, "plain")
    status, out, _ = run("generations", "pin", str(first), "before-the-update")
    assert (status, out) == (
        0,
        f"generation {first} is pinned as before-the-update: it is remembered until it is unpinned\n",
    )
    assert f"{first} before-the-update" in run("generations")[1]
    status, out, _ = run("generations", "pin", "before-the-update", "--json")
    assert json.loads(out) == {"generation": first, "pinned": True, "name": "before-the-update"}
    assert run("rollback", "--to", "before-the-update", "--dry-run")[0] == 0

    status, _, err = run("generations", "pin", str(second), "before-the-update")
    assert status == 1
    assert f"error: generation {first} is called 'before-the-update' already" in err
    assert "hint: unpin it first: comfygit-orchestrator generations unpin before-the-update" in err

    status, out, _ = run("generations", "unpin", "before-the-update", "--json")
    assert json.loads(out) == {"generation": first, "pinned": False, "name": None}
    assert run("generations", "pin", str(second), "before-the-update")[0] == 0
    listed = json.loads(run("generations", "--json")[1])
    assert [(one["generation"], one["pinned"], one["name"]) for one in listed] == [
        (second, True, "before-the-update"),
        (first, False, None),
    ]


@pytest.mark.parametrize("name", ["12", "a b", "../x", "x" * 41, ".hidden", "a\nb", "é"])
def test_a_bad_name_is_refused_with_what_is_allowed(run, workspace, name):
    generation = healthy(workspace, "plain")
    status, out, err = run("generations", "pin", str(generation), name)
    assert (status, out) == (1, "")
    problem, hint = err.splitlines()
    assert "cannot be the name of a generation" in problem
    assert hint.startswith("hint: letters, digits")


@pytest.mark.parametrize("given", ["99", "nobody", "", "9" * 6000, "٣"])
@pytest.mark.parametrize("command", ["pin", "unpin", "rollback"])
def test_a_generation_that_there_is_not_is_an_error_with_a_hint(run, workspace, command, given):
    healthy(workspace, "plain")
    arguments = ("rollback", f"--to={given}") if command == "rollback" else ("generations", command, given)
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("error: there is no generation ")
    assert "hint: list them with: comfygit-orchestrator generations" in err
    assert len(err) < 300


def test_options_before_a_subcommand_are_wrong_usage_that_says_where_they_belong(capfd, workspace):
    assert main(["generations", "--json", "pin", "3"]) == 2
    assert "options belong behind the subcommand, as in: generations pin 184 --json" in capfd.readouterr().err
    assert main(["generations", "--workspace", str(workspace.root), "unpin", "3"]) == 2
    assert "generations unpin 184 --json" in capfd.readouterr().err
    assert main(["generations", "--workspace", str(workspace.root), "--json"]) == 0


def test_a_dry_run_tells_what_would_be_written_installed_and_left_alone_and_writes_nothing(run, workspace):
    alpha = workspace.environment("alpha")
    generation = healthy(workspace, "alpha")
    write(alpha.cec / "pyproject.toml", f"{MANIFEST}\n# edited")
    write(alpha.cec / "overlays" / "new.toml", "x = 2\n")
    add_node(alpha, "sampler", "2.0")
    add_node(alpha, "mine", "2.0")
    add_package(alpha, "idna", "3.7")
    before = on_disk(workspace)
    status, out, err = run("rollback", "--to", str(generation), "--dry-run")
    assert (status, err) == (0, "")
    assert [line.strip() for line in out.splitlines()[1:]] == [
        "would write      .cec/pyproject.toml",
        "would remove     .cec/overlays/new.toml",
        "would install    node sampler 1.0 (now 2.0)",
        "would install    package idna 3.6 (now 3.7)",
        "would leave      node mine as it is, 2.0; it was 1.0 then",
        "what is there now is saved first, as a generation of its own: rollback --to its number undoes it",
    ]
    plan = json.loads(run("rollback", "--to", str(generation), "--dry-run", "--json")[1])
    assert (plan["write"], plan["remove"]) == ([".cec/pyproject.toml"], [".cec/overlays/new.toml"])
    assert [one["name"] for one in plan["install"]] == ["sampler", "idna"]
    assert [one["name"] for one in plan["left_alone"]] == ["mine"]
    assert on_disk(workspace) == before


def on_disk(workspace: Workspace) -> dict[str, Seen]:
    """Everything, but for the two files that SQLite has beside the journal while anybody reads it."""
    return {name: what for name, what in everything(workspace.root).items() if "journal.db-" not in name}


def test_a_dry_run_of_what_is_on_the_disk_writes_nothing(run, workspace):
    generation = healthy(workspace, "alpha")
    out = run("rollback", "--to", str(generation), "--dry-run")[1]
    assert out.splitlines()[1:] == ["  would write nothing: these files are on the disk already"]


def test_content_with_a_secret_is_not_kept_and_every_command_says_so(run, workspace):
    secret = "https://me:hunter2-hunter2@example.org/simple"
    write(workspace.environment("plain").root / "pyproject.toml", f'[tool.uv]\nindex-url = "{secret}"\n')
    generation = healthy(workspace, "plain")
    assert "not kept: " in run("generations")[1]
    assert all(len(line) < 160 for line in run("generations")[1].splitlines())
    [listed] = json.loads(run("generations", "--json")[1])
    assert (listed["kept"], "seems to hold a secret" in listed["not_kept"]) == (False, True)
    status, out, _ = run("rollback", "--to", str(generation), "--dry-run")
    assert status == 0
    assert "its content was not kept: " in out
    assert "seems to hold a secret" in out
    assert "it would be started as it is on the disk" in out
    assert "its content is not kept: " in run("generations", "pin", str(generation), "mine")[1]
    assert b"hunter2" not in workspace.journal_path.read_bytes()


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "for real"])
def test_a_rollback_to_an_environment_that_is_gone_is_an_error(run, workspace, dry):
    generation = healthy(workspace, "plain")
    root = workspace.environment("plain").root
    root.rename(root.with_name("elsewhere"))
    status, out, err = run("rollback", "--to", str(generation), *(["--dry-run"] if dry else []))
    assert status == 1
    assert "'plain'" in out + err
    if dry:
        assert "but it cannot: " in out
        plan = json.loads(run("rollback", "--to", str(generation), "--dry-run", "--json")[1])
        assert "'plain'" in plan["problem"]
    else:
        assert err.startswith("error: not switching: ")


def test_without_a_number_an_environment_that_is_gone_is_passed_by(run, workspace):
    alpha, _plain = healthy(workspace, "alpha"), healthy(workspace, "plain")
    root = workspace.environment("plain").root
    root.rename(root.with_name("elsewhere"))
    assert json.loads(run("rollback", "--dry-run", "--json")[1])["generation"] == alpha
    alpha_root = workspace.environment("alpha").root
    alpha_root.rename(alpha_root.with_name("elsewhere too"))
    status, out, err = run("rollback", "--dry-run")
    assert (status, out) == (1, "")
    assert "error: there is no healthy generation to go back to" in err


def test_content_whose_commit_is_gone_is_an_error_with_a_hint(run, workspace):
    generation = healthy(workspace, "alpha")
    cec = workspace.environment("alpha").cec
    git(cec, "update-ref", "-d", f"refs/comfygit-journal/{generation}")
    git(cec, "gc", "--quiet", "--prune=now")
    status, out, err = run("rollback", "--to", str(generation), "--dry-run")
    assert (status, out) == (1, "")
    assert "error: reading the content that environment 'alpha' had" in err
    assert "hint: " in err

"""Real ComfyGit environments, synced by the real comfygit-core: what a rollback brings back, and what nothing ever touches."""

import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from comfyui_stand_in.comfygit import git, make_environment, make_workspace
from journal.codec import Draft, own_actor
from journal.events import (
    CaptureFinished,
    CaptureStarted,
    Evidence,
    GenerationPinned,
    GenerationProven,
    GenerationRecorded,
    RestoreFinished,
    RestoreStarted,
    SwitchRequested,
)
from journal.identity import Identity, is_alive
from orchestrator.environments.git_content import keep
from orchestrator.ledger import Ledger
from orchestrator.workspace import EnvironmentPaths, open_workspace
from projections.generations import KEPT
from projections.state import OutcomeState, WorkKind, WorkspaceState
from tests.helpers.live_content import (
    GOOD_NODE,
    LAST_LINE,
    NODE,
    PINNED,
    in_ref,
    installed,
    kept,
    manifest_of,
    update_in_place,
)
from tests.helpers.live_workspace import LiveWorkspace
from tests.helpers.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def comfygit(workspace, uv_cache) -> Callable[..., LiveWorkspace]:
    """A workspace with a ComfyGit environment `alpha` that serves and is kept, and plain ones as they are named."""

    def make(*dependencies: str, nodes: dict[str, str] | None = None, **others: object) -> LiveWorkspace:
        live: LiveWorkspace = workspace(**others)
        make_workspace(live.root, uv_cache)
        make_environment(live.root, "alpha", dependencies, nodes)
        live.serve("alpha")
        kept(live, "alpha")
        return live

    return make


def repository(live: LiveWorkspace) -> tuple[str, ...]:
    """What of alpha's manifest repository is not ours: HEAD, the branch, all refs but our own, what git says has changed."""
    cec = manifest_of(live, "alpha").parent
    refs = git(cec, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    status = git(cec, "status", "--porcelain", "--untracked-files=all")
    theirs = [ref for ref in refs if not ref.startswith("refs/comfygit-journal")]
    return git(cec, "symbolic-ref", "HEAD"), git(cec, "rev-parse", "HEAD"), *theirs, status


def digests(*folders: Path) -> dict[str, str]:
    """Every file in there, git's own aside, by its hash."""
    files = [file for folder in folders for file in ([folder] if folder.is_file() else folder.rglob("*"))]
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file() and not {".git", "__pycache__"} & set(file.parts)
    }


@pytest.mark.scenario("B-09")
def test_an_update_in_place_that_breaks_is_taken_back_by_itself_and_the_story_says_how_to_have_it_again(comfygit):
    live = comfygit(PINNED, nodes={NODE: GOOD_NODE})
    healthy = kept(live, "alpha")
    manifest = manifest_of(live, "alpha")
    good = manifest.read_bytes()
    broken = update_in_place(live, "alpha")
    live.leave(42)
    state = live.until_over()

    assert (state.serving, state.switches[-1].state) == ("alpha", OutcomeState.ROLLED_BACK)
    assert live.ask("/stand_in/environ")["cwd"] == str(live.comfyui("alpha"))
    assert LAST_LINE in live.shown("rolled_back")["error"]
    assert (live.comfyui("alpha") / "custom_nodes" / NODE / "__init__.py").read_text() == GOOD_NODE
    assert "iniconfig-2.0.0" in installed(live, "alpha")
    assert "iniconfig-2.1.0" not in installed(live, "alpha")
    assert manifest.read_bytes() == good
    [restored] = live.of(RestoreStarted)
    assert restored.generation == healthy.generation
    assert in_ref(live, "alpha", restored.saved, "pyproject.toml") == broken
    assert b'version = "2.1.0"' in in_ref(live, "alpha", restored.saved, "uv.lock")
    assert len(live.of(SwitchRequested)) == 1

    told = " ".join(live.cli("explain", tool="journal").stdout.split())
    assert "process.exited" in told
    assert "exit code 1; its last lines: " in told
    assert LAST_LINE in told
    assert f"generation {healthy.generation} of alpha brought back: .cec/pyproject.toml, .cec/uv.lock" in told
    assert f"generation {restored.saved}, refs/comfygit-journal/{restored.saved} in its .cec" in told
    assert "package iniconfig 2.0.0 -> 2.1.0" in told
    assert f"node {NODE} " in told
    assert f"comfygit-orchestrator rollback --workspace {live.root} --to {restored.saved} # undoes" in told

    planned = live.cli("rollback", "--to", str(restored.saved), "--dry-run", "--json")
    plan = json.loads(planned.stdout)
    assert plan["write"] == [".cec/pyproject.toml", ".cec/uv.lock"]
    assert [(one["kind"], one["name"]) for one in plan["install"]] == [("node", NODE), ("package", "iniconfig")]
    kept(live, "alpha")
    listed = json.loads(live.cli("generations", "--json").stdout)
    assert [(one["evidence"], one["kept"]) for one in listed] == [("probed", True), ("saved", True), ("probed", True)]


def worked_in(live: LiveWorkspace) -> list[Path]:
    """The folders in which somebody has worked: untracked nodes, a tracked one, workflows, all of it nowhere else."""
    nodes = live.comfyui("alpha") / "custom_nodes"
    (nodes / "my-own").mkdir()
    (nodes / "my-own" / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}  # mine\n")
    git(nodes, "clone", "--quiet", str(live.root / "node_origins" / NODE), "checkout")
    (nodes / "checkout" / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}  # changed, not committed\n")
    (nodes / NODE / "notes.txt").write_text("written into a tracked node\n")
    user, kept_workflows = live.comfyui("alpha") / "user", manifest_of(live, "alpha").parent / "workflows"
    for workflows in (user / "default" / "workflows", kept_workflows):
        workflows.mkdir(parents=True, exist_ok=True)
        (workflows / "mine.json").write_text('{"nodes": ["mine"]}\n')
    return [nodes, user, kept_workflows]


@pytest.mark.scenario("B-45")
def test_nobodys_work_is_lost_by_starts_switches_failures_a_rollback_and_its_undo(comfygit):
    live = comfygit(nodes={NODE: GOOD_NODE}, good=None, bad={"die_at_start": 7})
    generation = kept(live, "alpha").generation
    manifest = manifest_of(live, "alpha")
    clean = (manifest.read_bytes(), repository(live))
    work = worked_in(live)
    untouched = digests(*work)
    manifest.write_bytes(clean[0] + b"\n# to do: try the new sampler\n")
    dirty = (manifest.read_bytes(), repository(live))
    assert "M pyproject.toml" in dirty[1][-1]

    def state_of_it() -> tuple[bytes, tuple[str, ...]]:
        assert digests(*work) == untouched
        return manifest.read_bytes(), repository(live)

    live.leave(42)
    live.until(lambda state: len(live.starts("alpha")) == 2 and state.serving == "alpha")
    kept(live, "alpha")
    assert state_of_it() == dirty
    assert live.switch("good").serving == "good"
    assert live.switch("alpha").serving == "alpha"
    kept(live, "alpha")
    assert state_of_it() == dirty
    manifest.write_bytes(dirty[0] + b"# and another note, that never was started with\n")
    dirty = (manifest.read_bytes(), repository(live))
    assert live.switch("bad").serving == "alpha"
    assert state_of_it() == dirty
    assert not live.of(RestoreStarted)

    done = live.cli("rollback", "--to", str(generation))
    assert done.returncode == 0, done.stderr + live.log()
    assert manifest.read_bytes() == clean[0]
    assert digests(*work) == untouched
    assert repository(live)[:-1] == clean[1][:-1]
    assert "pyproject.toml" not in repository(live)[-1]
    [restored] = live.of(RestoreStarted)
    assert in_ref(live, "alpha", restored.saved, "pyproject.toml") == dirty[0]
    kept(live, "alpha")
    assert live.cli("rollback", "--to", str(restored.saved)).returncode == 0
    assert state_of_it() == dirty


def test_a_restore_whose_orchestrator_is_killed_is_finished_by_the_next_one_whatever_its_worker_had_done(comfygit):
    live = comfygit()
    generation = kept(live, "alpha").generation
    manifest = manifest_of(live, "alpha")
    good, overlay = manifest.read_bytes(), manifest.parent / "overlays" / ".local.toml"
    for worker_dies in (True, False):
        overlay.parent.mkdir(exist_ok=True)
        overlay.write_text("mine = true\n")
        edited = good + f"\n# worker dies: {worker_dies}\n".encode()
        manifest.write_bytes(edited)
        assert live.cli("rollback", "--to", str(generation), "--timeout", "0.001").returncode == 1
        worker = live.until(lambda state: restorer(state) is not None).worker
        live.die()
        ended_by_now(worker.identity, kill=worker_dies)
        if worker_dies:  # as far as it may have come: one file of two
            manifest.write_bytes(good)
            overlay.parent.mkdir(exist_ok=True)
            overlay.write_text("mine = true\n")
        live.start()
        ended = live.until(lambda state: state.job is None and state.serving == "alpha").switches[-1]
        assert ended.state is OutcomeState.COMPLETE
        assert (manifest.read_bytes(), overlay.exists()) == (good, False)
        assert live.of(RestoreFinished)[-1].ok
        [saved] = {event.saved for event in live.of(RestoreStarted)[-2:]}
        assert in_ref(live, "alpha", saved, "pyproject.toml") == edited
        assert in_ref(live, "alpha", saved, "overlays/.local.toml") == b"mine = true\n"
        told = live.cli("explain", tool="journal").stdout
        assert f"generation {generation} of alpha brought back, what an interrupted try had left of it" in told
        kept(live, "alpha")


def restorer(state: WorkspaceState) -> Identity | None:
    """The process that restores at this moment."""
    worker = state.worker
    return worker.identity if worker is not None and worker.kind is WorkKind.RESTORE else None


def ended_by_now(identity: Identity, *, kill: bool) -> None:
    if kill and is_alive(identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, signal.SIGKILL)
    until(lambda: not is_alive(identity))


def recorded(ledger: Ledger, paths: EnvironmentPaths, number: int) -> int:
    """A generation with a content of its own number, kept in the repository as it is."""
    made = GenerationRecorded(
        environment=paths.name, fingerprint=f"{number}-x", evidence=Evidence.PROBED, spawn=None, arguments=()
    )
    generation = ledger.ask(lambda _: (Draft(made),))[0].seq
    started = CaptureStarted(generation=generation, environment=paths.name)
    worker = ledger.ask(lambda _: (Draft(started),))[0].seq
    finished = CaptureFinished(
        worker=worker,
        generation=generation,
        ok=True,
        commit=keep(paths, generation, ledger.state.journal_id, frozenset(range(1, 1000))),
        files=(),
        inventory=(),
        duration_ns=1,
        error="",
    )
    ledger.ask(lambda _: (Draft(finished),))
    return generation


def test_forgotten_generations_lose_their_refs_and_pinned_proven_and_other_journals_keep_theirs(workspace, uv_cache):
    live = workspace()
    make_workspace(live.root, uv_cache)
    make_environment(live.root, "alpha")
    opened = open_workspace(live.root)
    paths = opened.environment("alpha")
    proven, pinned, others = [], [], []
    with Ledger.open(opened, own_actor("test")) as ledger:
        proven.append(recorded(ledger, paths, 0))
        ledger.ask(lambda _: (Draft(GenerationProven(generation=proven[0])),))
        pinned.append(recorded(ledger, paths, 1))
        ledger.ask(lambda _: (Draft(GenerationPinned(generation=pinned[0], name="mine")),))
        others += [recorded(ledger, paths, number) for number in range(2, KEPT + 4)]
    keep(paths, 7_777, "an-other-journal", frozenset())

    def refs() -> set[int]:
        named = git(paths.cec, "for-each-ref", "--format=%(refname)", "refs/comfygit-journal").split()
        return {int(name.rpartition("/")[2]) for name in named}

    assert refs() == {*proven, *pinned, *others, 7_777}
    live.serve("alpha")
    newest = kept(live, "alpha").generation
    assert refs() == {*proven, *pinned, *others[-KEPT + 1 :], newest, 7_777}
    assert refs() - {7_777} == {g.generation for g in live.state().generations}
    forgotten = live.cli("rollback", "--to", str(others[0]), "--dry-run")
    assert (forgotten.returncode, "not remembered any more" in forgotten.stderr) == (1, True)
    assert live.cli("rollback", "--to", "mine", "--dry-run").returncode == 0

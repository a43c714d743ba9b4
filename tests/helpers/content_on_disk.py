"""The simulated workspace with ComfyGit environments on a real disk: virtual time and ComfyUIs, real content, git and syncs.

What a worker's process does is done in this process: the same program with the same arguments, its answer read from its log.
A worker that is killed has done half of it: see `dying_early`.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
from comfygit_core.services.registry_data_manager import RegistryDataManager

from journal.clock import Stamp, seconds
from journal.codec import Actor, Draft
from journal.events import CaptureFinished, RestoreStarted
from journal.identity import Identity
from orchestrator.actions import Effect, StartCapture, StartRestore, StartSync
from orchestrator.config import Config
from orchestrator.environments import content_program, core_seams, core_sync_program
from orchestrator.environments.backends import backend_for
from orchestrator.environments.content_files import content_digest, digest_of
from orchestrator.environments.content_work import capture_command, restore_command, result_of
from orchestrator.environments.fingerprints import fingerprint
from orchestrator.environments.git_content import load
from orchestrator.environments.sync_record import undo_interrupted
from orchestrator.environments.workers import _sync_result
from orchestrator.logs.tail import tail
from orchestrator.world import WorkFacts
from projections.generations import find
from projections.state import WorkspaceState
from tests.helpers.content_owner import Owner
from tests.helpers.dying_early import die_before_change
from tests.helpers.simulated_comfyui import (
    DIES_AT_START,
    HEALTHY,
    Script,
    SimulatedEnvironment,
    SimulatedWorker,
    Work,
    nothing,
)
from tests.helpers.simulated_orchestrator import HALF, SimulatedOrchestrator
from tests.helpers.simulated_world import SimulatedWorld

BREAKS = b"# this breaks"
"""ComfyUI dies at its start when this is in the manifest or in the code of the tracked node."""
JOURNAL_ID = "simulated"
KILLED = WorkFacts(alive=False, ended=True, problem="it gave no answer: signal SIGKILL")


class EnvironmentOnDisk(SimulatedEnvironment):
    """A ComfyGit environment with one tracked custom node, `node_<name>`."""

    def __init__(self, owner: Owner) -> None:
        """Of the environment that `owner` owns."""
        super().__init__(owner.paths.name)
        self.owner = owner
        self.paths = owner.paths

    @property
    def node(self) -> Path:
        """The tracked node's folder."""
        return self.paths.comfyui / "custom_nodes" / f"node_{self.name}"

    @property
    def fingerprint(self) -> str:
        """The real one."""
        return fingerprint(self.paths)

    @fingerprint.setter
    def fingerprint(self, _: str) -> None:
        """It is what is on the disk."""

    @property
    def content(self) -> str:
        """What a restore would overwrite."""
        digest = content_digest(self.paths)
        return f"{HALF} {digest}" if self.owner.half else digest

    @content.setter
    def content(self, _: str) -> None:
        """It is what is on the disk."""

    @property
    def refs(self) -> dict[int, str]:
        """Contents by generation, as they are in the repository."""
        commits = self.owner.refs_of_generations().items()
        return {number: digest_of(load(self.paths, commit)) for number, commit in commits}

    @refs.setter
    def refs(self, _: dict[int, str]) -> None:
        """It is what is in the repository."""

    def next_script(self) -> Script:
        """What is on the disk decides."""
        files = (self.owner.manifest_file, self.node / "__init__.py")
        return DIES_AT_START if any(BREAKS in file.read_bytes() for file in files if file.exists()) else HEALTHY


@attrs.frozen
class Job:
    """What a worker's process would do. `program` gives its exit code; `result` reads its log, as `Workers` does.

    `begins` comes before it, then one of `ended` and `was_killed`, and `seen_dead` each time somebody looks afterwards.
    """

    program: Callable[[], int]
    result: Callable[[Path, int], WorkFacts]
    begins: Callable[[], None] = nothing
    ended: Callable[[WorkFacts], None] = lambda _: None
    was_killed: Callable[[], None] = nothing
    seen_dead: Callable[[], None] = nothing

    def run(self, log: Path) -> int:
        """Do it, with its output in `log`; what is logged besides would only bury the failure of a test."""
        logging.disable()
        with log.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            file.reconfigure(write_through=True)
            try:
                return self.program()
            finally:
                logging.disable(logging.NOTSET)


def _sync(environment: EnvironmentOnDisk) -> Job:
    owner, paths = environment.owner, environment.paths
    plan = backend_for(paths).sync_plan(paths)
    assert plan is not None
    arguments = list(plan.command[plan.command.index(core_sync_program.__name__) + 1 :])

    def program() -> int:
        with _core_and_variables_as_they_were():
            return core_sync_program.main(arguments)

    def bring_back() -> None:
        undo_interrupted(paths.cec, paths.comfyui / "custom_nodes")
        owner.sync_is_over()

    return Job(
        program,
        lambda log, code: _sync_result(tail(log, 40), code, ""),
        begins=owner.sync_begins,
        seen_dead=bring_back,
    )


def _capture(environment: EnvironmentOnDisk, effect: StartCapture) -> Job:
    command = capture_command(environment.paths, effect.generation, JOURNAL_ID, effect.kept)
    return Job(lambda: _content_program(command), lambda log, code: result_of(log, f"exit code {code}"))


def _restore(environment: EnvironmentOnDisk, captured: CaptureFinished, saved: CaptureFinished, content: str) -> Job:
    command = restore_command(environment.paths, captured, saved)
    owner, met = environment.owner, list[str]()

    def was_killed() -> None:
        found = content_digest(environment.paths)
        if found == content:
            owner.restored(content, captured.commit, saved.commit)
        elif found != met[-1]:
            owner.half = True

    return Job(
        lambda: _content_program(command),
        lambda log, code: result_of(log, f"exit code {code}"),
        begins=lambda: met.append(content_digest(environment.paths)),
        ended=lambda facts: owner.restored(content, captured.commit, saved.commit) if facts.ok else None,
        was_killed=was_killed,
    )


def _content_program(command: tuple[str, ...] | None) -> int:
    assert command is not None
    return content_program.main(command[command.index(content_program.__name__) + 1 :])


@contextlib.contextmanager
def _core_and_variables_as_they_were() -> Iterator[None]:
    """What the program changes for good in its own process is changed back in this one."""
    methods = {name: getattr(RegistryDataManager, name) for name in core_seams.NoDownloads.COPIES}
    variables = dict(os.environ)
    try:
        yield
    finally:
        for name, method in methods.items():
            setattr(RegistryDataManager, name, method)
        os.environ.clear()
        os.environ.update(variables)


@attrs.define(eq=False)
class OrchestratorOnDisk(SimulatedOrchestrator):
    """Its syncs, captures and restores are real ones. What outlives it is in `world`."""

    world: "WorldOnDisk" = attrs.field(kw_only=True)

    def perform(self, effect: Effect, state: WorkspaceState) -> None:
        """Do it."""
        match effect:
            case StartSync():
                self._begin(effect.worker, _sync(self.world.environments[effect.environment]), takes_s=1.0)
            case StartCapture():
                self._begin(effect.worker, _capture(self.world.environments[effect.environment], effect))
            case StartRestore():
                self._begin(effect.worker, self._restoring(effect, state))
            case _:
                super().perform(effect, state)

    def _restoring(self, effect: StartRestore, state: WorkspaceState) -> Job:
        captured, saved = self._captured(state, effect.generation), self._captured(state, effect.saved)
        wanted = find(state.generations, effect.generation)
        assert wanted is not None
        return _restore(self.world.environments[effect.environment], captured, saved, wanted.content)

    def _captured(self, state: WorkspaceState, generation: int) -> CaptureFinished:
        found = find(state.generations, generation)
        assert found is not None
        assert found.kept is not None
        captured = self.world.journal[found.kept.captured - 1].event
        assert isinstance(captured, CaptureFinished)
        return captured

    def _begin(self, worker: int, job: Job, takes_s: float = 0.2) -> None:
        world, machine = self.world, self.machine
        log = world.root / ".metadata" / f"worker_{worker}.log"
        world.jobs[worker] = job

        def finish() -> None:
            job.begins()
            facts = job.result(log, job.run(log))
            world.ended[worker] = facts
            job.ended(facts)

        def leave_half() -> None:
            job.begins()
            die_before_change(world.dies_before_change, lambda: job.run(log))
            job.was_killed()

        ends_ns = machine.now_ns + seconds(takes_s)
        identity, work = machine.new_identity(), Work(takes_s=takes_s)
        made = SimulatedWorker(worker, identity, work, self.me, ends_ns, finish, leave_half=leave_half)
        machine.workers[worker] = made
        machine.schedule(ends_ns, made.end)

    def _work(self, worker: int) -> WorkFacts:
        facts, job = super()._work(worker), self.world.jobs.get(worker)
        if job is None or facts.alive:
            return facts
        job.seen_dead()
        return self.world.ended.get(worker, KILLED) if facts.ended else facts


class WorldOnDisk(SimulatedWorld):
    """A workspace at `root` with these environments. A worker that is killed dies before its change `dies_before_change`."""

    def __init__(self, root: Path, *owners: Owner, config: Config) -> None:
        """Nothing runs yet."""
        self.root = root
        self.environments = {owner.paths.name: EnvironmentOnDisk(owner) for owner in owners}
        self.jobs: dict[int, Job] = {}
        self.ended: dict[int, WorkFacts] = {}
        self.dies_before_change = 1
        super().__init__(*self.environments.values(), config=config)

    def new_orchestrator(self, me: Identity) -> OrchestratorOnDisk:
        """One that has just been started."""
        return OrchestratorOnDisk(self.machine, me, world=self)

    def _append_one(self, draft: Draft, now: Stamp, actor: Actor) -> None:
        is_done_again = self.state.job is not None and self.state.job.restoring
        super()._append_one(draft, now, actor)
        if isinstance(draft.event, RestoreStarted) and not is_done_again:
            self.environments[draft.event.environment].owner.restore_begins(draft.event)

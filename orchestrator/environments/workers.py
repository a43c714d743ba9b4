"""Preflights, syncs, captures and restores as child processes: started, watched and killed by the worker's number.

A worker's output goes to a file of its own beside ComfyUI's logs, so that it outlives us and can be shown the morning after.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from journal.events import CaptureFinished
from journal.identity import Identity, is_alive
from journal.masking import mask
from orchestrator.environments.backends import backend_for
from orchestrator.environments.content_work import (
    capture_command,
    restore_command,
    restore_here,
    result_of,
)
from orchestrator.environments.preflight import preflight_command, preflight_problems, preflight_warnings
from orchestrator.environments.sync_record import undo_interrupted
from orchestrator.errors import OrchestratorError
from orchestrator.logs.tail import tail
from orchestrator.processes.belonging import belongs
from orchestrator.processes.children import Children, find_spawned
from orchestrator.workspace import Workspace
from orchestrator.world import WorkFacts
from projections.state import Worker, WorkKind

_LOG = logging.getLogger(__name__)

_SAID_CHARS = 600
_SAID_LINES = 5
"""Lines of a failed worker's output that become its error text."""


@attrs.frozen
class _Done:
    """A worker that needed no process."""

    facts: WorkFacts


class Workers:
    """The workers of one orchestrator. Nothing here waits."""

    def __init__(self, workspace: Workspace, children: Children, journal_id: str, environ: Mapping[str, str]) -> None:
        """`environ` is what workers get, as ComfyUI does."""
        self._workspace = workspace
        self._children = children
        self._journal_id = journal_id
        self._environ = dict(environ)
        self._done: dict[int, _Done] = {}
        self._identities: dict[int, Identity] = {}

    def log_path(self, worker: int, environment: str, kind: WorkKind) -> Path:
        """Where that worker's output goes."""
        return self._workspace.worker_log_path(environment, worker, kind.value)

    def start_preflight(self, worker: int, environment: str) -> None:
        """Look at what can be seen at once; then let the environment's own Python say whether it would get through."""
        paths = self._workspace.environment(environment)
        problems = preflight_problems(paths)
        if problems:
            self._finish(worker, ok=False, problem="; ".join(problems))
            return
        log = self.log_path(worker, environment, WorkKind.PREFLIGHT)
        self._start(worker, preflight_command(paths), paths.comfyui, {}, log)

    def start_sync(self, worker: int, environment: str) -> None:
        """Bring what is installed in line with the environment's manifest, if it has one."""
        paths = self._workspace.environment(environment)
        try:
            plan = backend_for(paths).sync_plan(paths)
        except OrchestratorError as error:
            self._finish(worker, ok=False, problem=f"{error}; {error.hint}")
            return
        if plan is None:
            self._finish(worker, ok=True, summary="nothing to sync: the environment has no lock file")
            return
        log = self.log_path(worker, environment, WorkKind.SYNC)
        self._start(worker, plan.command, plan.working_directory, plan.environ, log)

    def start_capture(self, worker: int, environment: str, generation: int, kept: tuple[int, ...]) -> None:
        """Keep the environment's content for `generation`; of older ones only those of `kept` stay."""
        paths = self._workspace.environment(environment)
        command = capture_command(paths, generation, self._journal_id, kept)
        self._start(worker, command, paths.root, {}, self.log_path(worker, environment, WorkKind.CAPTURE))

    def start_restore(
        self, worker: int, environment: str, wanted: CaptureFinished | None, saved: CaptureFinished | None
    ) -> None:
        """Write back what was kept as `wanted` tells, over what was kept as `saved` tells."""
        if wanted is None or saved is None:
            self._finish(worker, ok=False, problem="the journal does not tell any more how it was kept")
            return
        paths = self._workspace.environment(environment)
        command = restore_command(paths, wanted, saved)
        if command is None:
            self._done[worker] = _Done(restore_here(paths, wanted, saved))
        else:
            self._start(worker, command, paths.root, {}, self.log_path(worker, environment, WorkKind.RESTORE))

    def facts(self, worker: Worker) -> WorkFacts:
        """How the worker stands. One that an earlier orchestrator had started is never done, only alive or not.

        What a sync that died had in hand is brought back here, so that it is there before anything else is started.
        """
        done = self._done.get(worker.worker)
        if done is not None:
            return done.facts
        identity = self._identities.get(worker.worker)
        if identity is None:
            inherited = self._inherited(worker)
            if not inherited.alive:
                self._bring_back(worker)
            return inherited
        ended = self._children.poll(worker.worker)
        if ended is None:
            return WorkFacts(alive=True, identity=identity)
        self._bring_back(worker)
        log = self.log_path(worker.worker, worker.environment, worker.kind)
        if worker.kind in {WorkKind.CAPTURE, WorkKind.RESTORE}:
            return result_of(log, _ended(ended.code, ended.signal))
        facts = _preflight_result if worker.kind is WorkKind.PREFLIGHT else _sync_result
        return facts(tail(log, 40), ended.code, ended.signal)

    def kill(self, worker: Worker) -> None:
        """Kill the worker with all that it started."""
        identity = self._identities.get(worker.worker) or self._inherited(worker).identity
        if identity is not None:
            self._children.signal(identity, worker.worker, "SIGKILL", whole_tree=True)

    def forget(self, worker: int) -> None:
        """Its end has been journaled."""
        self._done.pop(worker, None)
        if self._identities.pop(worker, None) is not None:
            self._children.forget(worker)

    def known(self) -> tuple[int, ...]:
        """The workers not yet forgotten."""
        return (*self._done, *self._identities)

    def _bring_back(self, worker: Worker) -> None:
        if worker.kind is not WorkKind.SYNC:
            return
        paths = self._workspace.environment(worker.environment)
        try:
            undone = undo_interrupted(paths.cec, paths.comfyui / "custom_nodes")
        except OSError as error:  # the next sync tries again, and fails with it
            undone = [f"what an interrupted sync of {worker.environment} had in hand: {error}"]
        for sentence in undone:
            _LOG.warning("%s: %s", worker.environment, sentence)

    def _inherited(self, worker: Worker) -> WorkFacts:
        log = self.log_path(worker.worker, worker.environment, worker.kind)
        folder = self._workspace.environment(worker.environment).root
        found = worker.identity or find_spawned(self._journal_id, worker.worker, log)
        if not isinstance(found, Identity):
            return WorkFacts(alive=found == "pending")
        if not is_alive(found) or not belongs(found, log, folder):
            return WorkFacts(alive=False)
        return WorkFacts(alive=True, identity=found)

    def _start(self, worker: int, command: tuple[str, ...], cwd: Path, environ: Mapping[str, str], log: Path) -> None:
        try:
            self._identities[worker] = self._children.spawn(
                worker, command, cwd=cwd, environ={**self._environ, **environ}, log=log
            )
        except OrchestratorError as error:
            self._finish(worker, ok=False, problem=f"{error}; {error.hint}")

    def _finish(self, worker: int, *, ok: bool, problem: str = "", summary: str = "") -> None:
        self._done[worker] = _Done(WorkFacts(alive=False, ended=True, ok=ok, problem=problem, summary=summary))


def _said(lines: tuple[str, ...]) -> str:
    return mask(" | ".join(line.strip() for line in lines[-_SAID_LINES:] if line.strip()))


def _ended(code: int | None, signal: str) -> str:
    return f"signal {signal}" if signal else f"exit code {code}"


def _preflight_result(lines: tuple[str, ...], code: int | None, signal: str) -> WorkFacts:
    """The last line that is a verdict counts: its Python may print more at its end. Without one, that does not run."""
    verdict = next(filter(None, map(_verdict, reversed(lines))), None)
    if verdict is None:
        problem = f"the environment's Python does not run: {_ended(code, signal)}; {_said(lines)}"
        return WorkFacts(alive=False, ended=True, ok=False, problem=problem)
    warned = preflight_warnings()
    return WorkFacts(
        alive=False,
        ended=True,
        ok=bool(verdict["ok"]),
        problem=_plain(verdict.get("problem", "")),
        checks=(
            f"python {_plain(verdict.get('python', '?'))}",
            *filter(None, [_plain(verdict.get("note", ""))]),
            *warned,
        ),
    )


def _verdict(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and "ok" in document else None


def _plain(said: object) -> str:
    """What the target's Python said, fit to be stored: printable, masked, not endless."""
    return mask("".join(character if character.isprintable() else " " for character in str(said))[:_SAID_CHARS])


def _sync_result(lines: tuple[str, ...], code: int | None, signal: str) -> WorkFacts:
    """By the last line if it is the verdict of `core_sync_program`; uv has an exit code, and words."""
    verdict = _verdict(lines[-1]) if lines else None
    if verdict is not None and isinstance(verdict.get("errors"), list):
        problem = "; ".join(map(_plain, verdict["errors"]))
        ok = code == 0 and bool(verdict["ok"])
        return WorkFacts(alive=False, ended=True, ok=ok, problem=problem, summary=_plain(verdict.get("summary", "")))
    if code == 0:
        return WorkFacts(alive=False, ended=True, ok=True, summary=_said(lines))
    return WorkFacts(alive=False, ended=True, ok=False, problem=f"{_ended(code, signal)}: {_said(lines)}")


def environ_for_comfyui(workspace: Workspace) -> dict[str, str]:
    """Our environment as ComfyUI gets it: told that it is supervised and where its workspace is, and nothing of our venv."""
    ours = {"VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "COMFYGIT_CG_RUN_SUPERVISOR", "VIRTUAL_ENV_PROMPT"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"COMFYGIT_SUPERVISED": "1", "COMFYGIT_HOME": str(workspace.root), "PYTHONUNBUFFERED": "1"}

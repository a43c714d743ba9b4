"""A workspace of supervised programs with a real orchestrator: started as a panel starts it, watched through its journal."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from bench.service import Service, install_child
from bench.session import Session
from bench.waiting import PATIENCE_S, TookTooLong, until
from comfyui_stand_in.environment import free_port
from journal.codec import Recorded, own_actor
from journal.errors import JournalMissing
from journal.identity import Identity, is_alive
from journal.store import Journal
from orchestrator.ledger import Ledger
from orchestrator.workspace import Workspace, open_workspace
from projections.evolve import evolve
from projections.state import WorkspaceState

QUICK_SETTINGS = {"probe_interval_s": 0.05, "calm_after_s": 0.1, "probation_s": 0, "crash_retry_delay_s": 0.1}
"""So that as many samples as wanted fit into the time; what is measured does not depend on them."""


class Ours:
    """A context manager around one workspace and its orchestrator, which `__enter__` starts."""

    def __init__(self, session: Session, *arguments: str, environments: tuple[str, ...] = ("a",), **settings: object):
        self.root = session.fresh("ours")
        self.metadata = self.root / ".metadata"
        self.metadata.mkdir()
        self.port = free_port()
        self.control_port = free_port()
        self.state = WorkspaceState()
        self.events: list[Recorded] = []
        self._session = session
        self._arguments = arguments
        self._journal: Journal | None = None
        self._started: list[subprocess.Popen[bytes]] = []
        for name in environments:
            install_child(self.comfyui(name))
            (self.root / "environments" / name / ".venv").symlink_to(session.python.parent.parent)
        document = {"orchestrator": {**QUICK_SETTINGS, "control_port": self.control_port, **settings}}
        (self.metadata / "orchestrator_config.json").write_text(json.dumps(document))

    def __enter__(self) -> Self:
        self.start("a")
        self.until_calm()
        return self

    def __exit__(self, *_: object) -> None:
        orchestrator = self.look().orchestrator
        if orchestrator is not None and is_alive(orchestrator):
            os.kill(orchestrator.pid, signal.SIGTERM)
            with contextlib.suppress(TookTooLong):
                until(lambda: not is_alive(orchestrator), "our orchestrator's end")
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        if self._journal is not None:
            self._journal.close()

    @property
    def workspace(self) -> Workspace:
        """As the product knows it."""
        return open_workspace(self.root)

    @property
    def guard(self) -> Identity | None:
        """The parent that starts an orchestrator again, where there is one."""
        found: Identity | None = getattr(self.state, "guard", None)
        return found if found is not None and is_alive(found) else None

    def comfyui(self, name: str) -> Path:
        """The folder of an environment's program."""
        return self.root / "environments" / name / "ComfyUI"

    def service(self, name: str = "a") -> Service:
        """An environment's program."""
        return Service(name, self.comfyui(name), ())

    def start(self, environment: str = "") -> None:
        """An orchestrator. It is not waited for."""
        command = [sys.executable, "-m", "orchestrator", "--workspace", str(self.root)]
        command += ["--environment", environment] if environment else []
        command += ["--args", "--port", str(self.port), *self._arguments]
        self._started.append(self._session.popen(command))

    def look(self) -> WorkspaceState:
        """The state at the journal's head."""
        with contextlib.suppress(JournalMissing):
            self._journal = self._journal or Journal.open_readonly(self.metadata / "journal.db")
        if self._journal is not None:
            for recorded in self._journal.read(self.state.seq):
                self.events.append(recorded)
                self.state = evolve(self.state, recorded)
        return self.state

    def until(self, reached: Callable[[WorkspaceState], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the state is as wanted. Raises TookTooLong, with the newest events."""
        try:
            until(lambda: reached(self.look()), what, timeout_s)
        except TookTooLong as error:
            newest = ", ".join(recorded.event.stored_name for recorded in self.events[-8:])
            raise TookTooLong(f"{error} (newest events: {newest})") from error

    def until_calm(self) -> None:
        """Wait until there is nothing to do: it serves, its content is kept, its starts are forgotten."""
        self.until(_is_calm, "our orchestrator calm")

    def ledger(self) -> Ledger:
        """To ask for something as a command does."""
        return Ledger.open(self.workspace, own_actor("cli"))

    def orchestrator_pid(self) -> int:
        """Of the one that supervises. Raises TookTooLong when none has said that it does."""
        self.until(lambda state: state.orchestrator is not None, "an orchestrator")
        assert self.state.orchestrator is not None  # noqa: S101 - seen above
        return self.state.orchestrator.pid


def _is_calm(state: WorkspaceState) -> bool:
    idle = state.job is None and state.worker is None and state.probation is None
    kept = all(generation.kept or generation.not_kept for generation in state.generations)
    return bool(idle and kept and state.serving and not state.starts and not state.crashes and state.control)

"""Starting an orchestrator in the background, and seeing that it is there."""

import os
import sys
from pathlib import Path
from typing import Final

from journal import clock
from journal.clock import Stamp, is_over, seconds
from journal.codec import Draft
from journal.events import SpawnRequested
from journal.identity import Identity, identify, is_alive
from orchestrator.asking import watch
from orchestrator.errors import OrchestratorError
from orchestrator.ledger import Ledger
from orchestrator.panel.venv import python_in
from orchestrator.processes.detach import spawn_detached
from orchestrator.processes.signals import send
from orchestrator.reading import living_orchestrator

ALIVE_WITHIN_S: Final = 15.0
"""How long a new orchestrator may take to journal its start: Python and imports, 0.3 s on an idle machine."""
ANOTHER_WITHIN_S: Final = 2.0
"""How long to look for another one, which was quicker, once ours has ended without having started."""


class NotStartedError(OrchestratorError):
    """An orchestrator was started in the background and did not come up."""


def own_python() -> Path:
    """The Python that this package is installed for: also where a ComfyUI's Python has only been shown the way to it."""
    venv = next((folder for folder in Path(__file__).resolve().parents if (folder / "pyvenv.cfg").is_file()), None)
    return Path(sys.executable) if venv is None else python_in(venv)


def launcher() -> tuple[str, ...]:
    """The command line that runs us, as somebody could paste it: the installed script, else the module."""
    script = own_python().with_name("comfygit-orchestrator")
    return (str(script),) if script.exists() else (str(own_python()), "-m", "orchestrator")


def spawn_orchestrator(ledger: Ledger, environment: str = "", arguments: tuple[str, ...] | None = None) -> Identity:
    """Start an orchestrator in the background and wait until it has journaled that it is there.

    Where the guard of a dead one lives, that is waited for instead.
    Raises NotStartedError with the place to look when it does not within ALIVE_WITHIN_S: it is ended then, so that it
    cannot turn up later. Raises SpawnFailed.
    """
    workspace = ledger.workspace
    if ledger.state.guard is not None and is_alive(ledger.state.guard):
        successor = _successor(ledger)
        if successor is not None:
            return successor
    command = [str(own_python()), "-P", "-m", "orchestrator", "run", "--detached", "--workspace", str(workspace.root)]
    command += ["--environment", environment] if environment else []
    command += [] if arguments is None else ["--args", *arguments]
    ledger.ask(lambda _: (Draft(SpawnRequested(environment=environment, command=tuple(command))),))
    log = workspace.metadata / "orchestrator.log"
    started, spawned = clock.read(), identify(spawn_detached(command, log=log, environ=_environ(), cwd=workspace.root))
    gone: Stamp | None = None
    for state in watch(ledger, started, ALIVE_WITHIN_S):
        found = living_orchestrator(state)
        if found is not None:
            return found
        gone = gone or (None if spawned is not None and is_alive(spawned) else clock.read())
        if gone is not None and is_over(gone, seconds(ANOTHER_WITHIN_S), clock.read()):
            break
    if spawned is not None:
        send(spawned, "SIGTERM")
    message = f"starting an orchestrator for {workspace.root}: it did not come up"
    raise NotStartedError(message, f"look at the end of {log}")


def _successor(ledger: Ledger) -> Identity | None:
    """The orchestrator that a living guard starts in place of a dead one; None when it does not in time."""
    found = (living_orchestrator(state) for state in watch(ledger, clock.read(), ALIVE_WITHIN_S))
    return next((one for one in found if one is not None), None)


def _environ() -> dict[str, str]:
    """Ours, without what says that we are inside a supervised ComfyUI, or would lead a Python astray."""
    inside = {"COMFYGIT_SUPERVISED", "COMFYGIT_CG_RUN_SUPERVISOR", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in inside}

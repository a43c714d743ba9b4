"""Starting an orchestrator from inside a ComfyUI, as the public panel does."""

import logging
import sys
from pathlib import Path
from typing import Any

from orchestrator.compat.documents import write_startup_state
from orchestrator.compat.opening import ledger_of
from orchestrator.endpoint import user_arguments
from orchestrator.launching import spawn_orchestrator as launch
from orchestrator.panel.finding import METADATA, environment_here
from orchestrator.reading import living_orchestrator
from orchestrator.workspace import WorkspaceError

_LOG = logging.getLogger(__name__)


def spawn_orchestrator(environment: Any, target_env: str) -> int:
    """Start an orchestrator in the background, for the switch that was asked for, else for `target_env`; its pid.

    `environment`: any of the workspace; only its `workspace.path` is looked at. How this ComfyUI was started is kept, and
    its arguments are passed on. One that lives already is left alone. Raises WorkspaceError, NotStartedError, SpawnFailed:
    then nothing half started is left.
    """
    root = Path(environment.workspace.path)
    with ledger_of(root / METADATA) as ledger:
        alive = living_orchestrator(ledger.state)
        if alive is not None:
            return alive.pid
        problem = ledger.workspace.environment_problem(target_env)
        if problem:
            raise WorkspaceError(problem, f"there are: {', '.join(ledger.workspace.environment_names()) or 'none yet'}")
        if environment_here(root):
            write_startup_state(ledger.workspace.metadata)
            ledger.refresh()
        arguments = tuple(user_arguments(["--args", *sys.argv[1:]]))
        started = launch(ledger, environment=target_env, arguments=arguments)
    _LOG.info("orchestrator started, pid %d", started.pid)
    return started.pid

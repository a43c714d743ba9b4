"""What `comfygit-orchestrator status` does. Scripts call it again and again: it imports only what it shows."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from journal import clock
from journal.identity import is_alive
from orchestrator import showing
from orchestrator.options import print_result
from orchestrator.reading import follow_state, living_guard, living_orchestrator, read_state
from orchestrator.workspace import Workspace, open_workspace
from projections.state import WorkspaceState


def status(workspace: Path | None, *, watch: bool, as_json: bool) -> int:
    """Show the state; with `watch`, again whenever it changes."""
    opened = open_workspace(workspace)
    if watch:
        return _watch_status(opened, as_json=as_json)
    state = read_state(opened.journal_path)
    seen = _seen(state)
    print_result(showing.status_text(state, **seen), showing.status_facts(state, **seen), as_json=as_json)
    return 0


def _seen(state: WorkspaceState) -> dict[str, Any]:
    """What `status` tells beyond the journal: who lives now, of what could not be ended too."""
    return {
        "alive": living_orchestrator(state) is not None,
        "guard_alive": living_guard(state) is not None,
        "left": [one for one in state.left if is_alive(one.identity)],
        "now": clock.read(),
    }


def _watch_status(workspace: Workspace, *, as_json: bool) -> int:
    shown = ""
    for state in follow_state(workspace.journal_path):
        render: Callable[..., Any] = showing.status_facts if as_json else showing.status_text
        text = render(state, **_seen(state))
        text = json.dumps(text, ensure_ascii=False) if as_json else text
        if text != shown:
            shown = text
            click.echo(("\x1b[H\x1b[2J" if sys.stdout.isatty() and not as_json else "") + text)
    return 0

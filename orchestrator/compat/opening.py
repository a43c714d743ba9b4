"""What every one of the calls begins with: the workspace behind a `.metadata` folder, and its ledger."""

import json
from pathlib import Path
from typing import Any

from orchestrator.asking import open_ledger
from orchestrator.ledger import Ledger
from orchestrator.panel.finding import METADATA
from orchestrator.workspace import Workspace, WorkspaceError
from projections.publisher import read_bytes


def workspace_of(metadata_dir: Path) -> Workspace:
    """The workspace whose `.metadata` folder that is. Raises WorkspaceError."""
    folder = Path(metadata_dir)
    if folder.name != METADATA or not folder.is_dir():
        message = f"opening the workspace of {folder}: that is no folder called {METADATA}"
        raise WorkspaceError(message, "name the .metadata folder of a workspace")
    return Workspace(folder.resolve().parent)


def ledger_of(metadata_dir: Path) -> Ledger:
    """Its ledger, for writing; to be closed. Raises WorkspaceError, JournalError."""
    return open_ledger(workspace_of(metadata_dir), "function")


def read_document(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None when there is none, or something else, or half of one. Never blocks."""
    try:
        document = json.loads(read_bytes(path) or b"")
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None

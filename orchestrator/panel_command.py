"""What `install-panel` does, after its arguments have been read."""

from pathlib import Path

from orchestrator import panel_installation
from orchestrator.options import print_result
from orchestrator.panel_installation import Change, PanelChange
from orchestrator.workspace import open_workspace


def install_panel(workspace: Path | None, environment: str, *, remove: bool, as_json: bool) -> int:
    """Put the panel in, or take it out; 0."""
    opened = open_workspace(workspace)
    change = panel_installation.remove_panel if remove else panel_installation.install_panel
    done = change(opened, environment)
    print_result(panel_text(done), panel_facts(done), as_json=as_json)
    return 0


def panel_text(done: PanelChange) -> str:
    """What was done, and what comes next."""
    where = f"{done.environment}: {done.folder}"
    match done.change:
        case Change.INSTALLED:
            return f"panel {done.after} installed in {where}\n{_next_step(done)}"
        case Change.REPLACED if done.before == done.after:
            return f"panel {done.after} put there anew, because its files differed, in {where}\n{_next_step(done)}"
        case Change.REPLACED:
            return f"panel {done.before} replaced by {done.after} in {where}\n{_next_step(done)}"
        case Change.UNCHANGED:
            return f"already there: panel {done.after} in {where}"
        case Change.REMOVED:
            return f"panel {done.before} removed from {where}"
        case Change.ABSENT:
            return f"there is no panel in {done.environment}; nothing to remove"


def _next_step(done: PanelChange) -> str:
    return f"ComfyUI loads it at its next start: comfygit-orchestrator restart, where {done.environment} serves"


def panel_facts(done: PanelChange) -> dict[str, str | None]:
    """The same as data; a version that is not there is null."""
    return {
        "change": done.change.value,
        "environment": done.environment,
        "folder": str(done.folder),
        "before": done.before or None,
        "after": done.after or None,
    }

"""Being the only orchestrator of a workspace: its lock, and whether another one lives although the lock could be had."""

from orchestrator.occupancy import IS_ENDED_BY, has_open, holder_in_words, refusal
from orchestrator.reading import living_orchestrator, read_state
from orchestrator.singleton import SINGLETON, AlreadyRunning, Singleton
from orchestrator.workspace import Workspace
from projections.state import WorkspaceState


def only_one(workspace: Workspace) -> Singleton:
    """What makes us the only orchestrator of `workspace`, to be released. Raises AlreadyRunning, which names the other."""
    path = workspace.metadata / SINGLETON
    if not path.exists():  # a first start; or somebody deleted it, and then it is not to be made anew in vain
        leave_to_another(workspace, read_state(workspace.journal_path))
    try:
        return Singleton.acquire(path)
    except AlreadyRunning as error:
        raise AlreadyRunning(refusal(workspace.root, holder_in_words(workspace.metadata)), error.hint) from error


def leave_to_another(workspace: Workspace, state: WorkspaceState) -> None:
    """Raise AlreadyRunning where the orchestrator that the journal names is there, although the lock could be had."""
    known = living_orchestrator(state)
    if known is None or not has_open(known.pid, workspace.metadata / SINGLETON):
        return
    where = "no control server" if state.control is None else f"http://{state.control.host}:{state.control.port}"
    raise AlreadyRunning(refusal(workspace.root, f"orchestrator pid {known.pid}, {where}"), IS_ENDED_BY)

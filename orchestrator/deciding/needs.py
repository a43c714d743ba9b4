"""Which environments a state makes it necessary to look at, and how closely: what the observer asks before each decision."""

from collections.abc import Iterator

from orchestrator.world import AskKind, InboxItem
from projections.generations import Generation, find, latest_of
from projections.jobs import Job
from projections.state import WorkspaceState
from projections.switching import Stage


def is_clearing(state: WorkspaceState) -> bool:
    """Whether the job waits for the port to be free."""
    return state.job is not None and state.job.stage is Stage.CLEARING


def environments_needed(state: WorkspaceState, inbox: tuple[InboxItem, ...]) -> Iterator[str]:
    """The names to look at: what is asked for, being brought up or to be kept, and a source nobody has seen healthy."""
    yield from (item.target for item in inbox if item.kind is AskKind.SWITCH)
    due = capture_due(state)
    if due is not None:
        yield due.environment
    if state.job is not None:
        yield state.job.wanted
        if _lacks_evidence(state.job, state):
            yield state.job.source


def capture_due(state: WorkspaceState) -> Generation | None:
    """The generation of what serves, while its content is not kept and nothing else is under way."""
    main = state.main_process
    if state.job is not None or state.worker is not None or main is None or main.confirmed is None or main.stopping:
        return None
    found = find(state.generations, main.generation)
    return None if found is None or found.kept or found.not_kept else found


def needs_fingerprint(name: str, state: WorkspaceState) -> bool:
    """While it is about to be synced, started or kept, and for a source that is about to be recorded."""
    job = state.job
    if job is None:
        due = capture_due(state)
        return due is not None and due.environment == name
    if name == job.wanted and job.stage in {Stage.SYNCING, Stage.CLEARING}:
        return True
    return name == job.source and _lacks_evidence(job, state)


def _lacks_evidence(job: Job, state: WorkspaceState) -> bool:
    return bool(job.source) and job.origin.is_a_page and latest_of(state.generations, job.source) is None

"""Taking back a switch that no orchestrator works on: none could be started for it, or somebody deleted its files."""

from journal.clock import Stamp
from journal.codec import Draft
from journal.events import LockReleased, Origin, SwitchAborted
from projections.state import WorkspaceState

DELETED = "it was withdrawn: its lock or request file was deleted while no orchestrator lived"
"""Why, for a switch whose files are gone."""


def withdraw(state: WorkspaceState, error: str) -> tuple[Draft, ...]:
    """The events that end the open switch and free its lock; none when none is open. Only for when no orchestrator lives."""
    job = state.job
    if job is None or not job.is_switch:
        return ()
    serving = state.serving or job.source or state.environment
    aborted = SwitchAborted(error=error, manual=False, recovery_command="", serving=serving)
    return (Draft(aborted, switch=job.job), Draft(LockReleased(), switch=job.job))


def was_deleted(state: WorkspaceState, now: Stamp, *, lock_there: bool, request_there: bool) -> bool:
    """Whether a person took the open switch back by deleting its files while no orchestrator lived.

    Files can also be missing because they were never written, or not to the disk: whoever began a recovery was killed
    just then, or the machine was. Those switches are taken up again.
    """
    job = state.job
    if job is None or not job.is_switch or (lock_there and request_there):
        return False
    lost_with_the_machine = state.at is not None and state.at.boot_id != now.boot_id
    has_just_begun = state.at == job.requested  # a transaction has one stamp, and nothing has been appended since
    return not lost_with_the_machine and not (has_just_begun and job.origin is Origin.SUPERVISOR)

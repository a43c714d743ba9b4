"""Where a rollback goes, from the state: that of the open switch, and one that would begin now."""

from projections.generations import Candidate, Spent, content_of, latest_of, rollback_candidates
from projections.jobs import Job, Verdict
from projections.state import WorkspaceState

TRIES_MAX = 3
"""Candidates that one rollback tries."""


def remaining(state: WorkspaceState, job: Job) -> tuple[Candidate, ...]:
    """The candidates of a switch that has been given up, best first; none once TRIES_MAX have been tried."""
    if len(job.tried) >= TRIES_MAX:
        return ()
    return rollback_candidates(state.generations, served=_as_it_served(job), source=job.source, spent=_spent(job))


def _as_it_served(job: Job) -> Candidate | None:
    """What served before, with what was on its disk then: this switch itself may have overwritten that."""
    served = job.served
    saved = None if served is None else job.saved.get(served.environment)
    return served if served is None or saved is None else Candidate(served.environment, saved, restores=True)


def _spent(job: Job) -> Spent:
    """A target that was not wanted any more has not failed, and one that was half restored is no place to go back to."""
    served = "" if job.served is None else job.served.environment
    unwanted = job.verdict is Verdict.ABORTED or job.environment in job.saved
    others = frozenset({job.environment} if unwanted and job.environment != served else ())
    return Spent(job.failed, others, job.tried)


def ways_back(state: WorkspaceState, *, asked: bool = False) -> tuple[Candidate, ...]:
    """Where to go from what serves, or has failed: to another content of the same environment, or to another environment.

    `asked`: somebody wants to know; where nothing serves and nothing has failed, from what was healthy last.
    """
    environment = state.serving or state.environment
    spent = Spent(frozenset({(environment, _present(state, environment, asked=asked))}))
    return rollback_candidates(state.generations, served=None, source=environment, spent=spent)


def _present(state: WorkspaceState, environment: str, *, asked: bool) -> str:
    """The content with which it serves, has failed, or (`asked`) was last healthy; "" when that is not known."""
    main, trouble = state.main_process, state.trouble
    if main is not None:
        return content_of(main.fingerprint)
    if trouble is not None and trouble.environment == environment:
        return trouble.content
    last = latest_of(state.generations, environment) if asked else None
    return "" if last is None else last.content

"""The fold of what happens to the supervisor itself, of requests outside switches, and of files."""

from typing import Any, Final

from journal.codec import Recorded
from journal.events import (
    AbortRequested,
    ControlListening,
    FileIngested,
    FileRejected,
    GuardLost,
    GuardStarted,
    JournalCreated,
    OrchestratorLost,
    OrchestratorStarted,
    OrchestratorStopped,
    RestartRequested,
    ShutdownRequested,
    StartFailed,
    StartKind,
    StartPlanned,
    StartupCaptured,
    SupervisionCalm,
    SupervisionParked,
)
from projections.jobs import Job, JobKind, Verdict
from projections.replacing import replaced
from projections.state import (
    INBOX_KEYS_KEPT,
    REQUEST_FILE,
    STARTS_KEPT,
    Control,
    Goal,
    Outcome,
    OutcomeState,
    Parked,
    Trouble,
    WorkspaceState,
)
from projections.switching import IllegalEventError, Stage

UNKNOWN: Final = "unknown"
"""Shown as the target of a request that names none: the page in the browser needs some text there."""


def _created(state: WorkspaceState, event: JournalCreated, _: Recorded) -> WorkspaceState:
    return replaced(state, journal_id=event.journal_id)


def _started(state: WorkspaceState, event: OrchestratorStarted, recorded: Recorded) -> WorkspaceState:
    if state.orchestrator is not None:
        stage = f"orchestrator {state.orchestrator.pid} not yet ended"
        raise IllegalEventError(stage, event.stored_name, recorded.seq)
    busy, goal = state.job is not None or bool(state.processes), _goal_of_start(state, event)
    state = replaced(
        state,
        orchestrator=event.identity,
        orchestrator_since=recorded.at,
        control=None,
        environment=state.environment if busy or not event.environment else event.environment,
        arguments=state.arguments if event.arguments is None else event.arguments,
    )
    if goal is Goal.SERVE:
        state = replaced(state, goal=goal, urgent=False, aborted_for=None)
    return _forgiven(state) if event.manual else replaced(state, goal=goal)


def _goal_of_start(state: WorkspaceState, event: OrchestratorStarted) -> Goal:
    """A person wants it to serve. A guard wants what its orchestrator was about: also a stop, even one just journaled."""
    if event.manual:
        return Goal.SERVE
    if state.goal is not Goal.IDLE:
        return state.goal
    has_ended = bool(state.environment) and state.job is None
    return Goal.STOP if has_ended else Goal.SERVE


def _forgiven(state: WorkspaceState) -> WorkspaceState:
    """Somebody asked for something: what went wrong before no longer counts."""
    return replaced(state, parked=None, trouble=None, crashes=0, starts=(), recovered=False, bare_spent=False)


def _stopped(state: WorkspaceState, event: OrchestratorStopped, recorded: Recorded) -> WorkspaceState:
    if state.job is not None and state.job.is_switch:
        raise IllegalEventError(f"switch {state.job.job} open", event.stored_name, recorded.seq)
    return replaced(
        state,
        orchestrator=None,
        orchestrator_since=None,
        guard=None,
        lost=None,
        lost_at=None,
        control=None,
        goal=Goal.IDLE,
        urgent=False,
        aborted_for=None,
        restart_asked=None,
        job=None,
        posted=None,
    )


def _lost(state: WorkspaceState, event: OrchestratorLost, recorded: Recorded) -> WorkspaceState:
    if state.orchestrator != event.identity:
        stage = "another orchestrator, or none"
        raise IllegalEventError(stage, event.stored_name, recorded.seq)
    return replaced(state, orchestrator=None, orchestrator_since=None, control=None, lost=event, lost_at=recorded.at)


def _guard_started(state: WorkspaceState, event: GuardStarted, _: Recorded) -> WorkspaceState:
    return replaced(state, guard=event.identity)


def _guard_lost(state: WorkspaceState, event: GuardLost, recorded: Recorded) -> WorkspaceState:
    if state.guard != event.identity:
        stage = "another guard, or none"
        raise IllegalEventError(stage, event.stored_name, recorded.seq)
    return replaced(state, guard=None)


def _listening(state: WorkspaceState, event: ControlListening, _: Recorded) -> WorkspaceState:
    control = None if event.port is None else Control(event.host, event.port, event.public_origin)
    return replaced(state, control=control)


def _captured(state: WorkspaceState, event: StartupCaptured, recorded: Recorded) -> WorkspaceState:
    return replaced(state, startup=event, startup_at=recorded.at)


def _restart_requested(state: WorkspaceState, _event: RestartRequested, recorded: Recorded) -> WorkspaceState:
    if state.job is not None and not state.job.is_switch:
        state = replaced(state, job=None, main=None)
    return replaced(_forgiven(state), restart_asked=recorded.seq)


def _shutdown_requested(state: WorkspaceState, event: ShutdownRequested, _: Recorded) -> WorkspaceState:
    return replaced(state, goal=Goal.STOP, urgent=state.urgent or event.urgent)


def _abort_requested(state: WorkspaceState, event: AbortRequested, _: Recorded) -> WorkspaceState:
    job = state.job
    if job is None or not job.is_switch:
        return state
    if event.manual_pid is not None:
        return replaced(state, goal=Goal.STOP, aborted_for=event.manual_pid)
    if job.verdict or job.rolling_back:
        return state
    error = f"aborted by {event.origin}" + (f": {event.reason}" if event.reason else "")
    return replaced(state, job=replaced(job, verdict=Verdict.ABORTED, error=error))


def _start_planned(state: WorkspaceState, event: StartPlanned, recorded: Recorded) -> WorkspaceState:
    if state.job is not None:
        raise IllegalEventError(f"job {state.job.job} open", event.stored_name, recorded.seq)
    job = Job(
        job=recorded.seq,
        kind=JobKind(event.kind.value),
        environment=event.environment,
        source="",
        stage=Stage.SYNCING,
        stage_at=recorded.at,
        requested=recorded.at,
        delay_ns=event.delay_ns,
        attempt=event.attempt,
    )
    starts = state.starts if event.asked else (*state.starts, recorded.at)[-STARTS_KEPT:]
    bare_spent = state.bare_spent or event.kind is StartKind.BARE
    return replaced(
        state, job=job, environment=event.environment, starts=starts, restart_asked=None, bare_spent=bare_spent
    )


def _start_failed(state: WorkspaceState, event: StartFailed, recorded: Recorded) -> WorkspaceState:
    if state.job is None or state.job.is_switch:
        stage = "no plain start open"
        raise IllegalEventError(stage, event.stored_name, recorded.seq)
    dirty = state.dirty | {event.environment} if event.reason == "sync" else state.dirty
    trouble = Trouble(recorded.seq, event.error, event.environment, event.reason, recorded.at, state.job.content)
    return replaced(state, job=None, main=None, crashes=state.crashes + 1, dirty=dirty, trouble=trouble)


def _parked(state: WorkspaceState, event: SupervisionParked, recorded: Recorded) -> WorkspaceState:
    return replaced(state, parked=Parked(event.why, event.advice, recorded.at), restart_asked=None)


def _calm(state: WorkspaceState, _event: SupervisionCalm, _: Recorded) -> WorkspaceState:
    return replaced(state, crashes=0, starts=(), recovered=False, bare_spent=False)


def _ingested(state: WorkspaceState, event: FileIngested, _: Recorded) -> WorkspaceState:
    return _known_again(state, event)


def _rejected(state: WorkspaceState, event: FileRejected, recorded: Recorded) -> WorkspaceState:
    """A page that wrote such a request is told, but nothing else is covered up for it: no open switch, no critical failure."""
    state = _known_again(state, event)
    if event.name != REQUEST_FILE:
        return state
    state, shown = replaced(state, refused_at=recorded.at), state.outcome
    is_critical = shown is not None and shown.state is OutcomeState.CRITICAL_FAILURE
    if is_critical or (state.job is not None and state.job.is_switch):
        return state
    outcome = Outcome(
        switch=recorded.seq,
        state=OutcomeState.ROLLED_BACK,
        target=event.target or UNKNOWN,
        source="",
        serving=state.serving or state.environment,
        error=f"the request was rejected: {event.why}",
        recovery_command="",
        at=recorded.at,
    )
    return replaced(state, outcome=outcome)


def _known_again(state: WorkspaceState, event: FileIngested | FileRejected) -> WorkspaceState:
    key = inbox_key(event.name, event.sha256, event.mtime_ns, event.inode)
    return replaced(state, inbox_keys=(*state.inbox_keys, key)[-INBOX_KEYS_KEPT:])


def inbox_key(name: str, sha256: str, mtime_ns: int, inode: int) -> str:
    """What makes one foreign file known again: its content, when it was written, and its inode."""
    return f"{name}:{sha256[:32]}:{mtime_ns}:{inode}"


def hide_success(state: WorkspaceState) -> WorkspaceState:
    """Without the outcome that is shown; a critical failure stays until something is asked for or healthy."""
    outcome = state.outcome
    if outcome is None or outcome.state is OutcomeState.CRITICAL_FAILURE:
        return state
    return replaced(state, outcome=None)


HANDLERS: Final[dict[Any, Any]] = {
    JournalCreated: _created,
    OrchestratorStarted: _started,
    OrchestratorStopped: _stopped,
    OrchestratorLost: _lost,
    GuardStarted: _guard_started,
    GuardLost: _guard_lost,
    ControlListening: _listening,
    StartupCaptured: _captured,
    RestartRequested: _restart_requested,
    ShutdownRequested: _shutdown_requested,
    AbortRequested: _abort_requested,
    StartPlanned: _start_planned,
    StartFailed: _start_failed,
    SupervisionParked: _parked,
    SupervisionCalm: _calm,
    FileIngested: _ingested,
    FileRejected: _rejected,
}

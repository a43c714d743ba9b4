"""The fold of preflights, syncs, captures and restores."""

from typing import Any, Final

from journal.codec import Recorded
from journal.events import (
    CaptureFinished,
    CaptureStarted,
    PreflightStarted,
    RestoreFinished,
    RestoreStarted,
    SyncFinished,
    SyncSkipped,
    SyncStarted,
    WorkerCancelled,
    WorkerLost,
    WorkerSpawned,
)
from projections.evolve_generations import captured
from projections.replacing import replaced
from projections.state import LEFT_KEPT, Worker, WorkKind, WorkspaceState
from projections.switching import IllegalEventError


def _work(
    state: WorkspaceState, recorded: Recorded, kind: WorkKind, environment: str, generation: int | None = None
) -> WorkspaceState:
    if state.worker is not None:
        raise IllegalEventError(f"worker {state.worker.worker} at work", recorded.event.stored_name, recorded.seq)
    worker = Worker(
        worker=recorded.seq,
        kind=kind,
        environment=environment,
        owner=state.orchestrator or recorded.actor.identity,
        started=recorded.at,
        generation=generation,
    )
    return replaced(state, worker=worker)


def _preflight_started(state: WorkspaceState, event: PreflightStarted, recorded: Recorded) -> WorkspaceState:
    return _work(state, recorded, WorkKind.PREFLIGHT, event.environment)


def _sync_started(state: WorkspaceState, event: SyncStarted, recorded: Recorded) -> WorkspaceState:
    state = _work(state, recorded, WorkKind.SYNC, event.environment)
    settled = {name: known for name, known in state.settled.items() if name != event.environment}
    return replaced(state, settled=settled, dirty=state.dirty | {event.environment})


def _worker(state: WorkspaceState, worker: int, recorded: Recorded) -> Worker:
    if state.worker is None or state.worker.worker != worker:
        raise IllegalEventError(f"no worker {worker}", recorded.event.stored_name, recorded.seq)
    return state.worker


def _sync_finished(state: WorkspaceState, event: SyncFinished, recorded: Recorded) -> WorkspaceState:
    _worker(state, event.worker, recorded)
    dirty = state.dirty - {event.environment} if event.ok else state.dirty
    return replaced(state, worker=None, dirty=dirty)


def _capture_started(state: WorkspaceState, event: CaptureStarted, recorded: Recorded) -> WorkspaceState:
    return _work(state, recorded, WorkKind.CAPTURE, event.environment, event.generation)


def _capture_finished(state: WorkspaceState, event: CaptureFinished, recorded: Recorded) -> WorkspaceState:
    _worker(state, event.worker, recorded)
    return captured(replaced(state, worker=None), event, recorded.seq)


def _restore_started(state: WorkspaceState, event: RestoreStarted, recorded: Recorded) -> WorkspaceState:
    state = _work(state, recorded, WorkKind.RESTORE, event.environment, event.generation)
    job = state.job
    if job is None or not job.is_switch:
        stage = "no switch open"
        raise IllegalEventError(stage, recorded.event.stored_name, recorded.seq)
    saved = {event.environment: event.saved, **job.saved}  # of two restores the first has met what was there
    settled = {name: known for name, known in state.settled.items() if name != event.environment}
    return replaced(state, settled=settled, job=replaced(job, saved=saved, restoring=True))


def _restore_finished(state: WorkspaceState, event: RestoreFinished, recorded: Recorded) -> WorkspaceState:
    _worker(state, event.worker, recorded)
    job = None if state.job is None else replaced(state.job, restoring=False, restored=event.ok)
    return replaced(state, worker=None, job=job)


def _worker_spawned(state: WorkspaceState, event: WorkerSpawned, recorded: Recorded) -> WorkspaceState:
    worker = _worker(state, event.worker, recorded)
    return replaced(state, worker=replaced(worker, identity=event.identity))


def _worker_cancelled(state: WorkspaceState, event: WorkerCancelled, recorded: Recorded) -> WorkspaceState:
    worker = _worker(state, event.worker, recorded)
    cancelled = replaced(worker, cancelled=recorded.at, cancelled_why=event.why, kills=worker.kills + 1)
    return replaced(state, worker=cancelled)


def _worker_lost(state: WorkspaceState, event: WorkerLost, recorded: Recorded) -> WorkspaceState:
    _worker(state, event.worker, recorded)
    return replaced(state, worker=None, left=(*state.left, *event.left)[-LEFT_KEPT:])


HANDLERS: Final[dict[Any, Any]] = {
    PreflightStarted: _preflight_started,
    SyncStarted: _sync_started,
    SyncFinished: _sync_finished,
    SyncSkipped: lambda state, _event, _recorded: state,
    CaptureStarted: _capture_started,
    CaptureFinished: _capture_finished,
    RestoreStarted: _restore_started,
    RestoreFinished: _restore_finished,
    WorkerSpawned: _worker_spawned,
    WorkerCancelled: _worker_cancelled,
    WorkerLost: _worker_lost,
}

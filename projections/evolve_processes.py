"""The fold of processes and probes."""

from typing import Any, Final

from journal.clock import before
from journal.codec import Recorded
from journal.events import (
    ExitCause,
    HealthConfirmed,
    HealthProbed,
    HealthResponsive,
    HealthUnresponsive,
    ProcessAdopted,
    ProcessExited,
    ProcessIntended,
    ProcessSignalled,
    ProcessSpawned,
    ProcessSpawnFailed,
    ProcessStopAsked,
    ProcessSwept,
    Role,
    SourceSeen,
)
from journal.identity import Identity
from projections.evolve_generations import seen_healthy
from projections.generations import Probation, content_of
from projections.jobs import Job
from projections.replacing import replaced
from projections.state import (
    LEFT_KEPT,
    STARTS_KEPT,
    LastExit,
    OutcomeState,
    Process,
    Stopping,
    Trouble,
    Unresponsive,
    WorkspaceState,
)
from projections.switching import IllegalEventError

ENDED_WELL: Final = frozenset({0, 42, 43})
"""Exit codes after which an unchanged environment need not be synced again."""


def _known(state: WorkspaceState, spawn: int, recorded: Recorded) -> Process:
    process = state.processes.get(spawn)
    if process is None:
        raise IllegalEventError(f"no process {spawn}", recorded.event.stored_name, recorded.seq)
    return process


def _put(state: WorkspaceState, process: Process) -> WorkspaceState:
    return replaced(state, processes={**state.processes, process.spawn: process})


def owner(state: WorkspaceState, recorded: Recorded) -> Identity:
    """Whose process or worker it is that `recorded` speaks of."""
    return state.orchestrator or recorded.actor.identity


def is_start_to_repeat(state: WorkspaceState, event: ProcessExited) -> bool:
    """Whether the job's own start ended before it was healthy, and through no fault of its own.

    It asked to be started again (42), or we ended it ourselves: by a shutdown that was withdrawn, or with the machine.
    """
    process, job = state.processes.get(event.spawn), state.job
    return (
        event.cause in {ExitCause.RESTART, ExitCause.STOPPED}
        and job is not None
        and job.spawn == event.spawn
        and not job.is_given_up
        and process is not None
        and process.identity is not None
    )


def _intended(state: WorkspaceState, event: ProcessIntended, recorded: Recorded) -> WorkspaceState:
    process = Process(
        spawn=recorded.seq,
        role=event.role,
        environment=event.environment,
        fingerprint=event.fingerprint,
        generation=event.generation,
        port=event.port,
        url=event.url,
        owner=owner(state, recorded),
        since=recorded.at,
    )
    job = state.job
    if job is not None:
        job = replaced(job, spawn=recorded.seq, content=content_of(event.fingerprint))
    return replaced(_put(state, process), main=recorded.seq, job=job, restart_asked=None)


def _spawned(state: WorkspaceState, event: ProcessSpawned, recorded: Recorded) -> WorkspaceState:
    process = _known(state, event.spawn, recorded)
    return _put(state, replaced(process, identity=event.identity, since=recorded.at, owner=owner(state, recorded)))


def _without(state: WorkspaceState, spawn: int) -> WorkspaceState:
    left = {known: process for known, process in state.processes.items() if known != spawn}
    return replaced(state, processes=left, main=None if state.main == spawn else state.main)


def _spawn_failed(state: WorkspaceState, event: ProcessSpawnFailed, recorded: Recorded) -> WorkspaceState:
    _known(state, event.spawn, recorded)
    job = state.job
    if job is not None and job.spawn == event.spawn:
        job = replaced(job, spawn=None, lost_spawns=job.lost_spawns + 1)
    return replaced(_without(state, event.spawn), job=job)


def _adopted(state: WorkspaceState, event: ProcessAdopted, recorded: Recorded) -> WorkspaceState:
    process = _known(state, event.spawn, recorded)
    since = recorded.at if process.confirmed is None else process.since
    return _put(
        state,
        replaced(
            process,
            owner=owner(state, recorded),
            since=since,
            successes=0,
            last_probe=None,
            last_probe_ok=False,
            last_probe_error="",
            stopping=None if process.stopping is None else _one_rung_down(process.stopping),
        ),
    )


def _one_rung_down(stopping: Stopping) -> Stopping:
    """The last signal may have been journaled and never sent: it is due again."""
    return replaced(stopping, rung=max(-1, stopping.rung - 1))


def _stop_asked(state: WorkspaceState, event: ProcessStopAsked, recorded: Recorded) -> WorkspaceState:
    process = _known(state, event.spawn, recorded)
    # On a faster ladder the first signal is not sent again.
    rung, kills = (-1, 0) if process.stopping is None else (min(0, process.stopping.rung), process.stopping.kills)
    stopping = Stopping(why=event.why, ladder=event.ladder, asked=recorded.at, rung=rung, at=recorded.at, kills=kills)
    return _put(state, replaced(process, stopping=stopping))


def _signalled(state: WorkspaceState, event: ProcessSignalled, recorded: Recorded) -> WorkspaceState:
    process = _known(state, event.spawn, recorded)
    if process.stopping is None:
        raise IllegalEventError(f"process {event.spawn} not asked to stop", event.stored_name, recorded.seq)
    kills = process.stopping.kills + (event.signal == "SIGKILL")
    stopping = replaced(process.stopping, rung=event.rung, at=recorded.at, kills=kills)
    return _put(state, replaced(process, stopping=stopping))


def _repeated(state: WorkspaceState, event: ProcessExited, recorded: Recorded) -> WorkspaceState:
    """With the job ready for another start, where this exit was no verdict on it. A plain one counts for the breaker."""
    job = state.job
    if job is None or not is_start_to_repeat(state, event):
        return state
    if event.cause is ExitCause.STOPPED:
        return replaced(state, job=replaced(job, spawn=None))
    starts = state.starts if job.is_switch else (*state.starts, recorded.at)[-STARTS_KEPT:]
    return replaced(state, job=replaced(job, spawn=None, restarts=job.restarts + 1), starts=starts)


def _settled(state: WorkspaceState, process: Process, event: ProcessExited) -> dict[str, str]:
    """Contents with which an environment last ended well: by itself or asked to, and after it had been healthy."""
    settled = {name: known for name, known in state.settled.items() if name != process.environment}
    well = process.confirmed is not None and event.cause is not ExitCause.CRASH and event.code in ENDED_WELL
    return settled | {process.environment: process.fingerprint} if well and process.fingerprint else settled


def _exited(state: WorkspaceState, event: ProcessExited, recorded: Recorded) -> WorkspaceState:
    process = _known(state, event.spawn, recorded)
    left = (*state.left, *event.left)[-LEFT_KEPT:]
    state = replaced(_repeated(state, event, recorded), settled=_settled(state, process, event), left=left)
    if state.main != event.spawn:
        return _without(state, event.spawn)
    last_exit = LastExit(
        seq=recorded.seq,
        spawn=event.spawn,
        environment=process.environment,
        cause=event.cause,
        code=event.code,
        signal=event.signal,
        confirmed=process.confirmed,
        since=process.since,
        at=recorded.at,
    )
    crashed = event.cause is ExitCause.CRASH
    state = replaced(
        _without(state, event.spawn),
        last_exit=last_exit,
        probation=state.probation if crashed and event.code not in ENDED_WELL else None,
    )
    if not crashed or state.job is not None:
        return state
    content = content_of(process.fingerprint)
    trouble = Trouble(recorded.seq, describe_exit(event), process.environment, "crash", recorded.at, content)
    return replaced(state, crashes=state.crashes + (not _is_unseen(state, process, event)), trouble=trouble)


def _is_unseen(state: WorkspaceState, process: Process, event: ProcessExited) -> bool:
    """Whether it was gone when this orchestrator came, and nobody knows how: no reason to keep from starting it."""
    return event.code is None and not event.signal and process.owner != state.orchestrator


def describe_exit(event: ProcessExited) -> str:
    """The exit in words, as in `exit code 7` or `signal SIGKILL`."""
    if event.given_up:
        return "no end: it was given up"
    if event.signal:
        return f"signal {event.signal}"
    return "an unknown exit code" if event.code is None else f"exit code {event.code}"


def _swept(state: WorkspaceState, event: ProcessSwept, recorded: Recorded) -> WorkspaceState:
    process = _known(state, event.spawn, recorded)
    return _put(state, replaced(process, swept=recorded.at, sweeps=process.sweeps + 1))


def _source_seen(state: WorkspaceState, event: SourceSeen, recorded: Recorded) -> WorkspaceState:
    process = Process(
        spawn=recorded.seq,
        role=Role.SOURCE,
        environment=event.environment,
        fingerprint="",
        generation=None,
        port=event.port,
        url=event.url,
        owner=owner(state, recorded),
        since=recorded.at,
        identity=event.identity,
    )
    return _put(state, process)


def _probed(state: WorkspaceState, event: HealthProbed, recorded: Recorded) -> WorkspaceState:
    process = _known(state, event.spawn, recorded)
    return _put(
        state,
        replaced(
            process,
            successes=event.successes,
            last_probe=recorded.at,
            last_probe_ok=event.ok,
            last_probe_error=event.error,
        ),
    )


def _confirmed(state: WorkspaceState, event: HealthConfirmed, recorded: Recorded) -> WorkspaceState:
    process = replaced(_known(state, event.spawn, recorded), confirmed=recorded.at, generation=event.generation)
    state = seen_healthy(_put(state, process), event.generation, recorded.seq)
    if process.role is Role.SOURCE:
        return state
    job: Job | None = state.job
    probation = Probation(
        spawn=event.spawn,
        environment=process.environment,
        generation=event.generation,
        since=recorded.at,
        of_switch=job is not None and job.is_switch,
    )
    if job is not None and not job.is_switch:
        state = replaced(state, job=None)
    if state.outcome is not None and state.outcome.state is OutcomeState.CRITICAL_FAILURE:
        state = replaced(state, outcome=None)
    return replaced(state, probation=probation, parked=None, trouble=None)


def _unresponsive(state: WorkspaceState, event: HealthUnresponsive, recorded: Recorded) -> WorkspaceState:
    unresponsive = Unresponsive(before(recorded.at, event.silent_ns), event.error)
    return _put(state, replaced(_known(state, event.spawn, recorded), unresponsive=unresponsive))


def _responsive(state: WorkspaceState, event: HealthResponsive, recorded: Recorded) -> WorkspaceState:
    return _put(state, replaced(_known(state, event.spawn, recorded), unresponsive=None))


HANDLERS: Final[dict[Any, Any]] = {
    ProcessIntended: _intended,
    ProcessSpawned: _spawned,
    ProcessSpawnFailed: _spawn_failed,
    ProcessAdopted: _adopted,
    ProcessStopAsked: _stop_asked,
    ProcessSignalled: _signalled,
    ProcessSwept: _swept,
    ProcessExited: _exited,
    SourceSeen: _source_seen,
    HealthProbed: _probed,
    HealthConfirmed: _confirmed,
    HealthUnresponsive: _unresponsive,
    HealthResponsive: _responsive,
}

"""What it means that an attempt failed: it depends on whose attempt it was, and on who was in its way."""

from typing import Final

from journal.clock import S, Stamp, elapsed_ns
from journal.events import Event, GenerationDisproved, ProcessExited, RollbackTryFailed, StartFailed, SwitchFailed
from projections.evolve_processes import describe_exit
from projections.generations import find
from projections.jobs import Job
from projections.state import Process, WorkspaceState

ANSWERED_BY: Final = "answered by another process: "
"""How the error of a probe begins whose answer came from a socket that is not of the process's tree."""


def squatter(process: Process) -> str:
    """Who has the port of `process` in its place, as far as the last probe tells; "" when nobody has."""
    error = process.last_probe_error
    return error.removeprefix(ANSWERED_BY) if error.startswith(ANSWERED_BY) else ""


def failure_of(
    state: WorkspaceState, job: Job, reason: str, error: str, process: Process, *, was_ended: bool = False
) -> tuple[Event, ...]:
    """The same for an attempt that got as far as `process`.

    That a stranger has its port, or has ended it (`was_ended`), is no content's fault.
    """
    blamed = job.rolling is None or not (squatter(process) or was_ended)
    return failure(state, job, "port" if squatter(process) else reason, error, process.spawn if blamed else None)


def failure(state: WorkspaceState, job: Job, reason: str, error: str, spawn: int | None = None) -> tuple[Event, ...]:
    """The events that give up what `job` is attempting now.

    A plain start is over; a switch gets its verdict; a candidate of a rollback is spent, and what it was believed for with it,
    if that is what was started.
    `reason` is one word: preflight, environment, restore, sync, port, spawn, exited, restarting or timeout.
    """
    if not job.is_switch:
        return (StartFailed(environment=job.environment, reason=reason, error=error),)
    if job.rolling is None:
        return (SwitchFailed(reason=reason, error=error, spawn=spawn),)
    failed: tuple[Event, ...] = (RollbackTryFailed(environment=job.rolling.environment, reason=reason, error=error),)
    believed = find(state.generations, job.rolling.generation)
    if believed is not None and spawn is not None and job.content == believed.content:
        failed = (*failed, GenerationDisproved(generation=believed.generation, why=error))
    return failed


def exit_error(process: Process, exited: ProcessExited, now: Stamp) -> str:
    """Why it ended, in a sentence: the code, how long it had run, and the last line that it printed."""
    after_s = elapsed_ns(process.since, now) / S
    last = next((line.strip() for line in reversed(exited.log_tail) if line.strip()), "")
    said = f"; its last line: {last}" if last else ""
    squatted = f"; its port was {process.last_probe_error}" if squatter(process) else ""
    return f"ComfyUI of {process.environment} ended with {describe_exit(exited)} {after_s:.1f} s after its start{said}{squatted}"

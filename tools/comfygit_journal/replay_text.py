"""A state, its differences from the files, and the rollback target, as text and as JSON. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from comfygit_journal.escaping import cut, escaped
from comfygit_journal.lines import iso
from comfygit_journal.replaying import Difference
from journal.clock import Stamp
from journal.identity import Identity
from projections.generations import Candidate, find
from projections.replacing import replaced
from projections.rollback import TRIES_MAX, remaining, ways_back
from projections.state import Process, WorkspaceState
from projections.views import views

AGREE: Final = "all views agree"
_NAMED: Final = 3
_CONTENT_LENGTH: Final = 400


def state_lines(state: WorkspaceState) -> Iterator[str]:
    """The state in a few lines."""
    last = "" if state.at is None else f", the last at {_at(state.at)}"
    yield f"journal       {state.seq} {'event' if state.seq == 1 else 'events'}{last}"
    yield f"orchestrator  {_process(state.orchestrator, state.orchestrator_since)}"
    yield f"serves        {_serves(state)}"
    yield f"switch        {_switch(state)}"
    yield f"lock          {_lock(state)}"
    if state.parked is not None:
        yield f"parked        since {_at(state.parked.at)}: {escaped(state.parked.why)}; {escaped(state.parked.advice)}"
    names = ", ".join(f"{g.generation} of {escaped(g.environment)}" for g in state.generations[-_NAMED:])
    yield f"generations   {len(state.generations)}{f', the newest: {names}' if names else ''}"


def _lock(state: WorkspaceState) -> str:
    held, claim = state.lock, state.claim
    if held is not None:
        return f"held for switch {held.switch} since {_at(held.acquired)}"
    return "free" if claim is None else f"claimed by pid {claim.holder.pid} since {_at(claim.acquired)}"


def _at(stamp: Stamp) -> str:
    return iso(stamp.wall_ns)


def _process(identity: Identity | None, since: Stamp | None) -> str:
    return "none" if identity is None else f"pid {identity.pid}{'' if since is None else f', since {_at(since)}'}"


def _serves(state: WorkspaceState) -> str:
    main: Process | None = state.main_process
    if main is None:
        return "nothing" + (f"; {escaped(state.environment)} is to" if state.environment else "")
    pid = f"pid {main.identity.pid}" if main.identity is not None else "not yet running"
    health = "healthy" if main.confirmed else "not yet healthy"
    stopping = "" if main.stopping is None else f", asked to stop: {escaped(main.stopping.why)}"
    return f"{escaped(main.environment)} (start {main.spawn}, {pid}, {escaped(main.url)}), {health}{stopping}"


def _switch(state: WorkspaceState) -> str:
    job = state.job
    if job is not None and job.is_switch:
        return f"{job.job} to {escaped(job.environment)} is open: {job.public_state}"
    if not state.switches:
        return "none so far"
    last = state.switches[-1]
    error = f": {escaped(last.error)}" if last.error else ""
    return f"none open; the last, {last.switch} to {escaped(last.target)}, ended {last.state.value}{error}"


def difference_lines(differences: Sequence[Difference]) -> Iterator[str]:
    """What is expected and what was found, per file."""
    for difference in differences:
        foreign = (
            " (a foreign file: another program wrote it, and nobody has taken it in yet)" if difference.foreign else ""
        )
        yield f"{difference.name} differs{foreign}"
        yield f"  expected  {_content(difference.expected)}"
        yield f"  found     {_content(difference.found)}"


def _content(content: bytes | None) -> str:
    if content is None:
        return "no file"
    return cut(escaped(content.decode("utf-8", "backslashreplace")), _CONTENT_LENGTH) if content else "an empty file"


def summary(differences: Sequence[Difference]) -> str:
    """The last line: all agree, or how many do not."""
    if not differences:
        return AGREE
    return f"{len(differences)} of {len(views(WorkspaceState()))} views differ"


def candidates(state: WorkspaceState) -> tuple[Candidate, ...]:
    """Where a rollback would go now, best first: away from the target of the open switch, else from what is served."""
    job = state.job
    if job is None or not job.is_switch:
        return ways_back(state)[:TRIES_MAX]
    given_up = job if job.verdict else replaced(job, failed=job.failed | {(job.environment, job.content)})
    return remaining(state, given_up)


def candidate_lines(state: WorkspaceState, found: Sequence[Candidate]) -> Iterator[str]:
    """The rollback target and what follows if that fails."""
    for number, candidate in enumerate(found):
        yield f"{'then' if number else 'rollback target'}: {escaped(candidate.environment)}{_seen(state, candidate)}"


def _seen(state: WorkspaceState, candidate: Candidate) -> str:
    known = None if candidate.generation is None else find(state.generations, candidate.generation)
    if known is None:
        return ", which served before"
    proven = "proven" if known.proven else "not yet proven"
    restores = ", its content brought back" if candidate.restores else ""
    return f", generation {known.generation}{restores}, healthy at {_at(known.recorded)} ({known.evidence.value}), {proven}"


def state_document(state: WorkspaceState) -> dict[str, Any]:
    """The state as JSON."""
    main, job, lock, claim = state.main_process, state.job, state.lock, state.claim
    return {
        "seq": state.seq,
        "at": None if state.at is None else _at(state.at),
        "goal": state.goal.value,
        "environment": state.environment,
        "serving": state.serving,
        "orchestrator_pid": None if state.orchestrator is None else state.orchestrator.pid,
        "main": None
        if main is None
        else {
            "spawn": main.spawn,
            "environment": main.environment,
            "pid": None if main.identity is None else main.identity.pid,
            "url": main.url,
            "healthy": main.confirmed is not None,
        },
        "switch": {"switch": job.job, "target": job.environment, "state": job.public_state}
        if job is not None and job.is_switch
        else None,
        "last_switch": {"switch": state.switches[-1].switch, "state": state.switches[-1].state.value}
        if state.switches
        else None,
        "lock": None if lock is None else {"switch": lock.switch, "since": _at(lock.acquired)},
        "claim": None if claim is None else {"pid": claim.holder.pid, "since": _at(claim.acquired)},
        "parked": None if state.parked is None else {"why": state.parked.why, "advice": state.parked.advice},
        "generations": [
            {"generation": g.generation, "environment": g.environment, "at": _at(g.recorded), "proven": g.proven}
            for g in state.generations
        ],
    }


def difference_documents(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """The differences as JSON, contents as text, null for no file."""
    return [
        {"name": d.name, "expected": _as_text(d.expected), "found": _as_text(d.found), "foreign": d.foreign}
        for d in differences
    ]


def _as_text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "backslashreplace")

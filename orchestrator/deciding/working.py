"""Workers (preflight, sync, capture, restore): started with an id, watched, cancelled when unwanted, done again when lost."""

from journal.clock import S, elapsed_ns, seconds
from journal.events import (
    CaptureFinished,
    Event,
    LeftBehind,
    RestoreFinished,
    SwitchPreflighted,
    SyncFinished,
    WorkerCancelled,
    WorkerLost,
    WorkerSpawned,
)
from orchestrator.actions import Decision, KillWorker, Took
from orchestrator.deciding.failing import failure
from orchestrator.deciding.killing import IN_VAIN
from orchestrator.deciding.situation import Situation
from orchestrator.world import WorkFacts
from projections.generations import find, same_content
from projections.jobs import Job
from projections.state import Goal, Worker, WorkKind
from projections.switching import Stage

KILL_AGAIN_NS = 2 * S
"""How long a killed worker may take to be gone before it is killed again."""
KILLS_MAX = 5
"""After so many, some 10 s, nobody waits for its end any more."""
CONTENT_TIMEOUT_NS = 60 * S
"""How long a capture or a restore may take: a few commands of git, some 0.2 s."""
CAPTURE_GRACE_NS = 1 * S
"""How long whoever wants something waits for a capture, which takes some 0.3 s; then it is done again another time."""
RESTORE_GRACE_NS = 1 * S
"""How long an urgent end of supervision waits for a restore, and ten times that for any other end."""
TIMED_OUT = "timed out"
"""Why a worker was cancelled whose end is a failure of its own, and not nobody's."""


def worker(situation: Situation) -> Decision | None:
    """What becomes of the worker of the state; None while it goes on, or is on its way out: nobody has to wait for that."""
    at_work, facts = situation.state.worker, situation.world.work
    if at_work is None:
        return None
    if facts is None:
        return situation.look_again()
    if facts.alive and not _is_given_up(situation, at_work):
        return _alive(situation, at_work, facts)
    left = _left(at_work, facts)
    if at_work.cancelled is not None and at_work.cancelled_why == TIMED_OUT:
        problem = f"{at_work.kind} did not end within {_timeout_ns(situation, at_work.kind) / S:g} s"
        lives_on = "".join(f"; its process, pid {one.identity.pid}, is left: {one.why}" for one in left)
        facts = WorkFacts(alive=False, ended=True, ok=False, problem=problem + lives_on)
    elif at_work.cancelled is not None or not facts.ended or at_work.owner != situation.world.me:
        return situation.act(WorkerLost(worker=at_work.worker, left=left), took=Took.WORKER)
    return situation.act(*_result(situation, at_work, facts, left), took=Took.WORKER)


def _is_given_up(situation: Situation, at_work: Worker) -> bool:
    cancelled = at_work.cancelled
    return cancelled is not None and at_work.kills >= KILLS_MAX and situation.over(cancelled, KILL_AGAIN_NS)


def _left(at_work: Worker, facts: WorkFacts) -> tuple[LeftBehind, ...]:
    identity = facts.identity or at_work.identity
    return (LeftBehind(identity, at_work.kind.value, IN_VAIN),) if facts.alive and identity is not None else ()


def _alive(situation: Situation, at_work: Worker, facts: WorkFacts) -> Decision | None:
    if at_work.cancelled is not None:
        if not situation.over(at_work.cancelled, KILL_AGAIN_NS):
            return None
        again = WorkerCancelled(worker=at_work.worker, why=at_work.cancelled_why)
        return situation.act(again, effect=KillWorker(at_work.worker))
    why = _unwanted(situation, at_work)
    if why:
        return situation.act(WorkerCancelled(worker=at_work.worker, why=why), effect=KillWorker(at_work.worker))
    if at_work.identity is None and facts.identity is not None:
        return situation.act(WorkerSpawned(worker=at_work.worker, identity=facts.identity))
    return None


def _unwanted(situation: Situation, at_work: Worker) -> str:
    state = situation.state
    if state.goal is Goal.STOP and not _is_about_to_end(situation, at_work):
        return "supervision ends"
    if at_work.owner != situation.world.me:
        return "the orchestrator that had started it is gone"
    if not _is_wanted(state.job, at_work):
        return "nobody waits for it any more"
    if _is_in_the_way(situation, at_work) and situation.over(at_work.started, CAPTURE_GRACE_NS):
        return "it is in the way of what was asked for"
    return TIMED_OUT if situation.over(at_work.started, _timeout_ns(situation, at_work.kind)) else ""


def _is_about_to_end(situation: Situation, at_work: Worker) -> bool:
    grace_ns = RESTORE_GRACE_NS * (1 if situation.state.urgent else 10)
    return at_work.kind is WorkKind.RESTORE and not situation.over(at_work.started, grace_ns)


def _is_in_the_way(situation: Situation, at_work: Worker) -> bool:
    """Whether it is a capture of what serves, or for a job that is given up, and somebody waits for its end."""
    job = situation.state.job
    if at_work.kind is not WorkKind.CAPTURE or job is None:
        return False
    is_of_job = at_work.generation is not None and at_work.generation > job.job
    return job.is_given_up or not is_of_job


def _is_wanted(job: Job | None, at_work: Worker) -> bool:
    if at_work.kind in {WorkKind.CAPTURE, WorkKind.RESTORE}:
        return True  # it is soon over, and half of it is worse than none or all
    if job is None or job.is_given_up:
        return False
    if at_work.kind is WorkKind.PREFLIGHT:
        return job.stage is Stage.PREPARING and job.environment == at_work.environment
    return job.stage is Stage.SYNCING and job.wanted == at_work.environment


def _timeout_ns(situation: Situation, kind: WorkKind) -> int:
    config = situation.config
    if kind in {WorkKind.CAPTURE, WorkKind.RESTORE}:
        return CONTENT_TIMEOUT_NS
    return seconds(config.preflight_timeout_s if kind is WorkKind.PREFLIGHT else config.sync_timeout_s)


def _result(situation: Situation, at_work: Worker, facts: WorkFacts, left: tuple[LeftBehind, ...]) -> tuple[Event, ...]:
    state, job = situation.state, situation.state.job
    if at_work.kind is WorkKind.CAPTURE:
        return (_captured(situation, at_work, facts),)
    if at_work.kind is WorkKind.RESTORE:
        return _restored(situation, at_work, facts)
    if job is None or not _is_wanted(job, at_work):
        return (WorkerLost(worker=at_work.worker, left=left),)
    if at_work.kind is WorkKind.PREFLIGHT:
        checked = SwitchPreflighted(worker=at_work.worker, ok=facts.ok, problem=facts.problem, checks=facts.checks)
        return (checked,) if facts.ok else (checked, *failure(state, job, "preflight", facts.problem))
    finished = SyncFinished(
        worker=at_work.worker,
        environment=at_work.environment,
        ok=facts.ok,
        tolerated=not facts.ok and _is_tolerated(situation, job, at_work.environment),
        duration_ns=elapsed_ns(at_work.started, situation.now),
        summary=facts.summary,
        error=facts.problem,
    )
    if facts.ok or finished.tolerated:
        return (finished,)
    return (finished, *failure(state, job, "sync", f"syncing {at_work.environment} failed: {facts.problem}"))


def _captured(situation: Situation, at_work: Worker, facts: WorkFacts) -> CaptureFinished:
    known = find(situation.state.generations, at_work.generation)
    changed = bool(facts.ok and facts.content and known is not None and facts.content != known.content)
    ok = facts.ok and not changed
    return CaptureFinished(
        worker=at_work.worker,
        generation=at_work.generation or 0,
        ok=ok,
        commit=facts.commit if ok else "",
        files=facts.files if ok else (),
        inventory=facts.inventory if ok else (),
        duration_ns=elapsed_ns(at_work.started, situation.now),
        error="its files were changed while they were kept" if changed else facts.problem,
    )


def _restored(situation: Situation, at_work: Worker, facts: WorkFacts) -> tuple[Event, ...]:
    finished = RestoreFinished(
        worker=at_work.worker,
        environment=at_work.environment,
        generation=at_work.generation or 0,
        ok=facts.ok,
        written=facts.written,
        removed=facts.removed,
        duration_ns=elapsed_ns(at_work.started, situation.now),
        error=facts.problem,
    )
    job = situation.state.job
    if facts.ok or facts.changed or job is None or job.is_given_up:
        return (finished,)  # what was changed is saved first, then it is tried again
    error = f"bringing back generation {at_work.generation} of {at_work.environment} failed: {facts.problem}"
    return (finished, *failure(situation.state, job, "restore", error))


def _is_tolerated(situation: Situation, job: Job, environment: str) -> bool:
    """A failed sync ends a switch only if nothing speaks for what is there; anything else goes on with what is there."""
    if not job.is_switch or job.rolling is not None:
        return True
    facts = situation.environment(environment)
    fingerprint = "" if facts is None else facts.fingerprint or ""
    return same_content(situation.state.generations, environment, fingerprint) is not None


def waiting(situation: Situation) -> Decision:
    """Until the worker's time is up, at the latest."""
    at_work = situation.state.worker
    if at_work is None or at_work.cancelled is not None:
        return situation.look_again()
    in_the_way = _is_in_the_way(situation, at_work)
    return situation.wait(at_work.started, CAPTURE_GRACE_NS if in_the_way else _timeout_ns(situation, at_work.kind))

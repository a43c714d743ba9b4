"""Whether a switch is begun: asked by a file, a command line or the panel, the answer is found here and nowhere else."""

from journal.clock import S, Stamp, age_ns
from journal.codec import Draft
from journal.events import LockAcquired, LockBroken, Origin, RefusalReason, SwitchKind, SwitchRefused, SwitchRequested
from orchestrator.config import Config
from orchestrator.world import SwitchAsk
from projections.locking import FOREIGN_STALE, OWNER_DEAD, Claim, ForeignLock
from projections.state import Goal, WorkspaceState


def admit(
    state: WorkspaceState,
    ask: SwitchAsk,
    foreign_lock: ForeignLock | None,
    now: Stamp,
    config: Config,
    *,
    after: int = 0,
    claim_is_dead: bool = False,
) -> tuple[Draft, ...]:
    """The events that answer `ask`: a switch and its lock, or its refusal with the reason and who stands in the way.

    `after` says how many events of the same transaction come first; `claim_is_dead`, that the holder of the state's claim is.
    A page of others takes a foreign lock along: whoever wrote the request has touched it. Any other asker has to wait until
    it is stale; and until a claim is given up, unless it is its own.
    """
    claim = None if claim_is_dead else state.claim
    refusal = _refusal(state, ask, claim) or _locked(ask, foreign_lock, now, config)
    if refusal is not None:
        return (Draft(refusal),)
    source = ask.source or state.serving or state.environment
    taken_along = ask.origin.leaves_by_itself
    events = cleared_away(state.claim if claim_is_dead else None, None if taken_along else foreign_lock, now)
    switch = state.seq + 1 + after + len(events)
    requested = SwitchRequested(
        target=ask.target,
        source=source,
        kind=SwitchKind.SWITCH if ask.generation is None else SwitchKind.ROLLBACK,
        origin=ask.origin,
        generation=ask.generation,
        requester=ask.requester,
        reason=ask.reason,
        restores=ask.restores,
    )
    lock = LockAcquired(holder=ask.requester, foreign=foreign_lock is not None and ask.origin.leaves_by_itself)
    return (*events, Draft(requested, switch=switch), Draft(lock, switch=switch))


def _refusal(state: WorkspaceState, ask: SwitchAsk, claim: Claim | None) -> SwitchRefused | None:
    job = state.job
    if ask.problem:
        return refused(ask, RefusalReason.UNKNOWN, ask.problem)
    if state.goal is Goal.STOP:
        return refused(ask, RefusalReason.STOPPING, "the orchestrator is stopping; ask again when it has stopped")
    if job is not None and job.is_switch:
        holder = None if state.lock is None else state.lock.holder
        asker = "" if holder is None else f", asked for by pid {holder.pid}"
        return refused(
            ask,
            RefusalReason.SWITCH_OPEN,
            f"switch {job.job} to {job.environment!r} holds the lock{asker}; wait or abort it",
        )
    if state.serving == ask.target and ask.generation is None:
        return refused(ask, RefusalReason.ALREADY_SERVING, f"environment {ask.target!r} serves already")
    if claim is not None and ask.origin is not Origin.FILE and claim.holder != ask.requester:
        return refused(
            ask, RefusalReason.LOCKED, f"{claimed_by(claim)}; wait until it has asked for its switch, or end it"
        )
    return None


def cleared_away(dead: Claim | None, stale: ForeignLock | None, now: Stamp) -> tuple[Draft, ...]:
    """The events that take a dead process's claim and a stale lock file out of the way of whoever gets the lock."""
    broken: list[LockBroken] = []
    if dead is not None:
        broken.append(LockBroken(why=OWNER_DEAD, age_ns=age_ns(dead.acquired, now)))
    if stale is not None:
        broken.append(LockBroken(why=FOREIGN_STALE, age_ns=age_ns(stale.touched, now)))
    return tuple(map(Draft, broken))


def claimed_by(claim: Claim) -> str:
    """Who has the lock without a switch, in words."""
    return f"the process {claim.holder.pid} has claimed the lock"


def _locked(ask: SwitchAsk, lock: ForeignLock | None, now: Stamp, config: Config) -> SwitchRefused | None:
    if lock is None or ask.origin.leaves_by_itself or lock.is_stale(now, config.lock_timeout_s):
        return None
    return refused(ask, RefusalReason.LOCKED, touched_by_others(lock, now, config.lock_timeout_s))


def touched_by_others(lock: ForeignLock, now: Stamp, lock_timeout_s: float) -> str:
    """That a foreign lock file counts, in words."""
    age_s = age_ns(lock.touched, now) / S
    return f"another program touched .switch.lock {age_s:.0f} s ago; it counts for {lock_timeout_s:g} s"


def refused(ask: SwitchAsk, why: RefusalReason, message: str) -> SwitchRefused:
    """The event that says no."""
    return SwitchRefused(target=ask.target[:255], source=ask.source[:255], origin=ask.origin, why=why, message=message)

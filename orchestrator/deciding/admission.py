"""Whether a switch is begun: asked by a file, a command line or the panel, the answer is found here and nowhere else."""

from journal.clock import Stamp, age_ns
from journal.codec import Draft
from journal.events import LockAcquired, LockBroken, Origin, RefusalReason, SwitchKind, SwitchRefused, SwitchRequested
from orchestrator.config import Config
from orchestrator.world import SwitchAsk
from projections.locking import ForeignLock
from projections.state import Goal, WorkspaceState


def admit(
    state: WorkspaceState,
    ask: SwitchAsk,
    foreign_lock: ForeignLock | None,
    now: Stamp,
    config: Config,
    *,
    after: int = 0,
) -> tuple[Draft, ...]:
    """The events that answer `ask`: a switch and its lock, or its refusal with the reason and who stands in the way.

    `after` says how many events of the same transaction come first. A request by file takes the foreign lock along: whoever
    wrote the one has touched the other. Any other asker has to wait until a foreign lock is stale.
    """
    refused = _refusal(state, ask, foreign_lock, now, config)
    if refused is not None:
        return (Draft(refused),)
    source = ask.source or state.serving or state.environment
    events = (
        [Draft(LockBroken(why="foreign_stale", age_ns=age_ns(foreign_lock.touched, now)))]
        if (foreign_lock is not None and ask.origin is not Origin.FILE)
        else []
    )
    switch = state.seq + 1 + after + len(events)
    requested = SwitchRequested(
        target=ask.target,
        source=source,
        kind=SwitchKind.SWITCH if ask.generation is None else SwitchKind.ROLLBACK,
        origin=ask.origin,
        generation=ask.generation,
        requester=ask.requester,
        reason=ask.reason,
    )
    lock = LockAcquired(holder=ask.requester, foreign=foreign_lock is not None and ask.origin is Origin.FILE)
    return (*events, Draft(requested, switch=switch), Draft(lock, switch=switch))


def _refusal(
    state: WorkspaceState, ask: SwitchAsk, foreign_lock: ForeignLock | None, now: Stamp, config: Config
) -> SwitchRefused | None:
    job = state.job
    if ask.problem:
        return _refused(ask, RefusalReason.UNKNOWN, ask.problem)
    if state.goal is Goal.STOP:
        return _refused(ask, RefusalReason.STOPPING, "the orchestrator is stopping; ask again when it has stopped")
    if job is not None and job.is_switch:
        holder = None if state.lock is None else state.lock.holder
        asker = "" if holder is None else f", asked for by pid {holder.pid}"
        return _refused(
            ask,
            RefusalReason.SWITCH_OPEN,
            f"switch {job.job} to {job.environment!r} holds the lock{asker}; wait or abort it",
        )
    if state.serving == ask.target and ask.generation is None:
        return _refused(ask, RefusalReason.ALREADY_SERVING, f"environment {ask.target!r} serves already")
    if (
        foreign_lock is not None
        and ask.origin is not Origin.FILE
        and not foreign_lock.is_stale(now, config.lock_timeout_s)
    ):
        age_s = age_ns(foreign_lock.touched, now) / 1e9
        return _refused(
            ask,
            RefusalReason.LOCKED,
            f"another program touched .switch.lock {age_s:.0f} s ago; it counts for {config.lock_timeout_s:g} s",
        )
    return None


def _refused(ask: SwitchAsk, why: RefusalReason, message: str) -> SwitchRefused:
    return SwitchRefused(target=ask.target[:255], source=ask.source[:255], origin=ask.origin, why=why, message=message)

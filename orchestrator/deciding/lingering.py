"""What does not last: the locks of others, the outcome of a switch on the screen; and when to look at such things again."""

from collections.abc import Iterator

from journal.clock import S, Stamp, age_ns, elapsed_ns, seconds
from journal.events import LockBroken, StatusCleared
from orchestrator.actions import Decision, TakeForeignLock, Wait
from orchestrator.deciding.situation import LOOK_NS, Situation
from projections.locking import FOREIGN_STALE, OWNER_DEAD, ForeignLock
from projections.state import OutcomeState, WorkspaceState

CLAIM_LOOK_NS = S
"""How often the holder of a claim is looked at: its death tells nobody."""


def claim(situation: Situation) -> Decision | None:
    """The lock of somebody who died before asking for a switch is free at once."""
    held = situation.state.claim
    if held is None or not situation.world.claim_is_dead:
        return None
    return situation.act(LockBroken(why=OWNER_DEAD, age_ns=age_ns(held.acquired, situation.now)))


def foreign_lock(situation: Situation) -> Decision | None:
    """A foreign lock with no switch behind it is taken away: when it is stale, or the request that it came with was refused."""
    lock, now = situation.world.foreign_lock, situation.now
    if lock is None or situation.state.lock is not None:
        return None
    if lock.is_stale(now, situation.config.lock_timeout_s):
        why = FOREIGN_STALE
    elif _came_with_a_refused_request(situation, lock):
        why = "refused"
    else:
        return None
    return situation.act(LockBroken(why=why, age_ns=age_ns(lock.touched, now)), effect=TakeForeignLock())


def _came_with_a_refused_request(situation: Situation, lock: ForeignLock) -> bool:
    refused_at = situation.state.refused_at
    if refused_at is None or situation.world.inbox:
        return False
    return age_ns(lock.touched, situation.now) >= elapsed_ns(refused_at, situation.now)


def shown(situation: Situation) -> Decision | None:
    """The outcome of the last switch, and a status that somebody set, are shown for a time, whatever else goes on.

    A critical failure stays until it is mended.
    """
    linger_ns = seconds(situation.config.status_linger_s)
    over = (situation.over(since, linger_ns) for since in _shown_since(situation.state))
    return situation.act(StatusCleared()) if any(over) else None


def _shown_since(state: WorkspaceState) -> Iterator[Stamp]:
    if state.outcome is not None and state.outcome.state is not OutcomeState.CRITICAL_FAILURE:
        yield state.outcome.at
    if state.posted is not None:
        yield state.posted.at


def reminders(situation: Situation) -> tuple[Wait, ...]:
    """When to look again for what hinders no other rule: a status shown, a killed worker, foreign files half written or old."""
    state, lock, config = situation.state, situation.world.foreign_lock, situation.config
    linger_ns = seconds(config.status_linger_s)
    waits = [situation.wait(since, linger_ns) for since in _shown_since(state) if not situation.over(since, linger_ns)]
    if situation.world.has_unfinished_item or (state.worker is not None and state.worker.cancelled is not None):
        waits.append(situation.look_again())
    if lock is not None and state.lock is None:
        left_ns = seconds(config.lock_timeout_s) - age_ns(lock.touched, situation.now)
        waits.append(situation.wait_ns(max(LOOK_NS, left_ns)))
    if state.claim is not None:
        waits.append(situation.wait_ns(CLAIM_LOOK_NS))
    return tuple(waits)

"""The switch lock, for a process that means to ask for a switch: a claim, until it does."""

import logging
from collections.abc import Iterator
from pathlib import Path

from journal import clock
from journal.clock import age_ns
from journal.codec import Draft
from journal.errors import JournalError
from journal.events import LockAcquired, LockBroken, LockRefused, LockReleased, StatusCleared
from journal.identity import own_identity
from orchestrator.asking import are_files_deleted, claim_is_dead
from orchestrator.compat.opening import ledger_of, workspace_of
from orchestrator.config import Config
from orchestrator.deciding.admission import claimed_by, cleared_away, touched_by_others
from orchestrator.deciding.withdrawing import withdraw
from orchestrator.ledger import Ledger
from orchestrator.observing import foreign_lock
from orchestrator.reading import living_orchestrator, read_state
from orchestrator.workspace import read_config
from projections.locking import ForeignLock
from projections.publisher import is_ours, read_bytes
from projections.state import WorkspaceState
from projections.views import LOCK

_LOG = logging.getLogger(__name__)

RELEASED = "released"
"""Why a foreign lock file was taken away: somebody asked for it, in `lock.broken`."""
WITHDRAWN = "it was withdrawn: its lock was released while no orchestrator lived"


def acquire_switch_lock(metadata_dir: Path, timeout: int = 300) -> bool:
    """Claim the lock for this process; False when somebody has it. It ends in this process's switch, or with its death.

    A lock file that others have touched counts for `timeout` seconds. Nothing of ours ever expires: not the lock of an
    open switch, nor the claim of a process that lives, our own included.
    """
    me = own_identity()
    with ledger_of(metadata_dir) as ledger:

        def answer(state: WorkspaceState) -> tuple[Draft, ...]:
            now = clock.read()
            foreign = foreign_lock(ledger.workspace, now, state)
            why = _held(state) or _touched(foreign, now, timeout)
            if why:
                return (Draft(LockRefused(asker=me, why=why)),)
            return (*cleared_away(state.claim, foreign, now), Draft(LockAcquired(holder=me)))

        return any(isinstance(recorded.event, LockAcquired) for recorded in ledger.ask(answer))


def _held(state: WorkspaceState) -> str:
    """Who has the lock by our own account; "" when nobody has."""
    if state.lock is not None:
        return f"switch {state.lock.switch} holds the lock"
    return "" if state.claim is None or claim_is_dead(state) else claimed_by(state.claim)


def _touched(lock: ForeignLock | None, now: clock.Stamp, timeout_s: float) -> str:
    """That a foreign lock file counts; "" when there is none that does."""
    return "" if lock is None or lock.is_stale(now, timeout_s) else touched_by_others(lock, now, timeout_s)


def release_switch_lock(metadata_dir: Path) -> None:
    """Give the claim up, whoever's it is, and take a foreign lock file away.

    The lock of an open switch ends with that switch: while an orchestrator works on it, nothing happens here; with none
    alive the switch is withdrawn.
    """
    with ledger_of(metadata_dir) as ledger:
        ledger.ask(lambda state: (*given_up(ledger, state), *_withdrawn(state)))
        discard_foreign(ledger, LOCK)


def given_up(ledger: Ledger, state: WorkspaceState) -> Iterator[Draft]:
    """The events that free the lock of whoever has no switch: a foreign file's, and a claim."""
    now = clock.read()
    foreign = foreign_lock(ledger.workspace, now, state)
    if foreign is not None:
        yield Draft(LockBroken(why=RELEASED, age_ns=age_ns(foreign.touched, now)))
    if state.claim is not None:
        yield Draft(LockReleased())


def discard_foreign(ledger: Ledger, name: str) -> None:
    """Take away what others wrote under the name of a view, if it is there. Raises OSError."""
    content = read_bytes(ledger.workspace.metadata / name)
    if content is not None and not is_ours(content, ledger.state.seq):
        ledger.discard(name)


def _withdrawn(state: WorkspaceState) -> Iterator[Draft]:
    if state.lock is not None and living_orchestrator(state) is None:
        yield from withdraw(state, WITHDRAWN)
        yield Draft(StatusCleared())
    elif state.lock is not None:
        _LOG.warning("releasing the lock: switch %d still needs it and frees it when it ends", state.lock.switch)


def is_switch_locked(metadata_dir: Path) -> bool:
    """Whether a claim or a switch would be refused now. Writes nothing, unless an open switch's files were deleted."""
    workspace = workspace_of(metadata_dir)
    try:
        state = read_state(workspace.journal_path)
    except JournalError as error:
        _LOG.warning("%s; believing the lock file", error)
        return (workspace.metadata / LOCK).exists()
    now = clock.read()
    if are_files_deleted(workspace, state):
        with ledger_of(metadata_dir) as ledger:  # which takes back what they were of
            state = ledger.state
    config, _ = read_config(workspace.config_path, Config())
    foreign = foreign_lock(workspace, now, state)
    return bool(_held(state) or _touched(foreign, now, config.lock_timeout_s))

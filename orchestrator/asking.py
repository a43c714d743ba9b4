"""What other processes ask of a workspace: append the wish, see that an orchestrator is there, watch what becomes of it."""

import contextlib
from collections.abc import Iterator

import attrs

from journal import clock
from journal.clock import Stamp, is_over, seconds
from journal.codec import Draft, own_actor
from journal.doorbell import Doorbell
from journal.events import (
    AbortRequested,
    LockReleased,
    Origin,
    RestartRequested,
    ShutdownRequested,
    StatusCleared,
    SwitchRefused,
    SwitchRequested,
)
from journal.head import head_path
from journal.identity import is_alive, own_identity
from orchestrator.config import Config
from orchestrator.deciding.admission import admit
from orchestrator.deciding.withdrawing import DELETED, was_deleted, withdraw
from orchestrator.inbox import aside_of
from orchestrator.ledger import Ledger
from orchestrator.observing import foreign_lock
from orchestrator.reading import LOOK_S, living_guard, living_orchestrator
from orchestrator.workspace import Workspace, read_config
from orchestrator.world import SwitchAsk
from projections.publisher import read_bytes
from projections.state import Goal, WorkspaceState
from projections.views import LOCK, REQUEST


@attrs.frozen
class Answer:
    """What was said to a wish for a switch: its number, or why it was refused."""

    switch: int | None
    refused: SwitchRefused | None


def claim_is_dead(state: WorkspaceState) -> bool:
    """Whether whoever holds the lock without a switch is gone."""
    return state.claim is not None and not is_alive(state.claim.holder)


def as_it_is(state: WorkspaceState) -> WorkspaceState:
    """The state without what only a living orchestrator makes true: with none, what died serves not, and nobody is stopping.

    That stays true where a guard is about to start one: it goes on with a stop.
    """
    if living_orchestrator(state) is not None:
        return state
    main = state.main_process
    serves = main is not None and main.identity is not None and is_alive(main.identity)
    goal = Goal.IDLE if living_guard(state) is None else state.goal
    return attrs.evolve(state, goal=goal, main=state.main if serves else None)


def open_ledger(workspace: Workspace, role: str) -> Ledger:
    """The workspace's ledger for a process that is no orchestrator. A switch that was taken back meanwhile is ended first.

    Raises JournalError.
    """
    ledger = Ledger.open(workspace, own_actor(role))
    try:
        release_if_deleted(ledger)
    except BaseException:
        ledger.close()
        raise
    return ledger


def release_if_deleted(ledger: Ledger) -> None:
    """End an open switch whose files somebody deleted, if no orchestrator lives: before anything is published again.

    The same for a claim whose lock file is gone.
    """

    def answer(state: WorkspaceState) -> tuple[Draft, ...]:
        if not are_files_deleted(ledger.workspace, state):
            return ()
        if state.claim is not None:
            return (Draft(LockReleased()),)
        return (*withdraw(state, DELETED), Draft(StatusCleared()))

    if are_files_deleted(ledger.workspace, ledger.state):
        ledger.ask(answer)


def are_files_deleted(workspace: Workspace, state: WorkspaceState) -> bool:
    """Whether somebody deleted the files of the open switch, or of the claim, while no orchestrator lived."""
    if living_orchestrator(state) is not None:
        return False
    lock, request = (workspace.metadata / name for name in (LOCK, REQUEST))
    lock_there = read_bytes(lock) is not None
    if state.claim is not None:
        return not lock_there
    request_there = read_bytes(request) is not None or read_bytes(aside_of(request)) is not None
    return was_deleted(state, clock.read(), lock_there=lock_there, request_there=request_there)


def command_ask(
    workspace: Workspace, target: str, generation: int | None = None, *, restores: bool = False
) -> SwitchAsk:
    """What a command of this process asks for: a switch to `target`, or (with `generation`) the way back to one.

    `restores`: that generation's content is brought back.
    """
    return SwitchAsk(
        target=target,
        origin=Origin.CLI,
        problem=workspace.environment_problem(target),
        generation=generation,
        requester=own_identity(),
        restores=restores,
    )


def ask_switch(ledger: Ledger, ask: SwitchAsk) -> Answer:
    """Ask for a switch. Journals the wish or its refusal."""
    workspace = ledger.workspace
    config, _ = read_config(workspace.config_path, Config())

    def answer(state: WorkspaceState) -> tuple[Draft, ...]:
        now = clock.read()
        lock = foreign_lock(workspace, now, state)
        return admit(as_it_is(state), ask, lock, now, config, claim_is_dead=claim_is_dead(state))

    for recorded in ledger.ask(answer):
        if isinstance(recorded.event, SwitchRequested):
            return Answer(recorded.seq, None)
        if isinstance(recorded.event, SwitchRefused):
            return Answer(None, recorded.event)
    message = "a wish for a switch was neither granted nor refused"
    raise AssertionError(message)


def ask_restart(ledger: Ledger, reason: str = "") -> int:
    """Ask for a restart; the seq of the request."""
    return ledger.ask(lambda _: (Draft(RestartRequested(origin=Origin.CLI, reason=reason)),))[0].seq


def ask_shutdown(ledger: Ledger, reason: str = "") -> int | None:
    """Ask the living orchestrator to end, or the one that a guard is about to start; the seq of the request.

    None when there is nobody to ask.
    """

    def answer(state: WorkspaceState) -> tuple[Draft, ...]:
        asked = Draft(ShutdownRequested(origin=Origin.CLI, reason=reason))
        return (asked,) if living_orchestrator(state) or living_guard(state) else ()

    return next((recorded.seq for recorded in ledger.ask(answer)), None)


def ask_abort(ledger: Ledger, reason: str = "") -> int:
    """Ask for the end of the open switch; the seq of the request."""
    return ledger.ask(lambda _: (Draft(AbortRequested(origin=Origin.CLI, reason=reason)),))[0].seq


def watch(ledger: Ledger, since: Stamp, timeout_s: float | None) -> Iterator[WorkspaceState]:
    """The state, again and again as it changes and every LOOK_S, until `timeout_s` after `since`."""
    with contextlib.closing(Doorbell(head_path(ledger.workspace.journal_path))) as bell:
        while timeout_s is None or not is_over(since, seconds(timeout_s), clock.read()):
            ledger.refresh()
            yield ledger.state
            bell.wait(LOOK_S)

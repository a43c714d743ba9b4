"""What other processes ask of a workspace: append the wish, see that an orchestrator is there, watch what becomes of it."""

import contextlib
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import attrs

from journal import clock
from journal.clock import Stamp, is_over, seconds
from journal.codec import Draft
from journal.doorbell import Doorbell
from journal.errors import JournalMissing
from journal.events import (
    AbortRequested,
    Origin,
    RestartRequested,
    ShutdownRequested,
    SpawnRequested,
    SwitchRefused,
    SwitchRequested,
)
from journal.head import head_path
from journal.identity import Identity, is_alive, own_identity
from journal.store import Journal
from orchestrator.config import Config
from orchestrator.deciding.admission import admit
from orchestrator.errors import OrchestratorError
from orchestrator.ledger import Ledger
from orchestrator.observing import foreign_lock
from orchestrator.processes.detach import spawn_detached
from orchestrator.workspace import read_config
from orchestrator.world import SwitchAsk
from projections.evolve import fold
from projections.state import Goal, WorkspaceState

ALIVE_WITHIN_S = 15.0
"""How long a new orchestrator may take to journal its start: Python and imports, 0.3 s on an idle machine."""


LOOK_S = 0.25
"""How often somebody who waits looks without being woken."""


class NotStartedError(OrchestratorError):
    """An orchestrator was started in the background and did not come up."""


@attrs.frozen
class Answer:
    """What was said to a wish for a switch: its number, or why it was refused."""

    switch: int | None
    refused: SwitchRefused | None


def living_orchestrator(state: WorkspaceState) -> Identity | None:
    """The orchestrator of the workspace, if it lives."""
    known = state.orchestrator
    return known if known is not None and is_alive(known) else None


def as_it_is(state: WorkspaceState) -> WorkspaceState:
    """The state without what only a living orchestrator makes true: with none, nobody is stopping, and what died serves not."""
    if living_orchestrator(state) is not None:
        return state
    main = state.main_process
    serves = main is not None and main.identity is not None and is_alive(main.identity)
    return attrs.evolve(state, goal=Goal.IDLE, main=state.main if serves else None)


def launcher() -> tuple[str, ...]:
    """The command line that runs us, as somebody could paste it: the installed script, else the module."""
    script = Path(sys.executable).with_name("comfygit-orchestrator")
    return (str(script),) if script.exists() else (sys.executable, "-m", "orchestrator")


def ask_switch(ledger: Ledger, target: str, *, generation: int | None = None) -> Answer:
    """Ask for a switch, or (with `generation`) for the way back to one. Journals the wish or its refusal."""
    workspace = ledger.workspace
    config, _ = read_config(workspace.config_path, Config())
    ask = SwitchAsk(
        target=target,
        origin=Origin.CLI,
        problem=workspace.environment_problem(target),
        generation=generation,
        requester=own_identity(),
    )

    def answer(state: WorkspaceState) -> tuple[Draft, ...]:
        now = clock.read()
        return admit(as_it_is(state), ask, foreign_lock(workspace, now, state.seq), now, config)

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
    """Ask the living orchestrator to end; the seq of the request, None when there is nobody to ask."""

    def answer(state: WorkspaceState) -> tuple[Draft, ...]:
        asked = Draft(ShutdownRequested(origin=Origin.CLI, reason=reason))
        return () if living_orchestrator(state) is None else (asked,)

    return next((recorded.seq for recorded in ledger.ask(answer)), None)


def ask_abort(ledger: Ledger, reason: str = "") -> int:
    """Ask for the end of the open switch; the seq of the request."""
    return ledger.ask(lambda _: (Draft(AbortRequested(origin=Origin.CLI, reason=reason)),))[0].seq


def spawn_orchestrator(ledger: Ledger, environment: str = "", arguments: tuple[str, ...] | None = None) -> Identity:
    """Start an orchestrator in the background and wait until it has journaled that it is there.

    Raises NotStartedError with the place to look when it does not within ALIVE_WITHIN_S.
    """
    workspace = ledger.workspace
    command = [sys.executable, "-m", "orchestrator", "run", "--detached", "--workspace", str(workspace.root)]
    command += ["--environment", environment] if environment else []
    command += [] if arguments is None else ["--args", *arguments]
    ledger.ask(lambda _: (Draft(SpawnRequested(environment=environment, command=tuple(command))),))
    log = workspace.metadata / "orchestrator.log"
    spawn_detached(command, log=log, environ=_environ(), cwd=workspace.root)
    started = clock.read()
    for state in watch(ledger, started, ALIVE_WITHIN_S):
        found = living_orchestrator(state)
        if found is not None:
            return found
    message = f"starting an orchestrator for {workspace.root}: it did not come up within {ALIVE_WITHIN_S:g} s"
    raise NotStartedError(message, f"look at the end of {log}")


def _environ() -> dict[str, str]:
    """Ours, without what says that we are inside a supervised ComfyUI: the orchestrator is not."""
    return {name: value for name, value in os.environ.items() if name != "COMFYGIT_SUPERVISED"}


def watch(ledger: Ledger, since: Stamp, timeout_s: float | None) -> Iterator[WorkspaceState]:
    """The state, again and again as it changes and every LOOK_S, until `timeout_s` after `since`."""
    with contextlib.closing(Doorbell(head_path(ledger.workspace.journal_path))) as bell:
        while timeout_s is None or not is_over(since, seconds(timeout_s), clock.read()):
            ledger.refresh()
            yield ledger.state
            bell.wait(LOOK_S)


def read_state(path: Path) -> WorkspaceState:
    """The state of the journal at `path`; where there is none yet, that of a workspace that was never used. Reads only."""
    try:
        with Journal.open_readonly(path) as journal:
            return fold(journal.read())
    except JournalMissing:
        return WorkspaceState()


def follow_state(path: Path) -> Generator[WorkspaceState, None, None]:
    """The state of the journal at `path`, at once and whenever it has changed or LOOK_S has passed. Reads only.

    Raises JournalMissing when there is no journal yet.
    """
    with Journal.open_readonly(path) as journal, contextlib.closing(Doorbell(head_path(path))) as bell:
        state = WorkspaceState()
        while True:
            state = fold(journal.read(state.seq), state)
            yield state
            bell.wait(LOOK_S)

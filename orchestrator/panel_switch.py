"""What our panel asks by its command: a switch in the name of the ComfyUI that it runs in, and an orchestrator for it."""

from pathlib import Path
from typing import Any

import attrs

from journal.codec import Draft
from journal.errors import JournalError
from journal.events import Origin, RefusalReason, SwitchRefused
from journal.identity import Identity, identify
from orchestrator.asking import as_it_is, ask_switch, open_ledger
from orchestrator.deciding.admission import refused
from orchestrator.deciding.withdrawing import withdraw
from orchestrator.errors import OrchestratorError
from orchestrator.launching import spawn_orchestrator
from orchestrator.ledger import Ledger
from orchestrator.reading import living_orchestrator
from orchestrator.workspace import open_workspace
from orchestrator.world import SwitchAsk
from projections.state import WorkspaceState

NOT_STARTED = "not_started"
"""The outcome when no orchestrator could be started: the switch was taken back, and nothing was stopped."""


@attrs.frozen
class PanelAsk:
    """A page's wish. `comfyui_pid` is the process that the page comes from, `arguments` are those it was started with."""

    target: str
    source: str
    comfyui_pid: int
    arguments: tuple[str, ...]


def switch_for_panel(workspace: Path | None, ask: PanelAsk) -> dict[str, Any]:
    """Journal the wish, and see that an orchestrator lives that carries it out.

    Gives `switch` (its number or None), `outcome` (None when granted, else a word), `error`, `started` (whether an
    orchestrator was started, so that this ComfyUI has to leave) and `orchestrator` (its pid). Raises WorkspaceError,
    JournalError.
    """
    comfyui = identify(ask.comfyui_pid)
    opened = open_workspace(workspace)
    wish = SwitchAsk(
        target=ask.target,
        origin=Origin.PANEL,
        source=ask.source,
        problem=opened.environment_problem(ask.target),
        requester=comfyui,
    )
    with open_ledger(opened, "panel") as ledger:
        if comfyui is None or _is_a_stranger(ledger.state, comfyui):
            return _refused_to_a_stranger(ledger, wish)
        answer = ask_switch(ledger, wish)
        why = None if answer.refused is None else answer.refused.why
        if why is RefusalReason.SWITCH_OPEN:
            return _taken_up(ledger, comfyui, ask, _answer(None, answer.refused))
        if why is not None and why is not RefusalReason.ALREADY_SERVING:
            return _answer(None, answer.refused)
        return _with_an_orchestrator(ledger, comfyui, ask, _answer(answer.switch, answer.refused))


def _is_a_stranger(state: WorkspaceState, comfyui: Identity) -> bool:
    """Whether an orchestrator lives and this ComfyUI is none of its own."""
    ours = {process.identity for process in state.processes.values()}
    return living_orchestrator(state) is not None and comfyui not in ours


def _refused_to_a_stranger(ledger: Ledger, wish: SwitchAsk) -> dict[str, Any]:
    message = (
        "an orchestrator runs this workspace, and this ComfyUI is not one that it started; "
        "switch from the page of the one that it did, or stop it: comfygit-orchestrator stop"
    )
    refusal = refused(wish, RefusalReason.ORCHESTRATOR_ACTIVE, message)
    ledger.ask(lambda _: (Draft(refusal),))
    return _answer(None, refusal)


def _answer(switch: int | None, refusal: SwitchRefused | None) -> dict[str, Any]:
    return {
        "switch": switch,
        "outcome": None if refusal is None else refusal.why.value,
        "error": None if refusal is None else refusal.message,
        "started": False,
        "orchestrator": None,
    }


def _taken_up(ledger: Ledger, comfyui: Identity, ask: PanelAsk, refusal: dict[str, Any]) -> dict[str, Any]:
    """A switch is open. One that nobody works on is taken up by an orchestrator that is started; if it is the same, granted."""
    job = ledger.state.job
    if living_orchestrator(ledger.state) is not None or job is None:
        return refusal
    if job.environment == ask.target:
        return _with_an_orchestrator(ledger, comfyui, ask, _answer(job.job, None))
    return _with_an_orchestrator(ledger, comfyui, ask, refusal)


def _with_an_orchestrator(ledger: Ledger, comfyui: Identity, ask: PanelAsk, answer: dict[str, Any]) -> dict[str, Any]:
    alive = living_orchestrator(ledger.state)
    if alive is not None:
        return {**answer, "orchestrator": alive.pid}
    main = as_it_is(ledger.state).main_process
    is_ours = main is not None and main.identity == comfyui  # its dead orchestrator's arguments are in the journal
    try:
        started = spawn_orchestrator(ledger, arguments=None if is_ours else ask.arguments)
    except (OrchestratorError, JournalError) as error:
        why = f"{error}; {error.hint}"
        ledger.ask(lambda state: withdraw(state, why) if living_orchestrator(state) is None else ())
        return {**answer, "switch": None, "outcome": NOT_STARTED, "error": why}
    return {**answer, "started": True, "orchestrator": started.pid}

"""Who the orchestrator is: its pid file, and cleaning up after one that hangs or has died."""

import base64
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import attrs

from journal import clock
from journal.codec import Draft
from journal.errors import JournalError
from journal.events import OrchestratorLost, OrchestratorStopped, StatusCleared
from journal.identity import Identity, identify, is_alive, own_identity
from orchestrator import __version__
from orchestrator.alone import leave_to_another, only_one
from orchestrator.asking import watch
from orchestrator.compat.locking import discard_foreign, given_up
from orchestrator.compat.opening import ledger_of, workspace_of
from orchestrator.config import Config
from orchestrator.deciding.settling import rejected
from orchestrator.deciding.withdrawing import withdraw
from orchestrator.inbox import Inbox
from orchestrator.ledger import Ledger
from orchestrator.processes.signals import send
from orchestrator.reading import living_guard, living_orchestrator
from orchestrator.singleton import Singleton
from orchestrator.starting import StartOptions, first_events
from orchestrator.workspace import read_config
from orchestrator.world import AskKind, InboxItem
from projections.publisher import read_bytes
from projections.state import WorkspaceState
from projections.views import LOCK, PID, REQUEST, STATUS

_LOG = logging.getLogger(__name__)

_LARGEST_PID = 2**31 - 1
_TERM_WITHIN_S = 3.0
_KILL_WITHIN_S = 1.0
_held: dict[Path, Singleton] = {}
"""The kernel locks of the workspaces whose orchestrator this process said it is."""


def write_orchestrator_pid(metadata_dir: Path) -> None:
    """Say that this process is the workspace's orchestrator; twice is harmless.

    Raises AlreadyRunning when another one is.
    """
    workspace, me = workspace_of(metadata_dir), own_identity()
    if workspace.metadata in _held:
        with ledger_of(metadata_dir) as ledger:
            ledger.publish()
        return
    singleton = only_one(workspace)
    try:
        with ledger_of(metadata_dir) as ledger:
            leave_to_another(workspace, ledger.state)
            config, _ = read_config(workspace.config_path, Config())
            ledger.ask(lambda state: first_events(state, me, __version__, StartOptions(), clock.read(), config))
    except BaseException:
        singleton.release()
        raise
    _held[workspace.metadata] = singleton


def read_orchestrator_pid(metadata_dir: Path) -> int | None:
    """The pid in the pid file; None when there is none, or something that can be no pid. Says nothing of whose it is."""
    text = (read_bytes(Path(metadata_dir) / PID) or b"").strip()
    if not text.isdigit() or len(text) > len(str(_LARGEST_PID)):
        return None
    pid = int(text)
    return pid if 0 < pid <= _LARGEST_PID else None


def cleanup_orchestrator_pid(metadata_dir: Path) -> None:
    """Say that this process is the orchestrator no more. A pid file that speaks of a dead one goes, a living one's stays."""
    me = own_identity()
    with ledger_of(metadata_dir) as ledger:
        if ledger.state.orchestrator == me:
            ledger.ask(_stopped)
        else:
            forget_dead_orchestrator(ledger)
        ledger.publish()
        singleton = _held.pop(ledger.workspace.metadata, None)
    if singleton is not None:
        singleton.release()


def _stopped(state: WorkspaceState) -> tuple[Draft, ...]:
    ended = OrchestratorStopped(why="cleanup_orchestrator_pid was called", exit_status=0)
    shown = () if state.outcome is None else (Draft(StatusCleared()),)
    return (*shown, *withdraw(state, "the orchestrator was stopped during the switch"), Draft(ended))


def forget_dead_orchestrator(ledger: Ledger) -> None:
    """Journal that the recorded orchestrator is dead, if it is."""

    def answer(state: WorkspaceState) -> tuple[Draft, ...]:
        known = state.orchestrator
        return () if known is None or is_alive(known) else (Draft(OrchestratorLost(identity=known)),)

    ledger.ask(answer)


def _is_process_running(pid: int) -> bool:
    """Whether a process of that number runs, whoever's it is; a zombie does not. Never raises, never signals."""
    return type(pid) is int and identify(pid) is not None


def force_cleanup_orchestrator_state(metadata_dir: Path) -> None:
    """End the orchestrator if one lives (SIGTERM, SIGKILL 3 s later), and leave no lock, request or status behind.

    Its guard ends with it: nobody starts another one. A critical failure stays shown. What is cleaned away is journaled;
    with a journal that cannot be read only the files go. Blocks for up to 4 s. A ComfyUI that is left running is adopted
    by the next one.
    """
    try:
        ledger = ledger_of(metadata_dir)
    except JournalError as error:
        _LOG.error("%s; only the files are cleaned away", error)
        for name in (LOCK, REQUEST, STATUS, PID):
            (Path(metadata_dir) / name).unlink(missing_ok=True)
        return
    with ledger:
        if ledger.state.orchestrator != own_identity():
            _end(ledger)
        forget_dead_orchestrator(ledger)
        ledger.ask(lambda state: tuple(_cleaned(ledger, state)))
        for name in (LOCK, REQUEST):
            with contextlib.suppress(OSError):
                discard_foreign(ledger, name)


def _end(ledger: Ledger) -> None:
    """End whoever supervises. The guard of a dead orchestrator is asked as well: it would start the next one."""
    asked = _supervising(ledger.state)[-1:]
    for identity in asked:
        _LOG.warning("ending %d, the orchestrator or its guard, with SIGTERM", identity.pid)
        send(identity, "SIGTERM")
    if not asked or _is_over(ledger, _TERM_WITHIN_S):
        return
    guard_first = _supervising(ledger.state)
    for identity in guard_first[1:]:
        send(identity, "SIGSTOP")  # it would take its guard's place
    for identity in guard_first:
        _LOG.warning("ending %d, the orchestrator or its guard, with SIGKILL", identity.pid)
        send(identity, "SIGKILL")
    _is_over(ledger, _KILL_WITHIN_S)


def _supervising(state: WorkspaceState) -> tuple[Identity, ...]:
    """The guard and the orchestrator, as far as they live."""
    return tuple(filter(None, (living_guard(state), living_orchestrator(state))))


def _is_over(ledger: Ledger, within_s: float) -> bool:
    return any(not _supervising(state) for state in watch(ledger, clock.read(), within_s))


def _cleaned(ledger: Ledger, state: WorkspaceState) -> Iterator[Draft]:
    yield from given_up(ledger, state)
    for item in Inbox(ledger.workspace.metadata, clock.read()).look(clock.read(), state.seq):
        if item.name == REQUEST and item.key not in state.inbox_keys:
            yield Draft(rejected(item if item.kind is AskKind.REJECTED else _unwanted(item)))
    yield from withdraw(state, "it was withdrawn: the orchestrator's state was cleaned by force")
    yield Draft(StatusCleared())


def _unwanted(item: InboxItem) -> InboxItem:
    content = base64.b64encode(item.content.encode()).decode("ascii")
    return attrs.evolve(item, problem="the orchestrator's state was cleaned by force", content=content)

"""The composition root: what an orchestrator is made of, from the singleton lock to its last event."""

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import attrs

from journal import clock
from journal.clock import S, elapsed_ns
from journal.codec import Draft
from journal.events import ControlListening, Origin, RestartRequested, ShutdownRequested
from journal.identity import own_identity
from orchestrator import __version__
from orchestrator.alone import leave_to_another, only_one
from orchestrator.asking import as_it_is, open_ledger
from orchestrator.config import Config
from orchestrator.control.server import ControlServer, ControlUnavailable
from orchestrator.deciding.situation import endpoint_for
from orchestrator.environments.workers import Workers, environ_for_comfyui
from orchestrator.foreground import OutputFollower
from orchestrator.guard_watch import GuardWatch
from orchestrator.guarded_start import leave_signals_to_the_main_thread
from orchestrator.guarding import GuardLink
from orchestrator.inbox import Inbox, settle_asides
from orchestrator.ledger import Ledger
from orchestrator.logs.switch_log import LogEntry
from orchestrator.loop import Supervisor, hold_signals
from orchestrator.narration import Narrator
from orchestrator.observing import Observer
from orchestrator.performing import Performer
from orchestrator.processes.children import Children
from orchestrator.reading import read_state
from orchestrator.singleton import SINGLETON, AlreadyRunning, Singleton
from orchestrator.starting import StartOptions, first_events
from orchestrator.workspace import Workspace, WorkspaceError, read_config
from orchestrator.world import AskKind
from projections.state import WorkspaceState
from projections.views import REQUEST

_LOG = logging.getLogger(__name__)


@attrs.frozen
class RunOptions:
    """How to run: `foreground` shows ComfyUI's output; `launcher` is the command line to name in advice.

    `guard` is the link to whoever starts us again, None where nobody does.
    """

    start: StartOptions
    foreground: bool
    launcher: tuple[str, ...]
    guard: GuardLink | None = None


def run_orchestrator(workspace: Workspace, options: RunOptions) -> int:
    """Supervise `workspace` until it is over; the exit status.

    Raises WorkspaceError for an environment that is none and AlreadyRunning, before anything was changed; JournalError.
    """
    guard = options.guard
    try:
        status = _run_alone(workspace, options)
    except Exception as error:
        is_in_vain = isinstance(error, AlreadyRunning | WorkspaceError)
        if guard is not None and (is_in_vain or guard.is_asked_to_end):
            guard.say_leave()
        raise
    if guard is not None:
        guard.say_leave()  # also with a status that is not 0: whoever decides to leave is not to be started again
    return status


def _run_alone(workspace: Workspace, options: RunOptions) -> int:
    singleton = only_one(workspace)
    try:
        options = attrs.evolve(options, start=start_as_meant(workspace, options.start))
        with open_ledger(workspace, "orchestrator") as ledger:
            return asyncio.run(_supervise(ledger, options, singleton))
    finally:
        singleton.release()


def start_under(guard: GuardLink, start: StartOptions) -> StartOptions:
    """What `start` is when `guard` has started us: in place of a dead one, nothing is asked for that was not before."""
    asked = StartOptions(manual=False) if guard.again else start
    return attrs.evolve(asked, guard=guard.identity)


def start_as_meant(workspace: Workspace, start: StartOptions) -> StartOptions:
    """`start`, unless its environment is none. Where a page has asked for that, it is refused, and what asked serves on.

    Raises WorkspaceError for such an environment that no request on disk stands behind; AlreadyRunning beside another
    orchestrator, whoever holds the lock.
    """
    now, state = clock.read(), read_state(workspace.journal_path)
    leave_to_another(workspace, state)
    waiting = [item for item in Inbox(workspace.metadata, now).look(now, state.seq) if item.name == REQUEST]
    arguments = None if _are_of_what_runs(start.arguments, state) else start.arguments
    start = attrs.evolve(start, request_waits=bool(waiting), arguments=arguments)
    problem = workspace.environment_problem(start.environment) if start.environment else ""
    if not problem:
        return start
    asked = next((item for item in waiting if item.kind is AskKind.SWITCH), None)
    if asked is None:
        raise WorkspaceError(problem, f"there are: {', '.join(workspace.environment_names()) or 'none yet'}")
    return attrs.evolve(start, environment="" if workspace.environment_problem(asked.source) else asked.source)


def _are_of_what_runs(arguments: tuple[str, ...] | None, state: WorkspaceState) -> bool:
    """Whether the page of a ComfyUI that one of us started hands its arguments on: with what was added to the user's."""
    main, last = as_it_is(state).main_process, state.startup
    if main is None or last is None:
        return False
    return last.environment == main.environment and last.argv[1:] == arguments


async def _supervise(ledger: Ledger, options: RunOptions, singleton: Singleton) -> int:
    threads = ThreadPoolExecutor(initializer=leave_signals_to_the_main_thread)
    asyncio.get_running_loop().set_default_executor(threads)
    async with supervising(ledger, options) as supervisor:
        supervisor.upkeep.on_look = lambda: _keep(singleton)
        return await supervisor.run()


def _keep(singleton: Singleton) -> None:
    """Somebody may take the lock's file for a stale one: others are to find it there all the same."""
    if singleton.renew():
        _LOG.warning("somebody has deleted %s while this orchestrator holds its lock; made it anew", SINGLETON)


@asynccontextmanager
async def supervising(ledger: Ledger, options: RunOptions) -> AsyncIterator[Supervisor]:
    """The orchestrator's parts, put together and begun: its start is journaled. The loop is the caller's to run."""
    me, workspace = own_identity(), ledger.workspace
    narrator = Narrator(workspace, ledger)
    ledger.listener = narrator.hear
    options = _with_the_loss(options, ledger.state)
    config, _ = read_config(workspace.config_path, Config())
    if options.guard is not None:
        hold_signals()  # from here on others know our pid; with no guard, what runs our loop has its own ways
    ledger.ask(lambda state: first_events(state, me, __version__, options.start, clock.read(), config))
    children = _children_under(options.guard, ledger.state.journal_id)
    environ = environ_for_comfyui(workspace)
    workers = Workers(workspace, children, ledger.state.journal_id, environ)
    settle_asides(workspace.metadata, ledger.state.inbox_keys, ledger.state.seq)
    is_successor = options.guard is not None and options.guard.again
    inbox = Inbox(workspace.metadata, None if is_successor else clock.read())
    observer = Observer(workspace, me, children, workers, inbox, options.launcher)
    performer = Performer(ledger, children, workers, inbox, observer.holders, environ)
    supervisor = Supervisor(ledger, children, workers, observer, performer)
    hooks = Hooks(supervisor, narrator)
    control = ControlServer(hooks, public_origin=config.public_origin or "")
    beside = [_beside(_open_control(control, supervisor)), _beside(narrator.mirror())]
    try:
        with _shown(ledger, options), _heard(options.guard, supervisor):
            yield supervisor
    finally:
        await supervisor.close()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await control.stop()
        narrator.finish()
        children.close()


@contextmanager
def _heard(guard: GuardLink | None, supervisor: Supervisor) -> Iterator[None]:
    """Until the very end of the loop: what has ended does not take a dead guard's place."""
    if guard is None:
        yield
        return
    watch = GuardWatch(guard, supervisor.signalled, supervisor.unheeded)
    watch.start()
    try:
        yield
    finally:
        watch.stop()


@contextmanager
def _shown(ledger: Ledger, options: RunOptions) -> Iterator[None]:
    """What ComfyUI prints, in the foreground."""
    if not options.foreground:
        yield
        return
    output = OutputFollower(ledger)
    output.start()
    try:
        yield
    finally:
        output.stop()


def _children_under(guard: GuardLink | None, journal_id: str) -> Children:
    """With a guard that has children of its own, an orphan below it is not taken for what was left by one of ours."""
    children = Children(journal_id, guard)
    if guard is not None and guard.has_strangers:
        children.guard = None
    return children


def _with_the_loss(options: RunOptions, state: WorkspaceState) -> RunOptions:
    """Our guard knows how the orchestrator ended that it had started before us."""
    if options.guard is None or state.orchestrator is None:
        return options
    return attrs.evolve(options, start=attrs.evolve(options.start, lost=options.guard.loss_of(state.orchestrator)))


async def _open_control(control: ControlServer, supervisor: Supervisor) -> None:
    """Import aiohttp and bind, after the first look has adopted and started what it must."""
    config = supervisor.config
    if not config.enable_control_server:
        await supervisor.tell(Draft(ControlListening(host="", port=None, why="switched off in the settings")))
        return
    try:
        await asyncio.to_thread(importlib.import_module, "aiohttp.web")
        port = await control.start(config.control_port_range, config.control_port)
        listening = ControlListening(host="127.0.0.1", port=port, public_origin=control.public_origin)
    except ControlUnavailable as error:
        listening = ControlListening(host="", port=None, why=f"{error}; {error.hint}")
        _LOG.warning("%s; %s", error, error.hint)
    except (ImportError, OSError) as error:
        listening = ControlListening(host="", port=None, why=f"the control server could not be started: {error}")
        _LOG.warning("%s", listening.why)
    await supervisor.tell(Draft(listening))


def _beside(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task beside the loop. It may end with an error without ending us, but not without saying so."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(_say_why_it_ended)
    return task


def _say_why_it_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _LOG.error("a task beside the loop has ended", exc_info=task.exception())


class Hooks:
    """What the control server may know and ask: everything through the journal."""

    def __init__(self, supervisor: Supervisor, narrator: Narrator) -> None:
        """Both are the loop's own."""
        self._supervisor = supervisor
        self._narrator = narrator

    def state(self) -> WorkspaceState:
        """The state at the head."""
        return self._supervisor.ledger.state

    def comfyui_port(self) -> int:
        """Where ComfyUI listens, or would."""
        return endpoint_for(self.state(), self._supervisor.config).port

    def uptime_s(self) -> float | None:
        """Seconds since the main process was started; None without one."""
        main = self.state().main_process
        return None if main is None or main.identity is None else elapsed_ns(main.since, clock.read()) / S

    def ask_restart(self) -> None:
        """Journal the wish for a restart. Raises JournalError."""
        self._ask(Draft(RestartRequested(origin=Origin.CONTROL)))

    def ask_shutdown(self) -> None:
        """Journal the wish for the end. Raises JournalError."""
        self._ask(Draft(ShutdownRequested(origin=Origin.CONTROL)))

    def switch_log(self) -> list[LogEntry]:
        """The last 80 entries of the switch log."""
        return self._narrator.entries()

    def _ask(self, draft: Draft) -> None:
        self._supervisor.ledger.ask(lambda _: (draft,))
        self._supervisor.wake()

"""The public manager's `Orchestrator`, its steps as blocking calls: the same loop, run until that step is done.

Nothing happens between two calls but what ComfyUI does. What the class knows it reads from the journal.
"""

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import ClassVar, NoReturn

from journal.codec import Draft, Recorded
from journal.events import Origin, ProcessExited, ShutdownRequested
from journal.identity import Identity
from orchestrator.alone import only_one
from orchestrator.asking import open_ledger
from orchestrator.deciding.settling import EXIT_RESTART, EXIT_SWITCH
from orchestrator.errors import OrchestratorError
from orchestrator.launching import launcher
from orchestrator.network.ports import is_port_open
from orchestrator.running import RunOptions, start_as_meant, supervising
from orchestrator.starting import StartOptions
from orchestrator.workspace import open_workspace
from projections.state import OutcomeState, WorkspaceState
from projections.switching import Stage

_PORT_WITHIN_S = 1.0


class StartFailedError(OrchestratorError):
    """ComfyUI was not started: the message says why."""


class StartedComfyUI:
    """A ComfyUI that was started, with what people ask of a `subprocess.Popen`."""

    def __init__(self, orchestrator: "Orchestrator", spawn: int, identity: Identity) -> None:
        """Made by `Orchestrator._start_comfyui`; `spawn` is its number in the journal."""
        self._orchestrator = orchestrator
        self.spawn = spawn
        self.pid = identity.pid

    def poll(self) -> int | None:
        """How it ended, negative for a signal, 0 where nobody knows; None while it runs."""
        self._orchestrator.run_until(lambda _: True)
        return self._orchestrator.exit_of(self.spawn)

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended. Raises TimeoutError after `timeout` seconds."""
        ended = self._orchestrator.run_until(lambda _: self._orchestrator.exit_of(self.spawn) is not None, timeout)
        code = self._orchestrator.exit_of(self.spawn)
        if not ended or code is None:
            message = f"waiting for ComfyUI (pid {self.pid}): it still runs after {timeout:g} s"
            raise TimeoutError(message)
        return code


class Orchestrator:
    """The orchestrator of one workspace, from its making to `_cleanup` or the end of `run_forever`."""

    EXIT_CLEAN: ClassVar[int] = 0
    EXIT_RESTART: ClassVar[int] = EXIT_RESTART
    EXIT_SWITCH_ENV: ClassVar[int] = EXIT_SWITCH

    def __init__(self, workspace_root: Path, initial_env: str, args: list[str]) -> None:
        """Becomes the workspace's orchestrator: pid file and control server are there. Nothing is started yet.

        Raises WorkspaceError for an environment that is none, AlreadyRunning, RuntimeError outside the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            message = "making an Orchestrator in a thread: it waits for signals, which only the main thread gets"
            raise RuntimeError(message)
        workspace = open_workspace(Path(workspace_root))
        start = start_as_meant(workspace, StartOptions(environment=initial_env, arguments=tuple(args)))
        self.workspace_root = workspace.root
        self.metadata_dir = workspace.metadata
        self.comfyui_args = list(args)
        self._exits: dict[int, int] = {}
        self._exit_status: int | None = None
        with contextlib.ExitStack() as stack:
            stack.callback(only_one(workspace).release)
            self._ledger = stack.enter_context(open_ledger(workspace, "orchestrator"))
            self._runner = stack.enter_context(asyncio.Runner())
            options = RunOptions(start=start, foreground=False, launcher=launcher())
            parts = supervising(self._ledger, options)
            self._supervisor = self._runner.run(parts.__aenter__())
            stack.callback(lambda: self._runner.run(parts.__aexit__(None, None, None)))
            self._held = stack.pop_all()
        self._heard, self._ledger.listener = self._ledger.listener, self._hear
        self._is_over = False

    @property
    def current_env_name(self) -> str:
        """The environment that serves or is to serve."""
        return self._ledger.state.environment

    def run_forever(self) -> int:
        """Supervise until it is over; the exit status."""
        self.run_until(lambda _: False)
        self._close()
        return self._exit_status or 0

    def run_until(self, reached: Callable[[WorkspaceState], bool], timeout_s: float | None = None) -> bool:
        """Supervise until the state is as wanted or supervision is over; False after `timeout_s` seconds without that."""
        if self._is_over:
            return True

        async def run() -> bool:
            try:
                async with asyncio.timeout(timeout_s):
                    self._exit_status = await self._supervisor.run_until(reached)
            except TimeoutError:
                return False
            return True

        return self._runner.run(run())

    def exit_of(self, spawn: int) -> int | None:
        """How the ComfyUI of that start ended; None while it runs."""
        return self._exits.get(spawn)

    def _hear(self, recorded: Recorded) -> None:
        self._heard(recorded)
        event = recorded.event
        if isinstance(event, ProcessExited):
            by_signal = -signal.Signals[event.signal] if event.signal in signal.Signals.__members__ else 0
            self._exits[event.spawn] = by_signal if event.code is None else event.code

    def _sync_environment(self, env: object = None) -> None:  # noqa: ARG002 - the one that is to serve
        """Sync the environment that is to serve. The start that it belongs to may have begun when this returns."""
        self.run_until(
            lambda state: _is_at_rest(state) or (state.job is not None and state.job.stage is not Stage.SYNCING)
        )

    def _start_comfyui(self, env: object = None) -> StartedComfyUI:  # noqa: ARG002 - the one that is to serve
        """Sync and start the environment that is to serve; what serves already is given back. Raises StartFailedError."""
        self.run_until(lambda state: _is_at_rest(state) or _main_of(state) is not None)
        main = _main_of(self._ledger.state)
        if main is None:
            parked = self._ledger.state.parked
            message = f"starting ComfyUI of {self.current_env_name}: {parked.why if parked else 'supervision is over'}"
            raise StartFailedError(message, parked.advice if parked else "make a new Orchestrator")
        return StartedComfyUI(self, *main)

    def _wait_for_health(self, process: StartedComfyUI, timeout: float) -> bool:
        """Whether it became healthy within `timeout` seconds; False at once when it ends."""
        spawn = process.spawn

        def known(state: WorkspaceState) -> bool:
            found = state.processes.get(spawn)
            return found is None or found.confirmed is not None

        found = self._ledger.state.processes.get(spawn) if self.run_until(known, timeout) else None
        return found is not None and found.confirmed is not None

    def _check_port_connection(self, port: int) -> bool:
        """Whether somebody accepts connections on that port of this machine."""
        return is_port_open("127.0.0.1", port, _PORT_WITHIN_S)

    def _handle_switch_request(self) -> bool:
        """Carry out the switch that is open or asked for on disk; whether its target serves. False when there is none."""
        self.run_until(lambda _: True)  # takes a request on disk in
        job = self._ledger.state.job
        if job is None or not job.is_switch:
            return False
        self.run_until(lambda state: state.lock is None)
        last = self._ledger.state.switches[-1:]
        return bool(last) and last[0].switch == job.job and last[0].state is OutcomeState.COMPLETE

    def _cleanup(self) -> None:
        """Stop ComfyUI and be the orchestrator no more: at most some seconds. Twice is harmless."""
        if self._is_over:
            return
        asked = ShutdownRequested(origin=Origin.CLI, reason="_cleanup was called", urgent=True)
        self._ledger.ask(lambda _: (Draft(asked),))
        self.run_until(lambda _: False)
        self._close()

    def _handle_sigterm(self, signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG002 - a signal handler's
        """Clean up and leave with 0."""
        self._cleanup()
        sys.exit(0)

    _handle_sigint = _handle_sigterm

    def _close(self) -> None:
        self._is_over = True
        self._held.close()


def _main_of(state: WorkspaceState) -> tuple[int, Identity] | None:
    main = state.main_process
    return None if main is None or main.identity is None or main.stopping is not None else (main.spawn, main.identity)


def _is_at_rest(state: WorkspaceState) -> bool:
    """Whether nothing will be started any more."""
    return state.parked is not None or state.orchestrator is None or (state.job is None and bool(state.serving))

"""Processes and ports as people who test against us know them; behind each name is what the rest of the suite uses."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from comfyui_stand_in.environment import free_port
from comfyui_stand_in.install import install
from journal.identity import identify, own_identity
from orchestrator.network import ports
from orchestrator.processes.signals import send
from orchestrator.processes.tree import tree
from tests.helpers.waiting import PATIENCE_S, until

HOST = "127.0.0.1"
CONNECT_S = 0.5
SIGTERM_GRACE_S = 5.0
OUTPUT_FILE = "output.log"


class ProcessMonitor:
    """A child of the test. What ends it also reaps it, and does nothing when it is over already."""

    def __init__(self, proc: subprocess.Popen[bytes]) -> None:
        self.proc = proc
        self.start_time = time.monotonic()

    def is_alive(self) -> bool:
        return self.proc.poll() is None

    def wait_for_exit(self, timeout: float = 10) -> int:
        """Its exit code, negative for a signal. Kills it and raises subprocess.TimeoutExpired after `timeout` s."""
        try:
            return self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        self.proc.kill()
        self.proc.wait()

    def terminate(self) -> None:
        """SIGTERM; SIGKILL when it has not ended 5 s later."""
        self.proc.terminate()
        try:
            self.proc.wait(SIGTERM_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def runtime(self) -> float:
        """Seconds since it began to be watched."""
        return time.monotonic() - self.start_time


class MockComfyUIServer:
    """A stand-in ComfyUI that answers on `port`, and leaves with `exit_code` after `delay` s."""

    def __init__(self, port: int = 8188, exit_code: int = 0, delay: float = 0) -> None:
        self.port = port
        self.exit_code = exit_code
        self.delay = delay
        self.proc: subprocess.Popen[bytes] | None = None

    def start(self, script_path: Path, python_exe: Path) -> ProcessMonitor:
        """Install it in the folder of `script_path` and start that; it listens, or has ended, when this returns.

        `python_exe` has to find aiohttp. The output goes to `output.log` beside the script.
        """
        home = script_path.parent
        install(home, {"exit_after_s": self.delay, "exit_code": self.exit_code})
        if script_path.name != "main.py":
            shutil.copyfile(home / "main.py", script_path)
        command = [str(python_exe), str(script_path), "--port", str(self.port)]
        with (home / OUTPUT_FILE).open("ab") as output:
            self.proc = subprocess.Popen(command, cwd=home, stdout=output, stderr=output)
        monitor = ProcessMonitor(self.proc)
        try:
            until(lambda: self._listens() or not monitor.is_alive())
        except BaseException:
            self.stop()
            raise
        return monitor

    def stop(self) -> None:
        """End it, if it was started and still runs."""
        if self.proc is not None:
            ProcessMonitor(self.proc).terminate()

    def _listens(self) -> bool:
        """Whether it is its own socket that is open, and not the one of whoever had the port before."""
        identity = None if self.proc is None else identify(self.proc.pid)
        return identity is not None and ports.owns_listener([identity], self.port)


def wait_for_port(port: int, timeout: float = PATIENCE_S) -> bool:
    """Whether somebody accepts connections on `port` before `timeout` s are over."""
    try:
        return until(lambda: is_port_open(port), timeout)
    except AssertionError:  # how `until` says that the time is over
        return False


def is_port_open(port: int) -> bool:
    """Whether somebody accepts connections on `port` of 127.0.0.1 now."""
    return ports.is_port_open(HOST, port, CONNECT_S)


def get_free_port() -> int:
    """A port that was free a moment ago. Not reserved."""
    return free_port()


def kill_process_tree(pid: int) -> None:
    """Kill what this run of tests started as `pid`, and all that came from it; it is gone when this returns.

    A pid is only a number: one that by now belongs to somebody else, or to nobody, is left alone.
    """
    root = identify(pid)
    if root is None or root == own_identity() or not _was_started_here(pid):
        return
    until(lambda: sum(send(one, "SIGKILL") for one in tree(root)) == 0)


def _was_started_here(pid: int) -> bool:
    """By descent, or by the mark that everything inherits which a test starts, detached or not."""
    from tests.helpers.leftovers import (
        SESSION_VARIABLE,
        descendants,
        marked_processes,
    )  # pytest wants to import it first

    session = os.environ.get(SESSION_VARIABLE, "")
    known = descendants() | (marked_processes(session) if session else set())
    return pid in {process.pid for process in known}

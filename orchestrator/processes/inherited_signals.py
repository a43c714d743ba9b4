"""What a program inherits of our signals: nothing.

Blocked and ignored signals survive exec. A shell starts background jobs with SIGINT ignored, nohup with SIGHUP, and a
ComfyUI that inherits that is deaf to a stop. Signals with a handler are reset by exec itself, so for the moment of the
start the ignored and blocked ones get a handler: no code runs between fork and exec, as preexec_fn would need.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from types import FrameType

from orchestrator.processes.errors import SpawnFailed

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGCHLD", "SIGUSR1", "SIGUSR2", "SIGALRM")
_WANTED = frozenset(signal.Signals[name] for name in _NAMES if name in signal.Signals.__members__)


def keep_exit_codes() -> None:
    """Stop ignoring SIGCHLD, if we inherited that: the kernel would throw our children's exit codes away."""
    if sys.platform != "win32" and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@contextlib.contextmanager
def defaults_for_children() -> Iterator[None]:
    """While inside, a program started from this thread has no signal of `_NAMES` ignored or blocked.

    What we ignore stays without effect on us, and a blocked signal that comes meanwhile is pending again afterwards.
    Raises SpawnFailed outside the main thread when something would have to be changed: only there Python may.
    """
    if sys.platform == "win32":
        yield
        return
    blocked = _WANTED.intersection(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    ignored = {number for number in _WANTED if signal.getsignal(number) is signal.SIG_IGN}
    if not blocked and not ignored:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        message = "starting a program from a thread while signals are ignored or blocked"
        raise SpawnFailed(message, "start it from the main thread")
    came: list[int] = []
    with _handled(blocked | ignored, came), _unblocked(blocked):
        yield
    for number in blocked.intersection(came):
        os.kill(os.getpid(), number)


@contextlib.contextmanager
def _handled(numbers: Iterable[signal.Signals], came: list[int]) -> Iterator[None]:
    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def _unblocked(numbers: frozenset[signal.Signals]) -> Iterator[None]:
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    try:
        yield
    finally:
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

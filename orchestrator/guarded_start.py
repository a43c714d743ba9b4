"""How a command becomes the guard of the orchestrator that it asks for. Imports little: it is in the way of every start."""

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from orchestrator import guard
from orchestrator.panel.place import SPAWN_MARKER


def is_possible() -> bool:
    """Whether this system has what a guard is made of."""
    return hasattr(os, "fork") and hasattr(signal, "sigwait")


def become_guard(*, again: bool = False, unheeded: Iterable[str] = ()) -> NoReturn:
    """Go on as the guard of a new orchestrator with our own command line: same pid, same children, nothing else kept.

    `again`: it takes our place. Signals that come meanwhile wait for the guard, as do those named by `unheeded`, which
    have come to us before. Raises OSError, and then has changed nothing, but those come to us once more.
    """
    command = [sys.executable, *sys.orig_argv[1:]]
    environ = {name: value for name, value in os.environ.items() if name != SPAWN_MARKER}
    begun = [guard.AGAIN] if again else []
    program = [sys.executable, "-I", "-S", str(Path(guard.__file__)), *begun, "--", *command]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as it is when the descriptor is closed
            stream.flush()
    _open_standard_files()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, guard.AWAITED)
    for name in unheeded:
        signal.raise_signal(signal.Signals[name])  # pending: exec keeps that
    try:
        os.execve(program[0], program, environ)  # noqa: S606 - no shell is the point
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _open_standard_files() -> None:
    """What is closed of descriptors 0 to 2 shows nothing, instead of going to whatever is opened next: here the guard's pipes."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(opened, True)  # noqa: FBT003 - its name is no keyword


def leave_signals_to_the_main_thread() -> None:
    """For any other thread that lives long: one that it took in while the main thread becomes a guard would be lost."""
    if is_possible():
        signal.pthread_sigmask(signal.SIG_BLOCK, guard.AWAITED)

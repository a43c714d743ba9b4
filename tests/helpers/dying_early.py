"""Work that is killed half-way: done in a fork of this process, which gets SIGKILL just before one of its changes to the disk."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CHANGES = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.truncate", "subprocess.Popen"})
"""Audit events that announce one. Opening a file to write it is another."""


def die_before_change(number: int, work: Callable[[], object]) -> None:
    """Do `work`, but for its changes from that number on (from 1), and all that comes after. A file that would be opened then
    to be written anew is left empty.

    With fewer changes than that all of it is done, and nobody hears of it.
    """
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # later Pythons warn of threads
        child = os.fork()
    if child == 0:
        try:
            numbers = iter(range(1, number))
            sys.addaudithook(lambda event, arguments: _audited(event, arguments, numbers))
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _audited(event: str, arguments: tuple[Any, ...], numbers: Iterator[int]) -> None:
    writes = event == "open" and not isinstance(arguments[0], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if not (writes or event in CHANGES) or next(numbers, None) is not None:
        return
    if writes and arguments[2] & os.O_TRUNC:
        _empty(arguments[0])
    os.kill(os.getpid(), signal.SIGKILL)


def _empty(path: Any) -> None:
    if Path(path).is_file():
        os.truncate(path, 0)

"""Small programs for tests to start, and a way to see what they said."""

import os
import sys
import uuid
from pathlib import Path

from journal.identity import Identity, is_alive
from orchestrator.processes.children import Children, Exit
from orchestrator.processes.signals import send
from tests.helpers.waiting import until

JOURNAL = uuid.uuid4().hex
"""Another one in each worker of a run: markers are looked for on the whole machine."""
KEY = 7

PYTHON = (sys.executable, "-I", "-S", "-c")
"""A Python that starts in a few milliseconds."""

LIVE_ON = "import signal; print('ready', flush=True); signal.pause()"
"""Says `ready`, then waits for a signal, with the dispositions it was started with (and Python's own for SIGINT)."""

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
"""Prefix: a program that ignores SIGTERM and SIGINT."""


def wait_for_line(log: Path, start: str) -> str:
    """The first line of `log` that starts with `start`, as soon as it is complete."""

    def look() -> str:
        text = log.read_text(errors="replace") if log.exists() else ""
        complete = text[: text.rfind("\n") + 1].splitlines()
        return next((line for line in complete if line.startswith(start)), "")

    return until(look)


def end(*identities: Identity) -> None:
    """Kill them and wait until they are gone."""
    for identity in identities:
        send(identity, "SIGKILL")
        until(lambda identity=identity: not is_alive(identity))  # type: ignore[misc]


def end_all(children: Children) -> None:
    """Kill all that `children` still know, trees and all, and forget them."""
    for key, child in list(children._children.items()):
        root = child.identity
        until(lambda: not children.signal(root, key, "SIGKILL", whole_tree=True) and not is_alive(root))  # noqa: B023
        children.forget(key)


def start(children: Children, log: Path, script: str, *arguments: str, key: int = KEY) -> Identity:
    environ = {**os.environ, "GREETING": "hello"}
    return children.spawn(key, [*PYTHON, script, *arguments], cwd=log.parents[2], environ=environ, log=log)


def exit_of(children: Children, key: int = KEY) -> Exit:
    return until(lambda: children.poll(key))

"""A guard as a process, with a small program in the orchestrator's place."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from journal.identity import identify
from orchestrator import guard
from tests.helpers.child_scripts import end
from tests.helpers.waiting import until

ORCHESTRATOR = """
import json, os, sys, signal, subprocess, time
pid, hear, say, again, had_children = os.environ["COMFYGIT_JOURNAL_GUARD"].split(":")
lives = open(sys.argv[1], "a")
def tell(**facts):
    lives.write(json.dumps({"pid": os.getpid(), "again": again, **facts}) + "\\n"); lives.flush()
def serve():
    os.write(int(say), b"started\\n")
    tell(started=True)
    while True:
        said = os.read(int(hear), 4096).decode()
        tell(said=said)
        if "signal" in said: sys.exit(0)
        if not said: sys.exit(9)
"""
"""Prefix: says to a file what it sees. `serve()` is what a good one does."""


class Guarded:
    """A guard and the lives of what it starts."""

    def __init__(
        self, folder: Path, script: str, *options: str, before: tuple[str, ...] = (), stderr: int | None = None
    ) -> None:
        self.path = folder / "lives.jsonl"
        python = [sys.executable, "-I", "-S"]
        command = [*python, "-c", ORCHESTRATOR + script, str(self.path)]
        with (folder / "guard.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*before, *python, guard.__file__, *options, "--", *command],
                stdout=subprocess.DEVNULL,
                stderr=log if stderr is None else stderr,
            )

    def told(self, key: str) -> list[Any]:
        """What the orchestrators said under that name, in order."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [fact[key] for fact in map(json.loads, lines) if key in fact]

    def told_of(self, pid: int) -> list[str]:
        """How a process ended, as the guard told it, once for each orchestrator that heard it."""
        return [line for line in "".join(self.told("said")).splitlines() if line.startswith(f"reaped {pid} ")]

    def pids(self, count: int) -> list[int]:
        """The pids of the first lives, once there have been that many."""

        def look() -> list[int]:
            found = list(dict.fromkeys(self.told("pid")))
            return found[:count] if len(found) >= count and len(self.told("started")) >= count else []

        return until(look)


@contextmanager
def guarded(
    folder: Path, script: str, *options: str, before: tuple[str, ...] = (), stderr: int | None = None
) -> Iterator[Guarded]:
    """`before` is a command that executes what follows it."""
    made = Guarded(folder, script, *options, before=before, stderr=stderr)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        for pid in set(made.told("pid")) | set(made.told("child")):
            left = identify(pid)
            if left is not None:
                end(left)

"""Journals, and events to store in them. Children import this too, so it imports nothing that is slow."""

import subprocess
import sys
from pathlib import Path

from journal import Actor, Draft, Journal, own_actor
from journal.events import HealthProbed
from journal.identity import Identity

ACTOR = Actor("test", Identity(4711, 99, "00000000-0000-0000-0000-000000000000"), "somewhere")


def probe(number: int, error: str = "") -> HealthProbed:
    """One event among many; `number` tells it from the others."""
    return HealthProbed(spawn=1, ok=True, latency_ns=number, status=200, error=error, successes=1)


def probes(count: int, first: int = 0, **envelope: int) -> list[Draft]:
    """Drafts of so many."""
    return [Draft(probe(first + number), **envelope) for number in range(count)]


def numbers(journal: Journal, after: int = 1) -> list[int]:
    """The numbers of the probes that the journal holds, in its order."""
    return [record.event.latency_ns for record in journal.read(after) if isinstance(record.event, HealthProbed)]


def new_journal(folder: Path, **options: float) -> Journal:
    """Open a journal for writing in a workspace below `folder`, created as needed."""
    path = folder / ".metadata" / "journal.db"
    path.parent.mkdir(exist_ok=True)
    return Journal.open(path, own_actor("test"), **options)


def run_python(script: str, *arguments: object) -> str:
    """What a Python process prints that runs this script to its end."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], check=True, text=True, stdout=subprocess.PIPE, timeout=50
    ).stdout

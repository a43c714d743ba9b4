"""Stamps of a virtual clock, and what a switch log says."""

from pathlib import Path

from journal.clock import S, Stamp
from orchestrator.logs.switch_log import SwitchLog

NOON_NS = 1_772_366_400 * S  # 2026-03-01T12:00:00Z


def at(ns: int = 0) -> Stamp:
    """`ns` after noon."""
    return Stamp(NOON_NS + ns, ns, "boot")


def messages(log: SwitchLog, lines: int = 10_000) -> list[str]:
    return [entry["message"] for entry in log.entries(lines)]


def put(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)

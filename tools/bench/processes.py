"""Processes of a run: found by a mark in their environment, ended by it, and what they cost while they idle."""

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

SESSION_MARK = "BENCH_SESSION"
_LOOKS = 20
_GRACE_S = 2.0


def marked(name: str, chosen: Callable[[str], bool]) -> list[psutil.Process]:
    """Every process but this one whose environment variable `name` is as wanted."""
    found = []
    for process in psutil.process_iter():
        try:
            value = process.environ().get(name)
            if value is not None and process.pid != os.getpid() and chosen(value):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or of another user
    return found


def end_marked(name: str, chosen: Callable[[str], bool]) -> int:
    """Kill them all, until there are no more; how many there were."""
    count = 0
    for _ in range(_LOOKS):
        found = marked(name, chosen)
        alive = [process for process in found if process.status() != psutil.STATUS_ZOMBIE] if found else []
        if not alive:
            break
        count += len(alive)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, _GRACE_S)
    return count


@dataclass(frozen=True)
class Spent:
    """What processes have spent since they began: nanoseconds on a CPU, and times they went to sleep by themselves."""

    cpu_ns: int
    sleeps: int

    def since(self, before: "Spent") -> "Spent":
        """The difference."""
        return Spent(self.cpu_ns - before.cpu_ns, self.sleeps - before.sleeps)


def spent(pids: Iterable[int]) -> Spent:
    """By all threads of these processes. Raises OSError when one is gone."""
    cpu_ns = sleeps = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            cpu_ns += int((task / "schedstat").read_text("ascii").split()[0])
            sleeps += _field(task / "status", "voluntary_ctxt_switches")
    return Spent(cpu_ns, sleeps)


def memory_mib(pids: Iterable[int]) -> tuple[float, float]:
    """RSS, and PSS (what is shared counted by its share), of these processes together."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup") for pid in pids]
    return sum(_field(path, "Rss") for path in rollups) / 1024, sum(_field(path, "Pss") for path in rollups) / 1024


def _field(path: Path, name: str) -> int:
    for line in path.read_text("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    return 0

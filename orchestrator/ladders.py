"""Three ways to end a ComfyUI, as tables: which signal, to whom, how long after the stop was asked for."""

from typing import Final

import attrs

from journal.clock import S, seconds
from journal.events import Ladder
from orchestrator.config import Config
from projections.state import Process

REPEAT_NS: Final = 1 * S
"""How often the last rung is repeated while something still lives."""
KILLS_MAX: Final = 10
"""SIGKILLs after which that is given up: what waits in the kernel, for a driver or a network disk, hears none for hours."""


@attrs.frozen
class Rung:
    """Send `signal` once `after_ns` have passed since the stop was asked for; `whole_tree`: to all descendants too."""

    signal: str
    after_ns: int
    whole_tree: bool


_DRAINED: Final = (Rung("SIGTERM", 0, whole_tree=True), Rung("SIGKILL", 1 * S, whole_tree=True))
_URGENT: Final = (
    Rung("SIGINT", 0, whole_tree=False),
    Rung("SIGTERM", seconds(1.5), whole_tree=True),
    Rung("SIGKILL", seconds(2.2), whole_tree=True),
)


def rungs(ladder: Ladder, config: Config) -> tuple[Rung, ...]:
    """The rungs of `ladder`, lowest first.

    PLANNED gives ComfyUI `stop_timeout_s` to clean up after SIGINT. DRAINED is for one with nothing to clean up. URGENT is
    for our own end: everything is over before whoever signalled us loses patience (systemd and people: about 3 s).
    """
    if ladder is Ladder.DRAINED:
        return _DRAINED
    if ladder is Ladder.URGENT:
        return _URGENT
    patience_ns = seconds(config.stop_timeout_s)
    return (
        Rung("SIGINT", 0, whole_tree=False),
        Rung("SIGTERM", patience_ns, whole_tree=True),
        Rung("SIGKILL", patience_ns + 5 * S, whole_tree=True),
    )


def is_unkillable(process: Process) -> bool:
    """Whether it was sent as many SIGKILLs as make sense."""
    return process.stopping is not None and process.stopping.kills >= KILLS_MAX


def due_rung(ladder: Ladder, config: Config, *, reached: int, asked_for_ns: int, since_last_ns: int) -> int | None:
    """The next rung to signal, if it is time; the last one again and again. `reached` is -1 before the first."""
    table = rungs(ladder, config)
    if reached + 1 < len(table):
        return reached + 1 if asked_for_ns >= table[reached + 1].after_ns else None
    return reached if since_last_ns >= REPEAT_NS else None


def next_rung_in_ns(ladder: Ladder, config: Config, *, reached: int, asked_for_ns: int, since_last_ns: int) -> int:
    """Nanoseconds until `due_rung` has an answer, at least 1."""
    table = rungs(ladder, config)
    if reached + 1 < len(table):
        return max(1, table[reached + 1].after_ns - asked_for_ns)
    return max(1, REPEAT_NS - since_last_ns)

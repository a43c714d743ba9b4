"""What SIGKILL does not end: how long it is tried, and what is left then. Whatever waits for it goes on without it."""

from typing import Final

import attrs

from journal.clock import MS, S
from journal.events import LeftBehind, ProcessSwept
from orchestrator.actions import Decision, Sweep
from orchestrator.deciding.situation import Situation
from orchestrator.ladders import REPEAT_NS, is_unkillable
from orchestrator.world import ChildFacts, Presence
from projections.state import Process

SWEEP_NS: Final = 200 * MS
"""How long what was killed may take to be gone before it is killed again: doubled each time, up to LAST_SWEEPS_NS."""
LAST_SWEEPS_NS: Final = 2 * S
SWEEPS_MAX: Final = 8
"""After so many, some 10 s, what is still there is left. Counted, as time may pass in which nobody sweeps."""
IN_VAIN: Final = "SIGKILL has not ended it in some 10 s: it may wait in the kernel, for a driver or a network disk"


def sweep(situation: Situation, process: Process, facts: ChildFacts) -> Decision | None:
    """Kill what `process`, which is gone, has left behind, again and again; None when there is none, or it has to be left.

    What we may not signal is swept once all the same: its cgroup can be killed by whoever made it.
    """
    if not facts.left_behind:
        return None
    interval_ns = min(SWEEP_NS << max(0, process.sweeps - 1), LAST_SWEEPS_NS)
    if process.swept is not None and not situation.over(process.swept, interval_ns):
        return situation.look_again()
    if process.sweeps >= (SWEEPS_MAX if any(not one.why for one in facts.left_behind) else 1):
        return None
    swept = ProcessSwept(spawn=process.spawn, pids=tuple(one.identity.pid for one in facts.left_behind))
    return situation.act(swept, effect=Sweep(process.spawn))


def is_given_up(situation: Situation, process: Process, facts: ChildFacts) -> bool:
    """Whether `process`, which lives, is not ours; or was killed as often as makes sense, and was looked at since."""
    stopping = process.stopping
    if facts.elsewhere:
        return True
    if facts.presence is not Presence.ALIVE or not facts.left_behind or stopping is None:
        return False
    return is_unkillable(process) and situation.over(stopping.at, REPEAT_NS)


def left(facts: ChildFacts) -> tuple[LeftBehind, ...]:
    """What lives on, each with why."""
    return tuple(one if one.why else attrs.evolve(one, why=IN_VAIN) for one in facts.left_behind)

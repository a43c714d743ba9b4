"""Whether what serves still answers: looked at now and then, believed after some looks, journaled when it changes.

It is never ended for that: it may be busy with what somebody waits for. A person who sees it can restart it.
"""

from typing import Final

from journal.clock import Stamp, elapsed_ns, seconds
from journal.events import Event, HealthResponsive, HealthUnresponsive
from orchestrator.actions import Act, Decision, Probe, Took
from orchestrator.deciding.situation import Situation
from orchestrator.world import Looks
from projections.state import Process

FAILURES: Final = 3
"""Failed looks in a row that make it unresponsive: a ComfyUI that loads a model may answer nobody for seconds."""


def look(situation: Situation, main: Process) -> Decision | None:
    """Look at what serves, or wait until that is due; None while a look is under way."""
    world, config = situation.world, situation.config
    if world.probing or world.probe is not None:
        return None
    since, interval_ns = _last(situation, main), seconds(config.liveness_interval_s)
    if not situation.over(since, interval_ns):
        return situation.wait(since, interval_ns)
    whose = _is_in_doubt(situation, main)
    return Act((), Probe(main.spawn, main.url, main.port, seconds(config.probe_timeout_s), whose=whose))


def learned(situation: Situation, process: Process, error: str) -> Act:
    """What the look that has just ended changes, `error` being "" for a good one: an event, or nothing."""
    return situation.act(*_changes(situation, process, error), took=Took.PROBE)


def _changes(situation: Situation, process: Process, error: str) -> tuple[Event, ...]:
    looks, known, now = _looks(situation, process), process.unresponsive, situation.now
    if known is not None:
        answered = HealthResponsive(spawn=process.spawn, silent_ns=elapsed_ns(known.since, now))
        return () if error else (answered,)
    if not error or looks is None or looks.failures < FAILURES:
        return ()
    silent_ns = elapsed_ns(looks.failing_since or looks.at, now)
    return (HealthUnresponsive(spawn=process.spawn, error=error, failures=looks.failures, silent_ns=silent_ns),)


def _is_in_doubt(situation: Situation, main: Process) -> bool:
    """Whether a good look would be news. Whose socket has answered costs 20 times the look itself, so it is asked only then."""
    looks = _looks(situation, main)
    return main.unresponsive is not None or looks is None or looks.failures > 0


def _last(situation: Situation, main: Process) -> Stamp:
    """When it was last looked at, or when that was first possible: it was confirmed, or we were started."""
    looks, confirmed, started = _looks(situation, main), main.confirmed, situation.state.orchestrator_since
    if looks is not None:
        return looks.at
    known = [stamp for stamp in (confirmed, started) if stamp is not None]
    return min(known, key=lambda stamp: elapsed_ns(stamp, situation.now), default=situation.now)


def _looks(situation: Situation, process: Process) -> Looks | None:
    looks = situation.world.looks
    return looks if looks is not None and looks.spawn == process.spawn else None

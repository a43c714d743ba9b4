"""Faults planted in copies of the rules, one at a time: does the simulation notice?

A mutant is a piece of text that stands once in a module, and what stands in its place. The functions get the code of the
changed text as long as the mutant lives, whoever has a hold of them.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import attrs

from tests.simulation.cases import Case, failure
from tests.simulation.stories import SWITCHES
from tests.simulation.stories_of_accidents import ACCIDENTS
from tests.simulation.sweeping import Death, check, swept, told

HISTORIES: Final = 150
SWEPT: Final = (
    "a good target, by command",
    "one that hangs, by file",
    "one that is found late, by command",
    "an abort while clearing",
    "an end while it goes back",
    "a crash in probation, and what served is broken",
    "a crash loop",
    "an update that breaks",
    "the first switch, broken",
    "the same file again",
)
"""Stories that a mutant has to survive with a death at every boundary."""


class RottenMutantError(AssertionError):
    """The text that it changes does not stand there once."""


@attrs.frozen
class Mutant:
    """`new` in place of `old` in `module`. `survives`: why nothing in the simulation can tell the difference, or does yet."""

    module: str
    old: str
    new: str
    survives: str = ""


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[int]:
    """While it lives; gives how many functions it has changed. Raises RottenMutantError."""
    module = importlib.import_module(mutant.module)
    path = str(module.__file__)
    text = Path(path).read_text("utf-8")
    if text.count(mutant.old) != 1:
        message = f"{mutant.old!r} stands {text.count(mutant.old)} times in {mutant.module}"
        raise RottenMutantError(message)
    changed = compile(text.replace(mutant.old, mutant.new), path, "exec", dont_inherit=True)
    before = [(function, function.__code__) for function, _ in _functions(module, changed)]
    count = 0
    try:
        for function, code in _functions(module, changed):
            if function.__code__ != code:
                function.__code__ = code
                count += 1
        yield count
    finally:
        for function, code in before:
            function.__code__ = code


def _functions(owner: ModuleType | type, body: CodeType) -> Iterator[tuple[FunctionType, CodeType]]:
    """The functions of a module or a class, each with what `body` makes of it."""
    for code in body.co_consts:
        if not isinstance(code, CodeType):
            continue
        found: Any = vars(owner).get(code.co_name)
        if isinstance(found, property):
            found = found.fget
        if isinstance(found, type):
            yield from _functions(found, code)
        elif isinstance(found, FunctionType):
            yield found, code


def killed_by(mutant: Mutant) -> str:
    """What notices it: a story, a history or a sweep, and how; "" when nothing does."""
    with planted(mutant):
        return next((found for found in map(_noticed, _trials()) if found), "")


def _trials() -> Iterator[tuple[str, Callable[[], object]]]:
    """The quick ones first."""
    stories = {**SWITCHES, **ACCIDENTS}
    for name, story in stories.items():
        yield name, lambda story=story: check(story, Death.GUARDED, 0, told(story, Death.GUARDED, 0))  # type: ignore[misc]
    for seed in range(HISTORIES):
        yield f"seed {seed}", lambda seed=seed: _must_not_fail(Case(seed))  # type: ignore[misc]
    for name in SWEPT:
        for death in (Death.GUARDED, Death.BY_HAND):
            yield f"{name}, {death}", lambda name=name, death=death: swept(stories[name], death)  # type: ignore[misc]


def _must_not_fail(case: Case) -> None:
    found = failure(case)
    assert not found, found


def _noticed(trial: tuple[str, Callable[[], object]]) -> str:
    name, attempt = trial
    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - a mutant fails in any way
        return f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return ""


_ATTEMPTING, _IDLING, _KILLING, _SETTLING, _STOPPING, _ROLLING, _WORKING = (
    f"orchestrator.deciding.{name}"
    for name in ("attempting", "idling", "killing", "settling", "stopping", "rolling", "working")
)
_PROCESSES, _SUPERVISION, _SWITCHING, _GENERATIONS = (
    f"projections.{name}" for name in ("evolve_processes", "evolve_supervision", "evolve_switching", "generations")
)

MUTANTS: Final[dict[str, Mutant]] = {
    "the lock is freed before the way back": Mutant(
        _ROLLING,
        "return situation.act(SwitchRollingBack(error=job.error))",
        "return situation.act(SwitchRollingBack(error=job.error), LockReleased())",
    ),
    "the lock is forgotten on the way back": Mutant(
        _SWITCHING,
        "return replaced(state, job=replaced(job, rolling_back=True,",
        "return replaced(state, lock=None, job=replaced(job, rolling_back=True,",
    ),
    "there is no probation": Mutant(
        _IDLING, "return probation.of_switch and crashed.spawn == probation.spawn and in_time", "return False"
    ),
    "a recovery does not wait for the end of the session": Mutant(
        _IDLING, "if situation.end_of_session is not None:", "if False:"
    ),
    "nor does the next candidate": Mutant(_ROLLING, "if situation.end_of_session is not None:", "if False:"),
    "a stranger's answer counts": Mutant(
        _SETTLING, "ok, said = result.ok and not result.stranger,", "ok, said = result.ok,"
    ),
    "the oldest candidate first": Mutant(
        _GENERATIONS,
        "good = [g for g in newest_first(generations) if g.is_good]",
        "good = [g for g in reversed(newest_first(generations)) if g.is_good]",
    ),
    "the unproven before the proven": Mutant(
        _GENERATIONS, "g.environment != source and not g.proven)", "g.environment != source and g.proven)"
    ),
    "what has failed is a candidate": Mutant(_GENERATIONS, "if g.environment not in failed:", "if True:"),
    "the breaker is off": Mutant(
        "orchestrator.deciding.situation",
        "return len(starts) >= STARTS_KEPT and not self.over(starts[0], BREAKER_WINDOW_NS)",
        "return False",
    ),
    "one retry too many": Mutant(
        _IDLING,
        "if state.crashes > situation.config.crash_retry_max or",
        "if state.crashes > situation.config.crash_retry_max + 1 or",
    ),
    "a retry does not wait": Mutant(_ATTEMPTING, "if not situation.over(job.requested, job.delay_ns):", "if False:"),
    "the way back is never spent": Mutant(_SWITCHING, "recovered=recovering,", "recovered=False,"),
    "adopting keeps the successes": Mutant(
        _PROCESSES, "            successes=0,\n", "            successes=process.successes,\n"
    ),
    "a 43 is a crash": Mutant(
        _SETTLING, "if facts.code == EXIT_SWITCH and (makes_room or", "if False and (makes_room or"
    ),
    "an abort while validating is ignored": Mutant(
        _SUPERVISION,
        "if job.verdict or job.rolling_back:",
        "if job.verdict or job.rolling_back or job.stage is Stage.VALIDATING:",
    ),
    "healthy one probe too early": Mutant(
        _ATTEMPTING,
        "if process.successes >= config.required_successes:",
        "if process.successes >= config.required_successes - 1:",
    ),
    "a generation before it is healthy": Mutant(
        _ATTEMPTING,
        "return (made, HealthConfirmed(spawn=process.spawn, generation=state.seq + 1))",
        "return (made,)",
    ),
    "nothing is killed": Mutant(
        "orchestrator.ladders",
        "    if reached + 1 < len(table):\n        return reached + 1 if asked",
        "    if reached + 2 < len(table):\n        return reached + 1 if asked",
    ),
    "a second SIGINT": Mutant(_STOPPING, "if stopping.rung >= 0 else", "if stopping.rung < 0 else"),
    "the source has no time to leave": Mutant(
        _ATTEMPTING, "if source.stopping is None and not situation.over(job.requested, grace_ns):", "if False:"
    ),
    "the page has no time to leave": Mutant(
        _ATTEMPTING,
        "return None if situation.over(job.requested, grace_ns) else situation.wait(job.requested, grace_ns)",
        "return None",
    ),
    "a request is answered twice": Mutant(_SETTLING, "if item.key in situation.state.inbox_keys:", "if False:"),
    "the clock alone fails a start": Mutant(
        _ATTEMPTING,
        "if last_failed is not None and elapsed_ns(process.since, last_failed) >= timeout_ns:",
        "if elapsed_ns(process.since, situation.now) >= timeout_ns:",
    ),
    "nothing was stopped, it says": Mutant(
        _ROLLING,
        "if main is not None and main.confirmed and main.stopping is None:",
        "if main is not None and main.confirmed:",
    ),
    "an end is forgotten with the orchestrator": Mutant(
        _SUPERVISION, "if state.goal is not Goal.IDLE:", "if state.goal is Goal.SERVE:"
    ),
    "a restart is forgotten": Mutant(_SUPERVISION, "restart_asked=recorded.seq", "restart_asked=state.restart_asked"),
    "packages change under its feet": Mutant(
        _ATTEMPTING, "if in_the_way is not None:\n        return stop(", "if False:\n        return stop("
    ),
    "what it left behind stays": Mutant(_KILLING, "if not facts.left_behind:", "if True:"),
    "what cannot be ended is swept for ever": Mutant(_KILLING, "if process.sweeps >= (", "if process.sweeps < 0 * ("),
    "a worker that cannot be ended is killed for ever": Mutant(_WORKING, "at_work.kills >= KILLS_MAX and", "False and"),
    "what cannot be ended is killed for ever": Mutant(
        _KILLING, "return is_unkillable(process) and", "return False and"
    ),
    "nobody looks at the port": Mutant(_ATTEMPTING, "if port.free:", "if True:"),
    "a lost worker is the target's fault": Mutant(
        _WORKING,
        "elif at_work.cancelled is not None or not facts.ended or at_work.owner != situation.world.me:",
        "elif at_work.cancelled is not None:",
    ),
    "progress goes back": Mutant(
        "projections.evolve",
        "if job is not None and job.progress < PROGRESS[job.public_state]:",
        "if job is not None and job.progress != PROGRESS[job.public_state]:",
    ),
    "a sync that ended badly is not done again": Mutant(_ATTEMPTING, " and environment not in state.dirty:", ":"),
    "a clean end is none": Mutant(_IDLING, "if last.cause is ExitCause.CLEAN:", "if False:"),
    "a lost signal is not sent again": Mutant(_PROCESSES, "rung=max(-1, stopping.rung - 1)", "rung=stopping.rung"),
    "a fourth candidate": Mutant("projections.rollback", "if len(job.tried) >= TRIES_MAX:", "if False:"),
    "what served is forgotten": Mutant(
        _SWITCHING,
        "served = Candidate(main.environment, main.generation) if main and main.stopping is None else None",
        "served = None",
    ),
    "adopting keeps the deadline": Mutant(
        _PROCESSES, "since = recorded.at if process.confirmed is None else process.since", "since = process.since"
    ),
    "nobody is adopted": Mutant(
        _SETTLING, "if process.owner != situation.world.me and process.identity is not None:", "if False:"
    ),
    "a calm minute forgets nothing": Mutant(
        _SUPERVISION,
        "return replaced(state, crashes=0, starts=(), recovered=False, bare_spent=False)",
        "return replaced(state, starts=(), recovered=False, bare_spent=False)",
    ),
    "a 43 is settled before its request is there": Mutant(
        _SETTLING, "if facts.code == EXIT_SWITCH and situation.world.has_unfinished_item:", "if False:"
    ),
    "42 for ever": Mutant(_SETTLING, "return job.restarts >= RESTARTS_MAX or (", "return ("),
    "what cannot be told yet is lost": Mutant(
        _SETTLING, "if facts.presence is Presence.PENDING and not", "if False and not"
    ),
    "the worker of a dead one goes on": Mutant(
        _WORKING,
        'if at_work.owner != situation.world.me:\n        return "the orchestrator',
        'if False:\n        return "the orchestrator',
        survives="its end is waited for, and its work is done again: later, and otherwise the same",
    ),
    "every failed sync is tolerated": Mutant(
        _WORKING,
        "return same_content(situation.state.generations, environment, fingerprint) is not None",
        "return True",
    ),
    "lost starts are not counted": Mutant(
        _SETTLING,
        "(lost and job.lost_spawns + 1 < RESTARTS_MAX)",
        "lost",
        survives="only a death between intention and start loses one, and nobody dies three times at the same point here",
    ),
}

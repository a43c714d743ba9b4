"""No job open: keep what serves, start what should, and know when to give up."""

import hashlib

from journal.clock import MS, S, is_over, seconds
from journal.codec import Draft
from journal.events import (
    ExitCause,
    GenerationDisproved,
    GenerationProven,
    LockAcquired,
    OrchestratorStopped,
    Origin,
    ShutdownRequested,
    StartKind,
    StartPlanned,
    SupervisionCalm,
    SupervisionParked,
    SwitchKind,
    SwitchRequested,
)
from orchestrator.actions import Act, Decision, End
from orchestrator.deciding.advice import restart_advice
from orchestrator.deciding.capturing import capture
from orchestrator.deciding.liveness import look
from orchestrator.deciding.situation import ENDS_OF_SESSION, Situation, soonest
from orchestrator.deciding.stopping import cleared, stop, stop_all
from projections.generations import Probation
from projections.rollback import ways_back
from projections.state import STARTS_KEPT, LastExit, Process, Trouble, WorkspaceState

FIRST_RETRY_NS = 500 * MS
"""Wait before the first retry after a crash; doubled for each further one up to `crash_retry_delay_s`."""
_STARTED_IN_VAIN = frozenset({"exited", "timeout", "restarting"})
"""Reasons of a failed start for which the content can be to blame."""


def idle(situation: Situation) -> Decision:
    """Nothing is being attempted: what to do about that."""
    main = situation.state.main_process
    stopping = stop_all(situation, "it is not what serves", but=situation.state.main)
    if stopping is not None:
        return stopping
    return _nothing_runs(situation) if main is None else _runs(situation, main)


def _runs(situation: Situation, main: Process) -> Decision:
    state = situation.state
    if state.restart_asked is not None and main.stopping is None:
        return stop(situation, main, "a restart was asked for")
    if main.stopping is not None or main.confirmed is None:
        return stop(situation, main, "it is not what serves")
    keeping = capture(situation)
    if isinstance(keeping, Act):
        return keeping
    decision = _probation(situation) or _calm(situation, main) or look(situation, main)
    if isinstance(decision, Act):
        return decision
    return soonest(
        keeping,
        decision,
        None if state.probation is None else situation.wait(state.probation.since, _probation_ns(situation)),
        situation.wait(main.confirmed, _calm_ns(situation)) if state.crashes or state.starts else None,
    )


def _probation_ns(situation: Situation) -> int:
    return seconds(situation.config.probation_s)


def _calm_ns(situation: Situation) -> int:
    return seconds(situation.config.calm_after_s)


def _probation(situation: Situation) -> Decision | None:
    probation = situation.state.probation
    if probation is None or not situation.over(probation.since, _probation_ns(situation)):
        return None
    return situation.act(GenerationProven(generation=probation.generation))


def _calm(situation: Situation, main: Process) -> Decision | None:
    state = situation.state
    if main.confirmed is None or not situation.over(main.confirmed, _calm_ns(situation)):
        return None
    return situation.act(SupervisionCalm(spawn=main.spawn)) if state.crashes or state.starts else None


def _nothing_runs(situation: Situation) -> Decision:
    if situation.world.has_unfinished_item:
        return situation.look_again()
    source = situation.state.source_process
    return _nothing_is_there(situation) if source is None else _leave_to_source(situation, source)


def _nothing_is_there(situation: Situation) -> Decision:
    state, last = situation.state, situation.state.last_exit
    if state.restart_asked is not None and state.environment:
        return _plan(situation, StartKind.RESTART, asked=True)
    if state.parked is not None:
        return situation.wait_ns(3600 * S)
    if not state.environment:
        return _park(situation, "no environment was named, and none has served before")
    if state.trouble is not None:
        return _after_trouble(situation)
    if last is None or _is_of_an_earlier_run(situation, last.at.monotonic_ns, last.at.boot_id):
        return _plan(situation, StartKind.START, asked=True)
    return _after_an_end(situation, last)


def _after_an_end(situation: Situation, last: LastExit) -> Decision:
    """The main process has ended, in this run and without a fault."""
    if last.cause is ExitCause.CLEAN:
        return situation.act(ShutdownRequested(origin=Origin.SUPERVISOR, reason="ComfyUI ended with exit code 0"))
    if last.cause is ExitCause.STOPPED:
        return _plan(situation, StartKind.RESTART, asked=True)
    if situation.starts_are_spent:
        return _give_up(situation, f"{STARTS_KEPT} starts within a minute that nobody had asked for")
    return _plan(situation, StartKind.RESTART, asked=False)


def _is_of_an_earlier_run(situation: Situation, monotonic_ns: int, boot: str) -> bool:
    """Whether that was before the first orchestrator of this run: a clean end then is not one now."""
    since = situation.state.orchestrator_since
    return since is not None and (since.boot_id != boot or since.monotonic_ns > monotonic_ns)


def _leave_to_source(situation: Situation, source: Process) -> Decision:
    """The requester still serves after its switch failed. It may yet leave with 43; if it stays, it does not need us."""
    last = situation.state.switches[-1:]
    since = last[0].at if last else source.since
    linger_ns = seconds(situation.config.source_linger_s)
    if source.stopping is not None:
        return stop(situation, source, "it is not what serves")
    if not situation.over(since, linger_ns):
        return situation.wait(since, linger_ns)
    why = f"ComfyUI pid {source.identity.pid if source.identity else '?'} serves without us"
    return situation.act(*cleared(situation), OrchestratorStopped(why=why, exit_status=0), effect=End(0))


def _plan(situation: Situation, kind: StartKind, *, asked: bool, delay_ns: int = 0, attempt: int = 0) -> Act:
    planned = StartPlanned(
        environment=situation.state.environment, kind=kind, delay_ns=delay_ns, attempt=attempt, asked=asked
    )
    return situation.act(planned)


def _after_trouble(situation: Situation) -> Decision:
    state = situation.state
    crashed = state.last_exit
    probation = state.probation
    if probation is not None and crashed is not None and _broke_probation(situation, probation, crashed):
        recovery = _recover(situation, GenerationDisproved(generation=probation.generation, why=_why(situation)))
        if recovery is not None:
            return recovery
    if _has_other_content(situation):
        recovery = _recover(situation)
        if recovery is not None:
            return recovery
    if state.crashes > situation.config.crash_retry_max or situation.starts_are_spent:
        return _give_up(situation, _why(situation))
    if not state.crashes:
        return _plan(situation, StartKind.RESTART, asked=False)  # it was gone when we came: no crash of this run
    delay_ns = retry_delay_ns(state.crashes, situation.config.crash_retry_delay_s, state.seq)
    return _plan(situation, StartKind.RETRY, asked=False, delay_ns=delay_ns, attempt=state.crashes)


def _has_other_content(situation: Situation) -> bool:
    """Whether a start failed with other content than this environment was last healthy with: starting it again is no use."""
    state, trouble = situation.state, situation.state.trouble
    if trouble is None or trouble.reason not in _STARTED_IN_VAIN or _was_ended(state.last_exit, trouble):
        return False
    best = ways_back(state)[:1]
    return any(way.restores and way.environment == trouble.environment for way in best)


def _was_ended(last: LastExit | None, trouble: Trouble) -> bool:
    """Whether somebody ended it while it started, which says nothing about its content."""
    if last is None or trouble.reason != "exited":
        return False
    return last.code == 0 or last.signal in ENDS_OF_SESSION


def _broke_probation(situation: Situation, probation: Probation, crashed: LastExit) -> bool:
    in_time = not is_over(probation.since, _probation_ns(situation), crashed.at)
    return probation.of_switch and crashed.spawn == probation.spawn and in_time


def _why(situation: Situation) -> str:
    trouble = situation.state.trouble
    if trouble is None:
        return "it did not stay up"
    times = f", {situation.state.crashes} times in a row" if situation.state.crashes > 1 else ""
    return f"ComfyUI of {trouble.environment} failed{times}: {trouble.why}"


def retry_delay_ns(crashes: int, most_s: float, salt: int) -> int:
    """Nanoseconds before retry `crashes` (1-based): doubles from 0.5 s up to `most_s`, and up to a tenth more.

    The tenth is a hash of `salt`, so that the answer is the same each time it is asked for.
    """
    base_ns = min(FIRST_RETRY_NS << (min(crashes, 60) - 1), seconds(most_s))
    share = hashlib.sha256(str(salt).encode()).digest()[0]
    return base_ns + base_ns * share // 2560


def _recover(situation: Situation, *before: GenerationDisproved) -> Decision | None:
    """The one automatic way back, as a switch of its own; None when it is spent or leads nowhere."""
    state = situation.state
    if state.recovered or not ways_back(state):
        return None
    if situation.end_of_session is not None:
        return situation.end_of_session
    switch = state.seq + 1 + len(before)
    requested = SwitchRequested(
        target=state.environment,
        source=state.environment,
        kind=SwitchKind.RECOVER,
        origin=Origin.SUPERVISOR,
        reason=_why(situation),
    )
    cause = _cause(state)
    return Act(
        (
            *(Draft(event, cause=cause) for event in before),
            Draft(requested, switch=switch, cause=cause),
            Draft(LockAcquired(holder=situation.world.me), switch=switch, cause=cause),
        )
    )


def _cause(state: WorkspaceState) -> int | None:
    """The event that it is recovered from: the crash or the failed start, or the exit that was one too many."""
    told = state.trouble or state.last_exit
    return None if told is None else told.seq


def _give_up(situation: Situation, why: str) -> Decision:
    """The way back; else one try without `extra_args`; else the park. A taken port would stand in the way of both."""
    trouble = situation.state.trouble
    if trouble is not None and trouble.reason == "port":
        return _park(situation, why)
    return _recover(situation) or _bare(situation) or _park(situation, why)


def _bare(situation: Situation) -> Decision | None:
    """The last try. After a crash its sync is never skipped."""
    state = situation.state
    if state.bare_spent or not situation.config.extra_args or situation.starts_are_spent:
        return None
    return _plan(situation, StartKind.BARE, asked=False, attempt=state.crashes)


def _park(situation: Situation, why: str) -> Decision:
    return situation.act(SupervisionParked(why=why, advice=restart_advice(situation)))

"""How a process is stopped, rung by rung, and how all of them are when supervision ends."""

from journal.clock import elapsed_ns
from journal.codec import Draft
from journal.events import (
    Ladder,
    LockReleased,
    OrchestratorStopped,
    ProcessSignalled,
    ProcessStopAsked,
    Role,
    StatusCleared,
    SwitchAborted,
)
from orchestrator.actions import Act, Decision, End, Signal
from orchestrator.deciding.advice import recovery_command
from orchestrator.deciding.situation import Situation, soonest
from orchestrator.ladders import due_rung, next_rung_in_ns, rungs
from projections.state import Goal, OutcomeState, Process


def stop(situation: Situation, process: Process, why: str, ladder: Ladder | None = None) -> Decision:
    """The next thing to do to end `process`: ask, the rung that is due, or wait. Its exit is settled elsewhere.

    Without `ladder`: PLANNED for one that was healthy (it may hold work), DRAINED for one that never was.
    """
    if process.identity is None:
        return situation.look_again()
    wanted = ladder or (Ladder.PLANNED if process.confirmed or process.role is Role.SOURCE else Ladder.DRAINED)
    stopping = process.stopping
    asked = ProcessStopAsked(spawn=process.spawn, why=why, ladder=wanted)
    if stopping is None:
        return _signal(situation, process, 0, wanted, asked)
    if wanted is Ladder.URGENT and stopping.ladder is not Ladder.URGENT:
        # A second SIGINT would kill ComfyUI in the middle of its clean-up: the first one counts.
        return situation.act(asked) if stopping.rung >= 0 else _signal(situation, process, 0, wanted, asked)
    asked_for_ns = elapsed_ns(stopping.asked, situation.now)
    since_last_ns = elapsed_ns(stopping.at, situation.now)
    rung = due_rung(
        stopping.ladder, situation.config, reached=stopping.rung, asked_for_ns=asked_for_ns, since_last_ns=since_last_ns
    )
    if rung is None:
        left_ns = next_rung_in_ns(
            stopping.ladder,
            situation.config,
            reached=stopping.rung,
            asked_for_ns=asked_for_ns,
            since_last_ns=since_last_ns,
        )
        return situation.wait_ns(left_ns)
    return _signal(situation, process, rung, stopping.ladder)


def _signal(situation: Situation, process: Process, number: int, ladder: Ladder, *before: ProcessStopAsked) -> Act:
    assert process.identity is not None  # noqa: S101 - `stop` has looked
    rung = rungs(ladder, situation.config)[number]
    signalled = ProcessSignalled(spawn=process.spawn, signal=rung.signal, rung=number, whole_tree=rung.whole_tree)
    effect = Signal(process.spawn, process.identity, rung.signal, rung.whole_tree)
    return situation.act(*before, signalled, effect=effect)


def stop_all(
    situation: Situation, why: str, *, but: int | None = None, ladder: Ladder | None = None
) -> Decision | None:
    """Stop every process of ours except `but`; None when there is none left. All at once, not one after the other."""
    waits = []
    for process in situation.state.processes.values():
        if process.role is Role.SOURCE or process.spawn == but:
            continue
        decision = stop(situation, process, why, ladder)
        if isinstance(decision, Act):
            return decision
        waits.append(decision)
    return soonest(*waits) if waits else None


def replaced(situation: Situation) -> Decision | None:
    """The journal names another orchestrator: what runs is its, and whatever was asked for. With 0, nobody starts us again."""
    now, me = situation.state.orchestrator, situation.world.me
    if now == me:
        return None
    who = "this orchestrator is over" if now is None else f"another orchestrator, pid {now.pid}, has taken over"
    return Act(effect=End(0, f"by the journal {who}; what runs goes on"))


def end_supervision(situation: Situation) -> Decision | None:
    """Goal stop: everything of ours is stopped, then an open switch ends, the lock is freed and we leave, in one transaction."""
    state = situation.state
    if state.goal is not Goal.STOP:
        return None
    waiting = stop_all(situation, "supervision ends", ladder=Ladder.URGENT if state.urgent else None)
    if waiting is not None:
        return waiting
    if state.worker is not None:
        return situation.look_again()
    last = (*_abort(situation), *cleared(situation), OrchestratorStopped(why=_why(situation), exit_status=0))
    switch = situation.switch
    return Act(tuple(Draft(event, switch=switch) for event in last), End(0))


def _why(situation: Situation) -> str:
    pid = situation.state.aborted_for
    return "asked to" if pid is None else f"a ComfyUI started by hand, pid {pid}, takes over"


def _abort(situation: Situation) -> tuple[SwitchAborted | LockReleased, ...]:
    job = situation.state.job
    if job is None or not job.is_switch:
        return ()
    manual, source = situation.state.aborted_for is not None, situation.state.source_process
    serving = source.environment if source is not None and source.stopping is None and not manual else ""
    error = _why(situation) if manual else "the orchestrator was stopped during the switch"
    saved = job.saved.get(job.wanted)
    if job.restoring and saved is not None:
        error += f"; content was half brought back to {job.wanted}: what was there is generation {saved}"
    aborted = SwitchAborted(
        error=f"{error}; before that: {job.error}" if job.error else error,
        manual=manual,
        recovery_command="" if manual or serving else recovery_command(situation, job.source or job.environment),
        serving=serving,
    )
    return (aborted, LockReleased())


def cleared(situation: Situation) -> tuple[StatusCleared, ...]:
    """What takes the outcome of the last switch off the screen, where it may go; a critical failure stays."""
    outcome = situation.state.outcome
    if outcome is None or outcome.state is OutcomeState.CRITICAL_FAILURE:
        return ()
    return (StatusCleared(),)

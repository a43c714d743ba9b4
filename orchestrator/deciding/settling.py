"""Facts before policy: what the world shows becomes events before anything is decided on it."""

from journal.clock import MS, S, Stamp, age_ns, elapsed_ns
from journal.codec import Draft
from journal.events import (
    AbortRequested,
    Event,
    ExitCause,
    FileIngested,
    FileRejected,
    HealthFailed,
    HealthProbed,
    LockBroken,
    Origin,
    ProcessAdopted,
    ProcessExited,
    ProcessSpawned,
    ProcessSpawnFailed,
    ProcessSwept,
    RestartRequested,
    Role,
    ShutdownRequested,
    SourceSeen,
)
from orchestrator.actions import Act, Decision, Sweep, TakeFile, TakeForeignLock, Took
from orchestrator.deciding.admission import admit
from orchestrator.deciding.failing import failure
from orchestrator.deciding.situation import Situation
from orchestrator.world import AskKind, ChildFacts, InboxItem, Presence, SwitchAsk
from projections.evolve_processes import describe_exit
from projections.state import Goal, Process

PENDING_NS = 50 * MS
"""How long to wait for an intended process that cannot be told to be there or not."""
SWEEP_NS = 200 * MS
"""How long what was killed may take to be gone before it is killed again."""
ANSWERED_NS = 60 * S
"""How long after a refused or ended switch an exit with 43 still belongs to it."""
RESTARTS_MAX = 3
"""Exits with 42 before the first healthy probe that are taken at their word."""


def signal(situation: Situation) -> Decision | None:
    """A signal to us ends supervision, by the fast ladder."""
    if not situation.world.signal:
        return None
    if situation.state.goal is Goal.STOP and situation.state.urgent:
        return Act(took=frozenset({Took.SIGNAL}))
    asked = ShutdownRequested(origin=Origin.SIGNAL, reason=situation.world.signal, urgent=True)
    return situation.act(asked, took=Took.SIGNAL)


def inbox(situation: Situation) -> Decision | None:
    """The first foreign file that is finished: known again and only removed, rejected, or understood and answered."""
    item = next(iter(situation.world.inbox), None)
    if item is None or item.kind is AskKind.UNFINISHED:
        return None
    take = TakeFile(item.name, item.key)
    took = frozenset({Took.INBOX})
    if item.key in situation.state.inbox_keys:
        return Act((), take, took)
    if item.kind is AskKind.REJECTED:
        return Act((Draft(_rejected(item)),), take, took)
    return _answer(situation, item, take)


def _rejected(item: InboxItem) -> FileRejected:
    return FileRejected(
        name=item.name,
        sha256=item.sha256,
        mtime_ns=item.mtime_ns,
        inode=item.inode,
        why=item.problem,
        content_base64=item.content,
    )


def _answer(situation: Situation, item: InboxItem, take: TakeFile) -> Act:
    ingested = FileIngested(
        name=item.name, sha256=item.sha256, mtime_ns=item.mtime_ns, inode=item.inode, content=item.content
    )
    cause = situation.state.seq + 1
    answer: tuple[Draft, ...]
    if item.kind is AskKind.SWITCH:
        environment = situation.environment(item.target)
        ask = SwitchAsk(
            target=item.target,
            origin=Origin.FILE,
            source=item.source or situation.state.serving or situation.world.startup_environment,
            problem=environment.problem,
            requester=situation.world.source,
        )
        answer = admit(situation.state, ask, situation.world.foreign_lock, situation.now, situation.config, after=1)
    else:
        answer = (Draft(_command(item)),)
    drafts = (Draft(ingested), *(Draft(d.event, switch=d.switch, cause=cause) for d in answer))
    return Act(drafts, take, frozenset({Took.INBOX}))


def _command(item: InboxItem) -> Event:
    if item.kind is AskKind.RESTART:
        return RestartRequested(origin=Origin.FILE, reason=item.reason)
    if item.kind is AskKind.SHUTDOWN:
        return ShutdownRequested(origin=Origin.FILE, reason=item.reason)
    return AbortRequested(origin=Origin.FILE, reason=item.reason, manual_pid=item.pid)


def foreign_lock(situation: Situation) -> Decision | None:
    """A stale foreign lock with no switch behind it is taken away."""
    lock, state = situation.world.foreign_lock, situation.state
    if lock is None or state.lock is not None or not lock.is_stale(situation.now, situation.config.lock_timeout_s):
        return None
    return situation.act(
        LockBroken(why="foreign_stale", age_ns=age_ns(lock.touched, situation.now)), effect=TakeForeignLock()
    )


def processes(situation: Situation) -> Decision | None:
    """What became of each process of the state: found, lost, adopted, gone."""
    waiting: Decision | None = None
    for process in situation.state.processes.values():
        facts = situation.facts(process)
        if facts is None:
            continue
        decision = (
            _intended(situation, process, facts) if process.identity is None else _known(situation, process, facts)
        )
        if isinstance(decision, Act):
            return decision
        waiting = waiting or decision
    return waiting


def _intended(situation: Situation, process: Process, facts: ChildFacts) -> Decision:
    if facts.presence is Presence.ALIVE and facts.identity is not None:
        return situation.act(ProcessSpawned(spawn=process.spawn, identity=facts.identity))
    if facts.presence is Presence.PENDING:
        return situation.wait_ns(PENDING_NS)
    lost = not facts.error
    failed = ProcessSpawnFailed(
        spawn=process.spawn, error=facts.error or "no trace of it was found after a restart of ours", lost=lost
    )
    job = situation.state.job
    if job is None or job.spawn != process.spawn or job.is_given_up or (lost and job.lost_spawns + 1 < RESTARTS_MAX):
        return situation.act(failed)
    return situation.act(*failure(situation.state, job, "spawn", failed.error, process.spawn), failed)


def _known(situation: Situation, process: Process, facts: ChildFacts) -> Decision | None:
    if facts.presence is Presence.GONE:
        return _gone(situation, process, facts)
    if process.owner != situation.world.me and process.role is not Role.SOURCE and process.identity is not None:
        return situation.act(ProcessAdopted(spawn=process.spawn, identity=process.identity))
    return None


def _gone(situation: Situation, process: Process, facts: ChildFacts) -> Decision:
    if facts.left_behind:
        if process.swept is None or situation.over(process.swept, SWEEP_NS):
            swept = ProcessSwept(spawn=process.spawn, pids=facts.left_behind)
            return situation.act(swept, effect=Sweep(process.spawn))
        return situation.wait(process.swept, PENDING_NS)
    if facts.code == 43 and any(item.kind is AskKind.UNFINISHED for item in situation.world.inbox):
        return situation.wait_ns(PENDING_NS)
    job = situation.state.job
    ours = job is not None and job.spawn == process.spawn and not job.is_given_up
    cause = _cause(situation, process, facts)
    restarts = ours and job is not None and cause is ExitCause.RESTART
    if restarts and job is not None and job.restarts >= RESTARTS_MAX:
        restarts, cause = False, ExitCause.CRASH
    exited = ProcessExited(
        spawn=process.spawn, code=facts.code, signal=facts.signal, cause=cause, log_tail=facts.log_tail
    )
    if not ours or job is None or restarts or process.stopping is not None:
        return situation.act(exited)
    error = exit_error(process, exited, situation.now)
    return situation.act(
        exited,
        HealthFailed(spawn=process.spawn, why="exited", detail=error),
        *failure(
            situation.state, job, "restarting" if job.restarts >= RESTARTS_MAX else "exited", error, process.spawn
        ),
    )


def exit_error(process: Process, exited: ProcessExited, now: Stamp) -> str:
    """Why it ended, in a sentence: the code, how long it had run, and the last line that it printed."""
    after_s = elapsed_ns(process.since, now) / S
    last = next((line.strip() for line in reversed(exited.log_tail) if line.strip()), "")
    said = f"; its last line: {last}" if last else ""
    return f"ComfyUI of {process.environment} ended with {describe_exit(exited)} {after_s:.1f} s after its start{said}"


def _cause(situation: Situation, process: Process, facts: ChildFacts) -> ExitCause:
    state = situation.state
    if process.stopping is not None:
        return ExitCause.STOPPED
    switch_open = state.job is not None and state.job.is_switch
    if process.role is Role.SOURCE:
        return ExitCause.SWITCH
    if facts.code is None and not facts.signal:
        if switch_open and state.main == process.spawn and (state.job is None or state.job.spawn != process.spawn):
            return ExitCause.SWITCH
        return ExitCause.RESTART if state.restart_asked is not None else ExitCause.CRASH
    if facts.code == 43:
        return (
            ExitCause.SWITCH
            if (switch_open and not _is_target(situation, process)) or _was_answered(situation)
            else ExitCause.CRASH
        )
    return {0: ExitCause.CLEAN, 42: ExitCause.RESTART}.get(
        facts.code if facts.code is not None else -1, ExitCause.CRASH
    )


def _is_target(situation: Situation, process: Process) -> bool:
    return situation.state.job is not None and situation.state.job.spawn == process.spawn


def _was_answered(situation: Situation) -> bool:
    """Whether a switch was refused or has ended so short a time ago that the 43 is still its requester leaving."""
    refused, outcome = situation.state.refused_at, situation.state.switches[-1:]
    stamps = [*(() if refused is None else (refused,)), *(o.at for o in outcome)]
    return any(not situation.over(stamp, ANSWERED_NS) for stamp in stamps)


def source(situation: Situation) -> Decision | None:
    """The ComfyUI that asked for the open switch, where it is not ours: it is watched until it has left."""
    state, found = situation.state, situation.world.source
    job = state.job
    if found is None or job is None or not job.is_switch or state.source_process is not None:
        return None
    if any(process.identity == found for process in state.processes.values()):
        return None
    endpoint = situation.endpoint
    return situation.act(SourceSeen(environment=job.source, identity=found, url=endpoint.url, port=endpoint.port))


def probe(situation: Situation) -> Decision | None:
    """A probe's result, while its process is still of interest."""
    result = situation.world.probe
    if result is None:
        return None
    process = situation.state.processes.get(result.spawn)
    if process is None or process.stopping is not None or process.identity is None:
        return Act(took=frozenset({Took.PROBE}))
    ok = result.ok and not result.stranger
    probed = HealthProbed(
        spawn=result.spawn,
        ok=ok,
        latency_ns=result.latency_ns,
        status=result.status,
        error=f"answered by another process: {result.stranger}" if result.stranger else result.error,
        successes=process.successes + 1 if ok else 0,
    )
    return situation.act(probed, took=Took.PROBE)

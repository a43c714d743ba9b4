"""Facts before policy: what the world shows becomes events before anything is decided on it."""

from journal.clock import S, Stamp, elapsed_ns
from journal.codec import Draft
from journal.events import (
    AbortRequested,
    Event,
    ExitCause,
    FileIngested,
    FileRejected,
    GuardReaped,
    HealthFailed,
    HealthProbed,
    Origin,
    ProcessAdopted,
    ProcessExited,
    ProcessSpawned,
    ProcessSpawnFailed,
    RestartRequested,
    Role,
    ShutdownRequested,
    SourceSeen,
)
from orchestrator.actions import Act, Decision, TakeFile, Took
from orchestrator.deciding import killing, liveness
from orchestrator.deciding.admission import admit
from orchestrator.deciding.failing import ANSWERED_BY, exit_error, failure, failure_of
from orchestrator.deciding.situation import ENDS_OF_SESSION, Situation
from orchestrator.world import AskKind, ChildFacts, InboxItem, Presence, SwitchAsk
from projections.jobs import Job
from projections.state import Goal, OutcomeState, Process

EXIT_RESTART = 42
"""How ComfyUI says that it wants to be started again."""
EXIT_SWITCH = 43
"""How ComfyUI says that it made room for the environment that it has asked for."""
PENDING_MAX_NS = 10 * S
"""How long an intended process may be neither there nor not: a stranger that holds its log file may live for ever."""
ANSWERED_NS = 60 * S
"""How long after its switch was refused, or came to nothing, an exit with 43 still belongs to it."""
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
    item = situation.world.next_item
    if item is None:
        return None
    take = TakeFile(item.name, item.key)
    took = frozenset({Took.INBOX})
    if item.key in situation.state.inbox_keys:
        return Act((), take, took)
    if item.kind is AskKind.REJECTED:
        return Act((Draft(rejected(item)),), take, took)
    return _answer(situation, item, take)


def rejected(item: InboxItem) -> FileRejected:
    """The event that keeps a file which was not understood."""
    return FileRejected(
        name=item.name,
        sha256=item.sha256,
        mtime_ns=item.mtime_ns,
        inode=item.inode,
        why=item.problem,
        content_base64=item.content,
        target=item.target,
    )


def _answer(situation: Situation, item: InboxItem, take: TakeFile) -> Decision:
    ingested = FileIngested(
        name=item.name, sha256=item.sha256, mtime_ns=item.mtime_ns, inode=item.inode, content=item.content
    )
    cause = situation.state.seq + 1
    answer: tuple[Draft, ...]
    if item.kind is AskKind.SWITCH:
        environment = situation.environment(item.target)
        if environment is None:
            return situation.look_again()
        ask = SwitchAsk(
            target=item.target,
            origin=Origin.FILE,
            source=item.source or situation.state.serving or situation.world.startup_environment,
            problem=environment.problem,
            requester=situation.world.source,
        )
        answer = admit(
            situation.state,
            ask,
            situation.world.foreign_lock,
            situation.now,
            situation.config,
            after=1,
            claim_is_dead=situation.world.claim_is_dead,
        )
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
    if facts.identity is not None:
        return situation.act(ProcessSpawned(spawn=process.spawn, identity=facts.identity))
    if facts.presence is Presence.PENDING and not situation.over(_intended_since(situation, process), PENDING_MAX_NS):
        return situation.look_again()
    lost = not facts.error
    failed = ProcessSpawnFailed(
        spawn=process.spawn, error=facts.error or "no trace of it was found after a restart of ours", lost=lost
    )
    job = situation.state.job
    if job is None or job.spawn != process.spawn or job.is_given_up or (lost and job.lost_spawns + 1 < RESTARTS_MAX):
        return situation.act(failed)
    return situation.act(*failure(situation.state, job, "spawn", failed.error, process.spawn), failed)


def _intended_since(situation: Situation, process: Process) -> Stamp:
    """Since when it is looked for: its intention, or our own start when that is later."""
    started = situation.state.orchestrator_since
    if started is None or elapsed_ns(process.since, situation.now) <= elapsed_ns(started, situation.now):
        return process.since
    return started


def _known(situation: Situation, process: Process, facts: ChildFacts) -> Decision | None:
    if facts.presence is Presence.PENDING:
        return situation.look_again()
    if facts.presence is Presence.GONE:
        return _gone(situation, process, facts)
    if killing.is_given_up(situation, process, facts):
        return situation.act(*_ended(situation, process, facts))
    if process.owner != situation.world.me and process.identity is not None:
        return situation.act(ProcessAdopted(spawn=process.spawn, identity=process.identity))
    return None


def _gone(situation: Situation, process: Process, facts: ChildFacts) -> Decision:
    sweeping = killing.sweep(situation, process, facts)
    if sweeping is not None:
        return sweeping
    if facts.code == EXIT_SWITCH and situation.world.has_unfinished_item:
        return situation.look_again()
    return situation.act(*_reaped(process, facts), *_ended(situation, process, facts))


def _reaped(process: Process, facts: ChildFacts) -> tuple[Event, ...]:
    """How we know, where it was not our own child."""
    if not facts.reaped or process.identity is None:
        return ()
    return (GuardReaped(spawn=process.spawn, identity=process.identity, code=facts.code, signal=facts.signal),)


def _ended(situation: Situation, process: Process, facts: ChildFacts) -> tuple[Event, ...]:
    job, cause = situation.state.job, _cause(situation, process, facts)
    if job is None or job.spawn != process.spawn or job.is_given_up or cause is ExitCause.STOPPED:
        return (_exited(process, facts, cause),)
    if cause is ExitCause.RESTART and not _restarts_are_spent(situation, job):
        return (_exited(process, facts, cause),)
    reason, cause = ("restarting", ExitCause.CRASH) if cause is ExitCause.RESTART else ("exited", cause)
    exited = _exited(process, facts, cause)
    error = exit_error(process, exited, situation.now)
    failed = HealthFailed(spawn=process.spawn, why="exited", detail=error)
    was_ended = facts.signal in ENDS_OF_SESSION
    return (exited, failed, *failure_of(situation.state, job, reason, error, process, was_ended=was_ended))


def _exited(process: Process, facts: ChildFacts, cause: ExitCause) -> ProcessExited:
    return ProcessExited(
        spawn=process.spawn,
        code=facts.code,
        signal=facts.signal,
        cause=cause,
        log_tail=facts.log_tail,
        left=killing.left(facts),
        given_up=facts.presence is Presence.ALIVE,
    )


def _restarts_are_spent(situation: Situation, job: Job) -> bool:
    return job.restarts >= RESTARTS_MAX or (not job.is_switch and situation.starts_are_spent)


def _cause(situation: Situation, process: Process, facts: ChildFacts) -> ExitCause:
    """What the exit means: what we did to it ourselves comes first, then its code, then what was asked."""
    state, job = situation.state, situation.state.job
    lost_with_the_machine = process.identity is not None and process.identity.boot_id != situation.world.me.boot_id
    if process.stopping is not None or lost_with_the_machine or facts.elsewhere:
        return ExitCause.STOPPED
    makes_room = job is not None and job.is_switch and job.spawn != process.spawn
    if process.role is Role.SOURCE:
        return ExitCause.SWITCH
    if facts.code is not None:
        if facts.code == EXIT_SWITCH and (makes_room or _its_page_is_leaving(situation, process)):
            return ExitCause.SWITCH
        return {0: ExitCause.CLEAN, EXIT_RESTART: ExitCause.RESTART}.get(facts.code, ExitCause.CRASH)
    if facts.signal:
        return ExitCause.CRASH
    if makes_room and state.main == process.spawn:
        return ExitCause.SWITCH
    return ExitCause.RESTART if state.restart_asked is not None else ExitCause.CRASH


def _its_page_is_leaving(situation: Situation, process: Process) -> bool:
    """Whether the switch that its page asked for was refused, or came to nothing, so short a time ago that it still leaves."""
    refused, last = situation.state.refused_at, situation.state.switches[-1:]
    answered = [] if refused is None else [refused]
    answered += [o.at for o in last if o.state is OutcomeState.ROLLED_BACK and process.confirmed not in {None, o.at}]
    return any(not situation.over(stamp, ANSWERED_NS) for stamp in answered)


def source(situation: Situation) -> Decision | None:
    """The ComfyUI that asked for the open switch, where it is not ours: it is watched until it has left."""
    state, found = situation.state, situation.world.source
    job = state.job
    if found is None or job is None or not job.is_switch or state.source_process is not None:
        return None
    known = (*(process.identity for process in state.processes.values()), *(left.identity for left in state.left))
    if found in known:
        return None
    endpoint = situation.endpoint
    return situation.act(SourceSeen(environment=job.source, identity=found, url=endpoint.url, port=endpoint.port))


def probe(situation: Situation) -> Decision | None:
    """A probe's result, while its process is still of interest. What serves already is not confirmed again."""
    result = situation.world.probe
    if result is None:
        return None
    process = situation.state.processes.get(result.spawn)
    if process is None or process.stopping is not None or process.identity is None:
        return Act(took=frozenset({Took.PROBE}))
    ok, said = result.ok and not result.stranger, f": {result.error}" if result.error else ""
    error = f"{ANSWERED_BY}{result.stranger}{said}" if result.stranger else result.error
    if process.confirmed is not None:
        return liveness.learned(situation, process, error)
    probed = HealthProbed(
        spawn=result.spawn,
        ok=ok,
        latency_ns=result.latency_ns,
        status=result.status,
        error=error,
        successes=process.successes + 1 if ok else 0,
    )
    return situation.act(probed, took=Took.PROBE)

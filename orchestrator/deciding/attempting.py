"""The stages of a job: prepare, sync, clear the way, start, validate. Forward only; giving up is in `rolling`."""

from collections.abc import Callable, Mapping
from typing import Final

from journal.clock import S, elapsed_ns, seconds
from journal.events import (
    Event,
    Evidence,
    GenerationRecorded,
    HealthConfirmed,
    HealthFailed,
    LockReleased,
    PreflightStarted,
    ProcessIntended,
    Role,
    StartupCaptured,
    SwitchCompleted,
    SwitchRolledBack,
    SyncSkipped,
    SyncStarted,
)
from orchestrator.actions import Act, Decision, Probe, Spawn, StartPreflight, StartSync
from orchestrator.backend_flag import with_backend_flag
from orchestrator.deciding import working
from orchestrator.deciding.failing import failure, failure_of, squatter
from orchestrator.deciding.restoring import bring_back
from orchestrator.deciding.rolling import choosing, giving_up, no_way_back
from orchestrator.deciding.situation import Situation, soonest
from orchestrator.deciding.stopping import stop, stop_all
from orchestrator.world import EnvironmentFacts
from projections.generations import latest_of, same_content
from projections.jobs import Job
from projections.state import Process
from projections.switching import Stage

PAGE_ANSWER_NS: Final = 2 * S
"""How long our panel may take to answer its page once it has asked: a ComfyUI that is stopped answers nobody."""


def attempt(situation: Situation) -> Decision | None:
    """The next step of the open job; None when there is none."""
    job = situation.state.job
    if job is None:
        return None
    if job.is_given_up and not job.rolling_back:
        return giving_up(situation, job)
    evidence = _evidence_for_source(situation, job)
    if isinstance(evidence, Act):
        return evidence
    decision = _STAGES[job.stage](situation, job)
    return decision if isinstance(decision, Act) else soonest(decision, evidence)


def _evidence_for_source(situation: Situation, job: Job) -> Decision | None:
    """The very first switch: its source was never seen healthy by us, so it is probed while it answers, or believed."""
    state = situation.state
    if not job.origin.is_a_page or job.rolling_back or not job.source or latest_of(state.generations, job.source):
        return None
    source, facts = state.source_process, situation.environment(job.source)
    if facts is None or facts.fingerprint is None or facts.problem:
        return None
    if source is not None and source.environment == job.source and source.stopping is None:
        if source.successes < situation.config.required_successes:
            return probe_when_due(situation, source)
        return situation.act(*_confirmed(situation, source, facts.fingerprint))
    if source is not None or state.main is not None:
        return None
    return situation.act(_recorded(situation, job.source, facts.fingerprint, Evidence.REQUESTER, None))


def _recorded(
    situation: Situation, environment: str, fingerprint: str, evidence: Evidence, spawn: int | None
) -> GenerationRecorded:
    return GenerationRecorded(
        environment=environment,
        fingerprint=fingerprint,
        evidence=evidence,
        spawn=spawn,
        arguments=situation.arguments,
    )


def _confirmed(situation: Situation, process: Process, fingerprint: str) -> tuple[Event, ...]:
    """It is healthy: an instance of a generation that is known, or of a new one."""
    state = situation.state
    known = same_content(state.generations, process.environment, fingerprint)
    if known is not None:
        return (HealthConfirmed(spawn=process.spawn, generation=known.generation),)
    made = _recorded(situation, process.environment, fingerprint, Evidence.PROBED, process.spawn)
    return (made, HealthConfirmed(spawn=process.spawn, generation=state.seq + 1))


def _preparing(situation: Situation, job: Job) -> Decision:
    if situation.state.worker is None:
        worker = situation.state.seq + 1
        return situation.act(
            PreflightStarted(environment=job.environment), effect=StartPreflight(worker, job.environment)
        )
    return working.waiting(situation)


def _syncing(situation: Situation, job: Job) -> Decision:
    state, environment = situation.state, job.wanted
    if not situation.over(job.requested, job.delay_ns):
        return situation.wait(job.requested, job.delay_ns)
    if state.worker is not None:
        return working.waiting(situation)
    facts = situation.environment(environment)
    if facts is None or (facts.fingerprint is None and not facts.problem):
        return situation.look_again()
    if facts.problem:
        return situation.act(*failure(state, job, "environment", facts.problem))
    in_the_way = _same_environment(situation, job)
    if in_the_way is not None:
        return stop(situation, in_the_way, f"environment {environment} is synced")
    bringing_back = bring_back(situation, job, facts)
    if bringing_back is not None:
        return bringing_back
    settled = state.settled.get(environment)
    if settled and settled == facts.fingerprint and environment not in state.dirty:
        return situation.act(SyncSkipped(environment=environment, fingerprint=settled))
    started = SyncStarted(environment=environment, fingerprint=facts.fingerprint or "")
    return situation.act(started, effect=StartSync(state.seq + 1, environment))


def _same_environment(situation: Situation, job: Job) -> Process | None:
    """A live process of ours in the environment that is about to be synced: packages do not change under its feet."""
    processes = situation.state.processes.values()
    return next((p for p in processes if p.environment == job.wanted and p.role is not Role.SOURCE), None)


def _clearing(situation: Situation, job: Job) -> Decision:
    in_the_way = (
        _leaving_by_itself(situation, job) or stop_all(situation, f"room for {job.wanted}") or _source(situation, job)
    )
    if in_the_way is not None:
        return in_the_way
    port, facts = situation.world.port, situation.environment(job.wanted)
    if port is None or facts is None or (facts.fingerprint is None and not facts.problem):
        return situation.look_again()
    if facts.problem:
        return situation.act(*failure(situation.state, job, "environment", facts.problem))
    if port.free:
        return _start(situation, job, facts)
    if not situation.over(job.stage_at, seconds(situation.config.port_free_timeout_s)):
        return situation.look_again()
    error = f"port {port.port} is held by {port.holder or 'another program'}; end it, or choose another --port"
    if job.rolling is None:
        return situation.act(*failure(situation.state, job, "port", error))
    return no_way_back(situation, job, error)


def _leaving_by_itself(situation: Situation, job: Job) -> Decision | None:
    """A ComfyUI whose page asked is not signalled while its page may still wait for the answer, or it is about to leave."""
    main = situation.state.main_process
    if main is None or main.stopping is not None or job.rolling_back or not job.origin.is_a_page:
        return None
    grace_ns = seconds(situation.config.source_grace_s)
    if not _leaves(situation, job):
        grace_ns = min(grace_ns, PAGE_ANSWER_NS)
    return None if situation.over(job.requested, grace_ns) else situation.wait(job.requested, grace_ns)


def _leaves(situation: Situation, job: Job) -> bool:
    """Whether the ComfyUI that asked ends by itself. Our panel's does when an orchestrator had to be started for it."""
    since = situation.state.orchestrator_since
    return job.origin.leaves_by_itself or since is None or elapsed_ns(job.requested, since) > 0


def _source(situation: Situation, job: Job) -> Decision | None:
    source = situation.state.source_process
    if source is None:
        return None
    grace_ns = seconds(situation.config.source_grace_s)
    if source.stopping is None and not situation.over(job.requested, grace_ns):
        return situation.wait(job.requested, grace_ns)
    return stop(situation, source, f"room for {job.wanted}")


def _start(situation: Situation, job: Job, facts: EnvironmentFacts) -> Act:
    endpoint = situation.endpoint
    arguments, notes = with_backend_flag(situation.arguments, facts.torch)
    command = (facts.python, "main.py", *arguments)
    startup = StartupCaptured(
        environment=job.wanted,
        workspace_root=situation.world.workspace,
        port=endpoint.port,
        python_executable=facts.python,
        working_directory=facts.working_directory,
        argv=("main.py", *arguments),
    )
    before = () if situation.state.startup == startup else (startup,)
    intended = ProcessIntended(
        role=Role.MAIN,
        environment=job.wanted,
        generation=job.generation if job.rolling is None else job.rolling.generation,
        fingerprint=facts.fingerprint or "",
        host=endpoint.host,
        port=endpoint.port,
        url=endpoint.url,
        command=command,
        working_directory=facts.working_directory,
        notes=notes,
    )
    spawn = situation.state.seq + 1 + len(before)
    return situation.act(*before, intended, effect=Spawn(spawn, job.wanted, command, facts.working_directory))


def _starting(situation: Situation, _job: Job) -> Decision:
    return situation.look_again()


def probe_when_due(situation: Situation, process: Process) -> Decision:
    """Probe, or wait for the next probe. One is due at the very deadline, and none is under way an interval after it."""
    if situation.world.probing or situation.world.probe is not None:
        return situation.wait_ns(S)
    config = situation.config
    interval_ns, timeout_ns = seconds(config.probe_interval_s), seconds(config.probe_timeout_s)
    left_ns = seconds(config.health_check_timeout_s) - elapsed_ns(process.since, situation.now)
    if process.last_probe is not None:
        since_last_ns = elapsed_ns(process.last_probe, situation.now)
        due_in_ns = interval_ns - since_last_ns
        if since_last_ns + left_ns > 0:
            due_in_ns = min(due_in_ns, left_ns)
        if due_in_ns > 0:
            return situation.wait_ns(due_in_ns)
    patience_ns = min(timeout_ns, max(left_ns, interval_ns))
    return Act((), Probe(process.spawn, process.url, process.port, patience_ns))


def _validating(situation: Situation, job: Job) -> Decision:
    process, config = situation.state.job_process, situation.config
    if process is None:
        return situation.act(*failure(situation.state, job, "exited", "ComfyUI is gone"))
    if process.stopping is not None:
        return stop(situation, process, process.stopping.why)
    if process.successes >= config.required_successes:
        return situation.act(*_confirmed(situation, process, process.fingerprint), *_ending(job, process))
    timeout_ns = seconds(config.health_check_timeout_s)
    # Only a probe that failed at or after the deadline fails the start: the clock alone may have slept with us.
    last_failed = None if process.last_probe_ok else process.last_probe
    if last_failed is not None and elapsed_ns(process.since, last_failed) >= timeout_ns:
        return _too_late(situation, job, process)
    return probe_when_due(situation, process)


def _too_late(situation: Situation, job: Job, process: Process) -> Act:
    error = f"ComfyUI of {process.environment} was not ready after {situation.config.health_check_timeout_s:g} s"
    if process.last_probe_error:
        error += f"; the last probe: {process.last_probe_error}"
    failed = HealthFailed(spawn=process.spawn, why="stranger" if squatter(process) else "timeout", detail=error)
    return situation.act(failed, *failure_of(situation.state, job, "timeout", error, process))


def _ending(job: Job, process: Process) -> tuple[Event, ...]:
    if not job.is_switch:
        return ()
    if job.rolling is None:
        return (SwitchCompleted(environment=process.environment, spawn=process.spawn), LockReleased())
    ended = SwitchRolledBack(environment=process.environment, error=job.error, nothing_stopped=False)
    return (ended, LockReleased())


_STAGES: Final[Mapping[Stage, Callable[[Situation, Job], Decision]]] = {
    Stage.PREPARING: _preparing,
    Stage.SYNCING: _syncing,
    Stage.CLEARING: _clearing,
    Stage.STARTING: _starting,
    Stage.VALIDATING: _validating,
    Stage.CHOOSING: choosing,
}

"""The processes of a story: what was started, probed and signalled, and how long nobody answered."""

from collections.abc import Sequence
from statistics import median_low

from journal.codec import Recorded
from journal.events import (
    ExitCause,
    HealthConfirmed,
    HealthProbed,
    ProcessAdopted,
    ProcessExited,
    ProcessIntended,
    ProcessSignalled,
    ProcessSpawned,
    ProcessSpawnFailed,
    ProcessStopAsked,
    Role,
    SwitchRolledBack,
)
from projections.evolve_processes import describe_exit
from projections.story_model import Probes, SentSignal, Silence, Start
from projections.story_telling import Telling, between_ns, exit_of


def starts_of(telling: Telling) -> tuple[Start, ...]:
    """Every ComfyUI that the switch has started."""
    return tuple(_start(telling, recorded, event) for recorded, event in telling.all_of(ProcessIntended))


def _start(telling: Telling, recorded: Recorded, event: ProcessIntended) -> Start:
    spawn, rolling_back_seq = recorded.seq, telling.rolling_back_seq
    known = telling.last_of(ProcessSpawned, spawn)
    return Start(
        spawn=spawn,
        environment=event.environment,
        at=recorded.at,
        rolling_back=rolling_back_seq is not None and spawn > rolling_back_seq,
        log=telling.log_of(spawn),
        pid=None if known is None else known[1].identity.pid,
        confirmed=telling.last_of(HealthConfirmed, spawn) is not None,
        ended=_ended(telling, spawn),
        probes=_probes([probed for _, probed in telling.all_of(HealthProbed) if probed.spawn == spawn]),
        notes=event.notes,
    )


def _ended(telling: Telling, spawn: int) -> str:
    failed, exited = telling.last_of(ProcessSpawnFailed, spawn), exit_of(telling, spawn)
    if failed is not None:
        return f"not started: {failed[1].error}"
    if exited is None:
        return ""
    return f"{'stopped by us, ' if exited.cause is ExitCause.STOPPED else ''}{describe_exit(exited)}"


def _probes(probes: Sequence[HealthProbed]) -> Probes:
    latencies = [probe.latency_ns for probe in probes if probe.ok]
    errors = [probe.error or f"status {probe.status}" for probe in probes if not probe.ok]
    return Probes(
        ok=len(latencies),
        failed=len(errors),
        typical_ns=median_low(latencies) if latencies else None,
        slowest_ns=max(latencies, default=None),
        last_error=errors[-1] if errors else "",
    )


def signals_of(telling: Telling) -> tuple[SentSignal, ...]:
    """Every signal of ours, to old and new."""
    why: dict[int, str] = {}
    sent: list[SentSignal] = []
    for recorded in telling.own:
        event = recorded.event
        if isinstance(event, ProcessStopAsked):
            why[event.spawn] = event.why
        elif isinstance(event, ProcessSignalled):
            sent.append(
                SentSignal(
                    seq=recorded.seq,
                    at=recorded.at,
                    signal=event.signal,
                    environment=telling.environment_of(event.spawn),
                    spawn=event.spawn,
                    whole_tree=event.whole_tree,
                    why=why.get(event.spawn, ""),
                )
            )
    return tuple(sent)


def silence_of(telling: Telling) -> Silence | None:
    """Since when nobody answered, and for how long; None when the old one did all the time, or still does."""
    end = telling.end
    if end is not None and isinstance(end.event, SwitchRolledBack) and end.event.nothing_stopped:
        return None
    began = _stop_of_the_old(telling) or _exit_before(telling)
    at_least = began is None
    if began is None:
        if not any(telling.all_of(ProcessIntended)):
            return None  # nothing was stopped and nothing started: whatever answered then answers now
        began = telling.request
    confirmed = _confirming_probe(telling, began)
    ns = None if confirmed is None else between_ns(began.at, confirmed.at)
    return Silence(since=began.at, ns=ns, at_least=at_least)


def _stop_of_the_old(telling: Telling) -> Recorded | None:
    """When what served before was asked to stop, or went by itself."""
    for recorded in telling.own:
        event = recorded.event
        if isinstance(event, ProcessStopAsked | ProcessExited) and event.spawn not in telling.new_spawns:
            return recorded
    return None


def _exit_before(telling: Telling) -> Recorded | None:
    """The exit that led to the switch: the requester left with 43, or what is recovered from crashed."""
    wanted = ExitCause.CRASH if telling.rolling_back_seq == telling.request.seq else ExitCause.SWITCH
    for recorded in reversed(telling.before):
        event = recorded.event
        if isinstance(event, ProcessExited):
            return recorded if event.cause is wanted else None
        if isinstance(event, ProcessIntended | ProcessAdopted | HealthConfirmed):
            return None
    return None


def _confirming_probe(telling: Telling, began: Recorded) -> Recorded | None:
    """The last probe before the newest confirmation of a main, or the confirmation itself; None while there is none."""
    mains = {r.seq for r, intended in telling.all_of(ProcessIntended) if intended.role is Role.MAIN}
    confirmed = None
    for recorded, event in telling.all_of(HealthConfirmed):
        if event.spawn in mains and recorded.seq > began.seq:
            confirmed = (recorded, event.spawn)
    if confirmed is None:
        return None
    probe = telling.last_of(HealthProbed, confirmed[1], before=confirmed[0].seq)
    return confirmed[0] if probe is None else probe[0]


def serving_of(telling: Telling) -> tuple[str, int | None]:
    """Environment and spawn that serve at the end; "" and None when none does, or the switch is open."""
    if telling.end is None:
        return "", None
    environment = getattr(telling.end.event, "environment", "")
    confirmed = [event.spawn for _, event in telling.all_of(HealthConfirmed) if event.spawn in telling.new_spawns]
    return environment, confirmed[-1] if environment and confirmed else None

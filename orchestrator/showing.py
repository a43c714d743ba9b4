"""State as words and tables. Pure: everything here is `state -> str` or `state -> dict`; escaping is done here, once."""

from collections.abc import Sequence
from typing import Any

from journal.clock import S, Stamp, age_ns, iso
from journal.events import LeftBehind, OrchestratorLost
from projections.endings import left_in_words, loss_in_words
from projections.state import Outcome, Process, WorkspaceState
from projections.views import status_document


def plain(text: str) -> str:
    """The text of others on one line, without what a terminal would act on."""
    return "".join(character if character.isprintable() else " " for character in text)


def status_facts(
    state: WorkspaceState, *, alive: bool, now: Stamp, guard_alive: bool = False, left: Sequence[LeftBehind] = ()
) -> dict[str, Any]:
    """What `status --json` prints; `left` are those of `state.left` that still live."""
    main = state.main_process
    return {
        "orchestrator": {"alive": alive, "pid": None if state.orchestrator is None else state.orchestrator.pid},
        "guard": None if state.guard is None else {"alive": guard_alive, "pid": state.guard.pid},
        "lost": None if state.lost is None or state.lost_at is None else _loss_facts(state.lost, state.lost_at),
        "control_url": control_url(state),
        "serving": state.serving or None,
        "environment": state.environment or None,
        "comfyui": None if main is None else _process_facts(main, now),
        "switch": status_document(state),
        "last_switch": _outcome_facts(state.switches[-1]) if state.switches else None,
        "parked": None if state.parked is None else {"why": state.parked.why, "advice": state.parked.advice},
        "left": [{"pid": one.identity.pid, "name": one.name, "why": one.why} for one in left],
        "crashes": state.crashes,
        "seq": state.seq,
    }


def _loss_facts(lost: OrchestratorLost, at: Stamp) -> dict[str, Any]:
    facts = {"pid": lost.identity.pid, "code": lost.code, "signal": lost.signal or None}
    return {**facts, "became_guard": lost.became_guard, "found": iso(at.wall_ns)}


def control_url(state: WorkspaceState) -> str | None:
    """Where the control server answers."""
    return None if state.control is None else f"http://{state.control.host}:{state.control.port}"


def _process_facts(main: Process, now: Stamp) -> dict[str, Any]:
    return {
        "pid": None if main.identity is None else main.identity.pid,
        "environment": main.environment,
        "url": main.url,
        "healthy": main.confirmed is not None,
        "last_probe_error": main.last_probe_error or None,
        "stopping": main.stopping is not None,
        "unresponsive": unresponsive_facts(main),
        "uptime_s": round(age_ns(main.since, now) / S, 1),
        "start": main.spawn,
    }


def unresponsive_facts(main: Process) -> dict[str, str] | None:
    """Since when it does not answer, and how that shows; None while it does, as far as is known."""
    hanging = main.unresponsive
    return None if hanging is None else {"since": iso(hanging.since.wall_ns), "error": hanging.error}


def _outcome_facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "switch": outcome.switch,
        "outcome": outcome.state.value,
        "target": outcome.target,
        "source": outcome.source or None,
        "serving": outcome.serving or None,
        "error": outcome.error or None,
        "recovery_command": outcome.recovery_command or None,
        "at": iso(outcome.at.wall_ns),
    }


def status_text(
    state: WorkspaceState, *, alive: bool, now: Stamp, guard_alive: bool = False, left: Sequence[LeftBehind] = ()
) -> str:
    """What `status` prints: who serves, what is being done, what went wrong last, what to do; `left` as above."""
    lines = [
        _serving_line(state, alive=alive, now=now),
        *_hanging_lines(state, now),
        _orchestrator_line(state, alive=alive, guard_alive=guard_alive),
        *_loss_lines(state, now),
    ]
    main = state.main_process
    if main is not None and not state.serving and main.last_probe_error:
        lines.append(f"last probe    {plain(main.last_probe_error)}")
    document = status_document(state)
    if document is not None:
        lines.append(f"switch        {document['state']} ({document['progress']} %): {plain(document['message'])}")
    elif state.switches:
        last = state.switches[-1]
        lines.append(f"last switch   {last.switch} to {last.target}: {last.state.value} {ago(last.at, now)}")
    error = (document or {}).get("error") or (state.switches[-1].error if state.switches else "")
    if error:
        lines.append(f"  because     {plain(error)}")
    if document is not None and "recovery_command" in document:
        lines.append(f"  to recover  {document['recovery_command']}")
    if state.parked is not None:
        lines += [f"parked        {plain(state.parked.why)}", f"  to do       {state.parked.advice}"]
    lines += [f"left          {plain(left_in_words(one))}" for one in left]
    return "\n".join(lines)


def _serving_line(state: WorkspaceState, *, alive: bool, now: Stamp) -> str:
    main = state.main_process
    if main is None:
        source = state.source_process
        return f"serving       {source.environment}, not ours" if source else "serving       nothing"
    doing = "serving" if state.serving else "stopping" if main.stopping else "starting"
    pid = "?" if main.identity is None else main.identity.pid
    sure = "" if alive else " (as last known: no orchestrator lives)"
    return f"{doing:<13} {main.environment} on {main.url}, pid {pid}, up {duration(age_ns(main.since, now))}{sure}"


def _hanging_lines(state: WorkspaceState, now: Stamp) -> list[str]:
    main = state.main_process
    if main is None or main.unresponsive is None:
        return []
    since = main.unresponsive.since
    return [
        f"  hangs       no answer since {iso(since.wall_ns)}, {duration(age_ns(since, now))}: {plain(main.unresponsive.error)}",
        "  to do       it is left alone, for it may be busy; to start it again: comfygit-orchestrator restart",
    ]


def _orchestrator_line(state: WorkspaceState, *, alive: bool, guard_alive: bool) -> str:
    guard = None if state.guard is None else state.guard.pid
    if not alive or state.orchestrator is None:
        if guard_alive:
            return f"orchestrator  not running; its guard (pid {guard}) is starting it again"
        return "orchestrator  not running; start it with: comfygit-orchestrator spawn"
    url = control_url(state)
    guarded = ", without a guard" if guard is None else f", guard pid {guard}{'' if guard_alive else ' (dead)'}"
    return f"orchestrator  pid {state.orchestrator.pid}{guarded}" + (f", control server {url}" if url else "")


def _loss_lines(state: WorkspaceState, now: Stamp) -> list[str]:
    if state.lost is None or state.lost_at is None:
        return []
    return [f"  before it   {plain(loss_in_words(state.lost))}; that was found {ago(state.lost_at, now)}"]


_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


def duration(value_ns: int) -> str:
    """A rough length of time: `4.2 s`, `12 min`, `3.5 h`, `9 days`."""
    value_s = value_ns / S
    if value_s < _MINUTE_S:
        return f"{value_s:.1f} s"
    if value_s < 2 * _HOUR_S:
        return f"{value_s / _MINUTE_S:.0f} min"
    return f"{value_s / _HOUR_S:.1f} h" if value_s < 2 * _DAY_S else f"{value_s / _DAY_S:.0f} days"


def ago(since: Stamp, now: Stamp) -> str:
    """How long ago that was."""
    return f"{duration(age_ns(since, now))} ago"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell, without borders: for people and for `awk`."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in (head, *rows)
    )


def outcome_text(outcome: Outcome, took_ns: int, saved: int | None = None) -> str:
    """How a switch ended, in a line or two; `saved` is the generation that holds what it has overwritten."""
    head = f"switch {outcome.switch}: {outcome.state.value.replace('_', ' ')} after {duration(took_ns)}"
    serving = f"; {outcome.serving} serves" if outcome.serving else "; nothing serves"
    error = f"\nbecause: {plain(outcome.error)}" if outcome.error else ""
    command = f"\nto recover: {outcome.recovery_command}" if outcome.recovery_command else ""
    undo = f"\nto undo: comfygit-orchestrator rollback --to {saved}" if saved is not None else ""
    return f"{head}{serving}{error}{command}{undo}"

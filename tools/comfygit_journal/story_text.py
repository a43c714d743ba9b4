"""A story as text for one screen, and as JSON. Pure."""

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from comfygit_journal.durations import duration
from comfygit_journal.escaping import cut, escaped
from comfygit_journal.lines import iso
from comfygit_journal.present import Present
from journal.clock import Stamp
from projections.endings import left_in_words
from projections.inventory import change_text
from projections.story_model import Cause, Ending, Restored, Span, Start, Story

_WIDTH: Final = 100
_LABEL_WIDTH: Final = 12
_TAIL_LINES: Final = 6
_SIGNALS: Final = 6
_LISTED: Final = 6

_ENDED: Final = {
    Ending.COMPLETE: "complete",
    Ending.ROLLED_BACK: "rolled back",
    Ending.CRITICAL_FAILURE: "critical failure",
    Ending.ABORTED: "aborted",
}


def story_text(story: Story, present: Present, workspace: str) -> str:
    """What was asked, what went wrong, what was done, what serves, what to do next. `workspace` is its folder."""
    parts = [
        ("asked", _asked(story)),
        ("went wrong", [escaped(story.error)] if story.error else []),
        ("evidence", [] if story.cause is None else _evidence(story.cause)),
        ("done", list(_done(story))),
        ("content", [line for restored in story.restores for line in _restored(restored)]),
        ("probes", ["; ".join(map(_probes, story.starts))] if story.starts else []),
        ("signals", _signals(story)),
        ("left", [escaped(left_in_words(one)) for one in story.left]),
        ("outage", _outage(story)),
        ("serves now", [_serves(present, story)]),
    ]
    lines = [_title(story), ""]
    for label, texts in parts:
        lines += _labelled(label, [line for text in texts for line in _wrapped(text)])
    lines += _labelled("next", [escaped(step) for step in next_steps(story, present, workspace)])
    return "\n".join(lines)


def _labelled(label: str, lines: list[str]) -> list[str]:
    labels = [label, *[""] * len(lines)]
    return [f"{name:<{_LABEL_WIDTH}}{line}".rstrip() for name, line in zip(labels, lines, strict=False)]


def _wrapped(text: str) -> list[str]:
    """Indented text is output of others: cut, not wrapped."""
    if text.startswith(" "):
        return [cut(text, _WIDTH - _LABEL_WIDTH)]
    return textwrap.wrap(text, _WIDTH - _LABEL_WIDTH, break_on_hyphens=False) or [""]


def _title(story: Story) -> str:
    target, source = escaped(story.target), escaped(story.source) or "(nothing)"
    if story.ending is Ending.REFUSED:
        return f"Switch to {target}, asked for in event {story.switch}: refused"
    way = (
        f"Recovery {story.switch} of {target}"
        if story.kind == "recover"
        else f"Switch {story.switch}: {source} -> {target}"
    )
    if story.kind == "rollback":
        way = f"Rollback {story.switch}: {source} -> {target}"
    if story.ending is Ending.OPEN:
        return f"{way}: not over, {story.stages[-1].name if story.stages else 'just asked for'}"
    back = f" to {escaped(story.serving)}" if story.ending is Ending.ROLLED_BACK else ""
    return f"{way}: {_ENDED[story.ending]}{back} after {duration(story.duration_ns)}"


def _asked(story: Story) -> list[str]:
    who = story.asked
    by = f"by {escaped(who.role)} (pid {who.pid} on {escaped(who.host)})"
    requester = f", for pid {who.requester_pid}" if who.requester_pid not in {None, who.pid} else ""
    return [f"{iso(story.at.wall_ns)} {by}{requester}, came in by {escaped(who.origin)}"]


def _evidence(cause: Cause) -> list[str]:
    ended = f": {escaped(cause.exit)}" if cause.exit else f" ({escaped(cause.reason)})" if cause.reason else ""
    start = "" if cause.spawn is None else f" of start {cause.spawn}"
    tail = [f"  {escaped(line)}" for line in cause.log_tail[-_TAIL_LINES:]]
    return [f"event {cause.seq}, {escaped(cause.event)}{start}{ended}{'; its last lines:' if tail else ''}", *tail]


def _done(story: Story) -> Iterator[str]:
    if story.ending is Ending.REFUSED:
        yield "nothing: it was not begun"
        return
    yield ", ".join(map(_stage, story.stages))
    yield from (f"{span.name}: {escaped(span.note)}" for span in story.stages if span.note)
    yield from _notes(story.starts)
    for tried in story.tries:
        generation = "" if tried.generation is None else f" (generation {tried.generation})"
        yield f"went back to {escaped(tried.environment)}{generation}" + (
            f", in vain: {escaped(tried.failure)}" if tried.failure else ""
        )
    if story.nothing_stopped:
        yield f"{escaped(story.serving)} was not stopped"
    if story.takeovers:
        yield f"on the way {escaped(story.losses[0])} (event {story.takeovers[0]}); its successor went on"


def _restored(restored: Restored) -> Iterator[str]:
    """What was brought back over what, what had changed in between, and that nothing is lost."""
    what_for, nothing = ("brought back", "nothing differed")
    if restored.interrupted:
        what_for, nothing = ("brought back, what an interrupted try had left of it", "nothing")
    done = f"{what_for}: {_listed(_files(restored)) or nothing}" if restored.ok else "not brought back"
    error = f" ({escaped(restored.error)})" if restored.error else ""
    where = f", {restored.ref} in its .cec" if restored.ref else ""
    what = f"generation {restored.generation} of {escaped(restored.environment)}"
    yield f"{what} {done}{error}; what was there is generation {restored.saved}{where}"
    changed = _listed([change_text(change) for change in restored.changed if change.kind != "file"])
    if changed:
        yield f"what had changed since then: {changed}"


def _files(restored: Restored) -> list[str]:
    return [*map(escaped, restored.written), *(f"{escaped(name)} (removed)" for name in restored.removed)]


def _listed(said: Sequence[str]) -> str:
    more = f" and {len(said) - _LISTED} more" if len(said) > _LISTED else ""
    return ", ".join(said[:_LISTED]) + more


def _notes(starts: Sequence[Start]) -> Iterator[str]:
    """Each note once, with the starts that it is about."""
    for note in dict.fromkeys(note for start in starts for note in start.notes):
        about = ", ".join(f"{escaped(s.environment)} (start {s.spawn})" for s in starts if note in s.notes)
        yield f"{about}: {escaped(note)}"


def _stage(span: Span) -> str:
    towards = f" to {escaped(span.environment)}" if span.name == "rolling_back" and span.environment else ""
    lasted = "(lasts)" if span.duration_ns is None else duration(span.duration_ns)
    return f"{span.name}{towards} {lasted}{' (failed)' if span.failed else ''}"


def _probes(start: Start) -> str:
    probes = start.probes
    if not probes.ok and not probes.failed:
        return f"{escaped(start.environment)} (start {start.spawn}): none"
    typical = f", typically {duration(probes.typical_ns)}" if probes.typical_ns is not None else ""
    error = f" ({escaped(cut(probes.last_error, _WIDTH))})" if probes.last_error else ""
    return f"{escaped(start.environment)} (start {start.spawn}): {probes.ok} ok{typical}, {probes.failed} failed{error}"


def _signals(story: Story) -> list[str]:
    sent = [f"{escaped(s.signal)} to {escaped(s.environment)} (start {s.spawn})" for s in story.signals]
    more = f" and {len(sent) - _SIGNALS} more" if len(sent) > _SIGNALS else ""
    return [", ".join(sent[:_SIGNALS]) + more] if sent else []


def _outage(story: Story) -> list[str]:
    silence = story.silence
    if story.ending is Ending.REFUSED or (story.ending is Ending.ABORTED and silence is None):
        return []  # of whom nobody looked
    if silence is None:
        return [f"none: {escaped(story.source)} answered all the time" if story.source else "none"]
    at_least = "at least " if silence.at_least else ""
    if silence.ns is None:
        return [f"since {iso(silence.since.wall_ns)} nobody answered"]
    return [f"nobody answered for {at_least}{duration(silence.ns)}"]


def _serves(present: Present, story: Story) -> str:
    serving = present.serving
    supervised = "" if present.orchestrator_pid is not None else "; no orchestrator is at work"
    if serving is None:
        return f"{'a ComfyUI started by hand' if story.manual else 'nothing'}{supervised}"
    who = f"{escaped(serving.environment)} (start {serving.spawn}, pid {serving.pid})"
    if serving.unresponsive_since is not None:
        who = f"{who}, which has not answered since {serving.unresponsive_since}"
    return f"{who}{supervised}" if serving.alive else f"nothing: {who} was the last, and no longer runs{supervised}"


def next_steps(story: Story, present: Present, workspace: str) -> Iterator[str]:
    """Commands to paste, the most useful one first."""
    where = f"--workspace {shlex.quote(workspace)}"
    again = f"comfygit-orchestrator switch {where} {shlex.quote(story.target)}"
    if story.recovery_command:
        yield story.recovery_command
    elif present.orchestrator_pid is None:
        yield f"comfygit-orchestrator spawn {where}"
    yield from _undo(story, where)
    if story.cause is not None and story.cause.log:
        yield f"less {shlex.quote(f'{workspace}/.metadata/{story.cause.log}')}"
    match story.ending, None if story.cause is None else story.cause.reason:
        case Ending.OPEN, _:
            yield f"comfygit-journal log {where} --follow --switch {story.switch}"
            yield f"comfygit-orchestrator abort {where}"
        case Ending.REFUSED, "already_serving":
            yield f"comfygit-orchestrator restart {where}"
        case Ending.REFUSED, "unknown_environment" | "bad_name":
            yield f"ls {shlex.quote(f'{workspace}/environments')}"
        case Ending.REFUSED, "switch_open":
            yield f"comfygit-orchestrator abort {where}"
        case Ending.REFUSED, _:
            yield f"comfygit-orchestrator status {where}"
            yield again
        case _:
            yield f"comfygit-journal log {where} --switch {story.switch}"
    if story.ending in {Ending.ROLLED_BACK, Ending.ABORTED} and story.kind == "switch":
        yield again


def _undo(story: Story, where: str) -> Iterator[str]:
    """How to have back what a restore has overwritten, unless the switch itself has brought that back."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for restored in story.restores:
        first.setdefault(restored.environment, restored.saved)
        last[restored.environment] = restored.generation
    for environment, saved in first.items():
        if last[environment] != saved and story.ending is not Ending.OPEN:
            yield f"comfygit-orchestrator rollback {where} --to {saved}   # undoes what was brought back"


def story_document(story: Story, present: Present) -> dict[str, Any]:
    """The story as JSON: times ISO 8601, durations in nanoseconds, unknown ones null."""
    document = attrs.asdict(story, value_serializer=_serialised)
    return {**document, "present": attrs.asdict(present)}


def _serialised(_instance: Any, _field: Any, value: Any) -> Any:
    return iso(value.wall_ns) if isinstance(value, Stamp) else value

"""`switches`: a line for each."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from comfygit_journal.durations import duration
from comfygit_journal.escaping import escaped
from comfygit_journal.lines import as_json, iso
from comfygit_journal.opening import reading, warn
from comfygit_journal.tables import plain_table
from journal.codec import Recorded
from journal.events import SwitchRefused, SwitchRequested
from projections.story import ENDS, Ending, ending_of
from projections.story_telling import between_ns

_TYPES: Final = tuple(cls.stored_name for cls in (SwitchRequested, SwitchRefused, *ENDS))


@attrs.frozen
class SwitchLine:
    """One switch. `duration_ns` is None while it is open."""

    switch: int
    wall_ns: int
    kind: str
    source: str
    target: str
    ending: Ending
    duration_ns: int | None
    error: str


def switches(root: Path | None, *, as_document: bool) -> int:
    """Print every switch, oldest first."""
    with reading(root) as (_, reader):
        lines = summaries(reader.newest_of(_TYPES))
        if as_document:
            print(as_json([_document(line) for line in lines], indent=2))
        elif lines:
            sys.stdout.writelines(f"{line}\n" for line in plain_table(_HEADINGS, [_cells(line) for line in lines]))
        else:
            warn("there is no switch yet")
    return 0


def summaries(events: Iterable[Recorded]) -> list[SwitchLine]:
    """The switches in `events` (ascending; others are passed over). Pure."""
    found: dict[int, SwitchLine] = {}
    asked: dict[int, Recorded] = {}
    for recorded in events:
        event = recorded.event
        if isinstance(event, SwitchRequested):
            asked[recorded.seq] = recorded
            found[recorded.seq] = _line(recorded, event, event.kind.value, Ending.OPEN)
        elif isinstance(event, SwitchRefused):
            found[recorded.seq] = _line(recorded, event, "switch", Ending.REFUSED, 0, event.message)
        elif isinstance(event, ENDS) and asked:
            number = recorded.switch if recorded.switch in asked else max(asked)
            found[number] = attrs.evolve(
                found[number],
                ending=ending_of(event),
                duration_ns=between_ns(asked[number].at, recorded.at),
                error=getattr(event, "error", ""),
            )
    return list(found.values())


def _line(
    recorded: Recorded,
    event: SwitchRequested | SwitchRefused,
    kind: str,
    ending: Ending,
    duration_ns: int | None = None,
    error: str = "",
) -> SwitchLine:
    return SwitchLine(
        switch=recorded.seq,
        wall_ns=recorded.at.wall_ns,
        kind=kind,
        source=event.source,
        target=event.target,
        ending=ending,
        duration_ns=duration_ns,
        error=error,
    )


_HEADINGS: Final = ("switch", "when", "from -> to", "outcome", "took", "error")


def _cells(line: SwitchLine) -> tuple[str, ...]:
    way = f"{line.source or '(nothing)'} -> {line.target}" if line.kind != "recover" else f"recovery of {line.target}"
    took = "-" if line.duration_ns is None or line.ending is Ending.REFUSED else duration(line.duration_ns)
    cells = (str(line.switch), iso(line.wall_ns), way, line.ending.value, took, line.error)
    return tuple(map(escaped, cells))


def _document(line: SwitchLine) -> dict[str, Any]:
    return {**attrs.asdict(line), "at": iso(line.wall_ns), "ending": line.ending.value}

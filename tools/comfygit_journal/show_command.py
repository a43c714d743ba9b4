"""`show`: everything about one event."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from comfygit_journal.errors import CommandError
from comfygit_journal.escaping import escaped
from comfygit_journal.lines import as_json, document, short
from comfygit_journal.opening import reading
from comfygit_journal.reading import Reader

_CAUSES_MAX: Final = 100


def show(root: Path | None, seq: int, *, as_document: bool) -> int:
    """Print it with its envelope and the chain of its causes. Raises CommandError when there is no such event."""
    with reading(root) as (_, reader):
        row = reader.row(seq)
        if row is None:
            if reader.damage is not None:
                return 1
            head = reader.head()
            message = f"showing event {seq}: there is none"
            raise CommandError(message, f"there are events 1 to {head}" if head else "the journal is empty")
        found = document(row)
        causes = _causes(reader, found["cause"])
        if as_document:
            print(as_json(found | {"causes": causes}, indent=2))
        else:
            sys.stdout.writelines(f"{line}\n" for line in event_lines(found, causes))
    return 0


def _causes(reader: Reader, cause: Any) -> list[dict[str, Any]]:
    """The cause, its cause, and so on; an event cannot be caused by a later one, so this ends."""
    chain: list[dict[str, Any]] = []
    while isinstance(cause, int) and len(chain) < _CAUSES_MAX and (not chain or cause < chain[-1]["seq"]):
        row = reader.row(cause)
        if row is None:
            break
        chain.append(document(row))
        cause = chain[-1]["cause"]
    return chain


def event_lines(found: Mapping[str, Any], causes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The event for people. Pure."""
    yield f"event {found['seq']}: {escaped(str(found['type']))}, version {found['version']}"
    if "damaged" in found:
        yield f"  DAMAGED    {found['damaged']}"
    yield f"  at         {found['at']} (monotonic {found['monotonic_ns']} ns of boot {escaped(str(found['boot_id']))})"
    yield f"  by         {_actor(found['actor'])}"
    yield f"  switch     {'none' if found['switch'] is None else found['switch']}"
    yield f"  id         {escaped(str(found['id']))}"
    yield f"  hash       {escaped(str(found['hash']))}"
    yield "  says"
    data = found["data"]
    for key, value in data.items() if isinstance(data, dict) else [("data", data)]:
        yield from _field(escaped(str(key)), value)
    if causes:
        yield "  because of"
        yield from (f"  {short(cause)}" for cause in causes)
    elif found["cause"] is not None:
        yield f"  because of event {found['cause']}, which cannot be read"


def _actor(actor: Any) -> str:
    try:
        identity = actor["identity"]
        return escaped(
            f"{actor['role']}, pid {identity['pid']} (started at tick {identity['start_ticks']}) on {actor['host']}"
        )
    except (TypeError, KeyError):
        return escaped(str(actor))


def _field(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, list) and value:
        yield f"    {key}:"
        yield from (f"      {_words(item)}" for item in value)
    else:
        yield f"    {key}: {_words(value)}"


def _words(value: Any) -> str:
    return escaped(value) if isinstance(value, str) and value else as_json(value)

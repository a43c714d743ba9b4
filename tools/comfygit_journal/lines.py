"""Stored events as JSON documents and as lines. Pure, and standard library only: `log` must not wait for imports.

Nothing here decodes into event classes: what a newer release stored, or a damaged row, is shown as it is.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from comfygit_journal.escaping import cut, escaped
from projections.endings import ended

VALUE_LENGTH = 100
"""Characters of one value in a line."""
_NAME_LENGTH = 22
_LOST = "orchestrator.lost"


def iso(wall_ns: Any) -> str:
    """As `journal.clock.iso`, whose import takes longer than all of this; a number that no calendar holds, as that."""
    try:
        at = datetime.fromtimestamp(wall_ns // 10**9, UTC).replace(microsecond=wall_ns % 10**9 // 1000)
    except (ValueError, OverflowError, OSError, TypeError):
        return f"{wall_ns} ns"
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document(row: Sequence[Any]) -> dict[str, Any]:
    """A row of the journal, in the order of its columns, as the JSON that is printed.

    A damaged one has the key `damaged`, which says what is wrong, and what could not be parsed as its text.
    """
    seq, row_id, name, version, wall_ns, monotonic_ns, boot_id, actor, switch, cause, data, digest = row
    found = {
        "seq": seq,
        "at": iso(wall_ns),
        "type": name,
        "version": version,
        "switch": switch,
        "cause": cause,
        "actor": _parsed(actor),
        "data": _parsed(data),
        "id": row_id,
        "wall_ns": wall_ns,
        "monotonic_ns": monotonic_ns,
        "boot_id": boot_id,
        "hash": digest.hex() if isinstance(digest, bytes) else digest,
    }
    wrong = next((key for key in ("type", "actor", "data") if not _is_whole(found[key], key)), "")
    return found | {"damaged": f"its {wrong} cannot be read"} if wrong else found


def _is_whole(value: Any, key: str) -> bool:
    return isinstance(value, str if key == "type" else dict)


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return text


def as_json(value: Any, indent: int | None = None) -> str:
    """ASCII JSON; DEL, the one control character that JSON lets through, escaped as well."""
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(value, indent=indent, separators=separators).replace("\x7f", "\\u007f")


def cells(found: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """The document as seq, time, switch, name, and what it says, in words that a terminal can be given."""
    switch = "-" if found["switch"] is None else f"#{found['switch']}"
    data = found["data"]
    said = [f"{escaped(str(key))}={value_of(value)}" for key, value in data.items()] if isinstance(data, dict) else []
    if found["type"] == _LOST and isinstance(data, dict):
        said.append(f"({escaped(_loss(data))})")
    if "damaged" in found:
        said.append(f"DAMAGED: {found['damaged']}")
    return escaped(str(found["seq"])), found["at"], escaped(switch), escaped(str(found["type"])), " ".join(said)


def _loss(data: Mapping[str, Any]) -> str:
    identity = data.get("identity")
    pid = identity.get("pid") if isinstance(identity, dict) else None
    return ended(pid, data.get("code"), data.get("signal"), became_guard=data.get("became_guard"))


def short(found: Mapping[str, Any]) -> str:
    """The document as one line of `cells`."""
    seq, at, switch, name, said = cells(found)
    return f"{seq:>6}  {at}  {switch:>6}  {name:<{_NAME_LENGTH}}  {said}".rstrip()


def value_of(value: Any, length: int = VALUE_LENGTH) -> str:
    """One value of an event in at most `length` characters: words as they are, all else as JSON."""
    if isinstance(value, str) and value and " " not in value and value.isprintable():
        return cut(value, length)
    return cut(escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":"))), length)


def rendered(documents: Iterable[Mapping[str, Any]], output: str) -> Iterator[str]:
    """Lines of `short`, `jsonl` or `json` (one array, an event a line). The documents may still be on their way."""
    if output == "short":
        yield from map(short, documents)
    elif output == "jsonl":
        yield from map(as_json, documents)
    else:
        before = "["
        for found in documents:
            yield f"{before}{as_json(found)}"
            before = ","
        yield "]" if before == "," else "[]"

"""What the stand-in is told to do wrong, from `misbehave.json` beside `main.py`.

The file is read at each start. It holds one object of keys, or
`{"starts": [...]}` with one object per successive start, the last one repeating.
"""

import dataclasses
import json
import os
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "misbehave.json"
STARTS_FILE = "starts.jsonl"


class MisbehaviourError(ValueError):
    """`misbehave.json` asks for something that the stand-in cannot do."""


@dataclass(frozen=True, kw_only=True)
class Misbehaviour:
    """One start's orders; the defaults are a ComfyUI in good health.

    Seconds end in `_s`. An exit code below 0 means killed by that signal.
    """

    start_delay_s: float = 0.0
    stop_delay_s: float = 0.05
    prompt_s: float = 0.1

    die_at_start: int | None = None
    die_message: str = "stand-in: told to die at start"
    die_delay_s: float = 0.0
    import_error: str | None = None
    hang: bool = False
    open_then_die_s: float | None = None
    exit_after_s: float | None = None
    exit_code: int | None = None

    status: int | None = None
    slow_s: float = 0.0
    mute: bool = False
    flapping: bool = False
    wrong_body: bool = False

    flood: int = 0
    flood_line_bytes: int = 100
    non_utf8: bool = False

    ignore_sigterm: bool = False
    ignore_sigint: bool = False
    fork_session: bool = False
    double_fork: bool = False


KEYS = tuple(field.name for field in dataclasses.fields(Misbehaviour))
_HINTS = typing.get_type_hints(Misbehaviour)


def _fits(key: str, value: object) -> bool:
    hint = _HINTS[key]
    if isinstance(value, bool):
        return hint is bool
    if isinstance(value, int) and float in (hint, *typing.get_args(hint)):
        return True
    return isinstance(value, hint)


def _one(orders: object) -> Misbehaviour:
    if not isinstance(orders, Mapping):
        msg = f"{FILE}: an object of keys was expected, found {orders!r}"
        raise MisbehaviourError(msg)
    unknown = sorted(set(orders) - set(KEYS))
    if unknown:
        msg = f"{FILE}: unknown keys: {', '.join(unknown)}; known: {', '.join(KEYS)}"
        raise MisbehaviourError(msg)
    for key, value in orders.items():
        if not _fits(key, value):
            msg = f"{FILE}: {key} is {value!r}, not of type {_HINTS[key]}"
            raise MisbehaviourError(msg)
    return Misbehaviour(**orders)


def parse(document: object) -> tuple[Misbehaviour, ...]:
    """Turn the whole document into one entry per start, at least one.

    Raises MisbehaviourError naming the keys that it does not know.
    """
    if isinstance(document, Mapping) and "starts" in document:
        starts = document["starts"]
        if len(document) > 1 or not isinstance(starts, list) or not starts:
            msg = f"{FILE}: 'starts' stands alone and is a list of at least one object"
            raise MisbehaviourError(msg)
        return tuple(_one(orders) for orders in starts)
    return (_one(document),)


def note_start(home: Path) -> int:
    """Append this process to `starts.jsonl` and give its index there (from 0)."""
    line = json.dumps({"pid": os.getpid(), "argv": sys.argv}) + "\n"
    with (home / STARTS_FILE).open("a+", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        file.seek(0)
        lines = file.readlines()
    return len(lines) - 1 - lines[::-1].index(line)


def at_this_start(home: Path) -> Misbehaviour:
    """Count this start and give its orders; without a file, good health."""
    index = note_start(home)
    path = home / FILE
    if not path.exists():
        return Misbehaviour()
    entries = parse(json.loads(path.read_text(encoding="utf-8")))
    return entries[min(index, len(entries) - 1)]

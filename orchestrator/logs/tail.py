"""The last lines of a log of any size, fit to be shown: no escape sequences, no endless lines."""

import os
import re
from pathlib import Path
from typing import Final

MAX_LINE_CHARS: Final = 2_000

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC and the other strings: titles, links
    r"|\x1b[ -/]*[0-~]"  # two-character sequences
)
_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in b"\t"}


def tail(path: Path, lines: int, max_bytes: int = 64 * 1024) -> tuple[str, ...]:
    """The last `lines` lines of `path`, oldest first, in a time that does not grow with the file.

    Only the last `max_bytes` are looked at; a line that begins before them is left out, unless it is all there is.
    Bytes that are not UTF-8 become U+FFFD. Of a line that overwrites itself (a progress bar) the last state is shown,
    and of a long one the first MAX_LINE_CHARS. Empty for a file that is missing or cannot be read.
    """
    if lines <= 0:
        return ()
    try:
        raw, whole = _last_bytes(path, max_bytes)
    except OSError:
        return ()
    found = raw.removesuffix(b"\n").split(b"\n") if raw else []
    if not whole and len(found) > 1:
        del found[0]
    return tuple(shown(line) for line in found[-lines:])


def _last_bytes(path: Path, max_bytes: int) -> tuple[bytes, bool]:
    """Up to `max_bytes` from the end, and whether they begin a line."""
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - max_bytes)
        file.seek(max(0, start - 1))
        raw = file.read(size - max(0, start - 1))
    return (raw, True) if start == 0 else (raw[1:], raw[:1] == b"\n")


def shown(line: bytes) -> str:
    """One line of output as `tail` gives it."""
    states = _ESCAPES.sub("", line.decode("utf-8", "replace")).split("\r")
    state = next((state for state in reversed(states) if state), "")
    return state.translate(_CONTROLS)[:MAX_LINE_CHARS]

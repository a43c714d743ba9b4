"""`supervisor-switch.log`: what happens during a switch, told line by line to whoever looks on.

One JSON object per line: `{"timestamp": ISO 8601 UTC, "level", "message"}`, in ASCII, so that no reader, however it
splits lines, finds half of one. Other programs write here too, and not always JSON. A line that cannot be kept (disk
full, no such folder) is lost and nothing else is: the journal is the record.
"""

import json
import os
import re
from collections import deque
from pathlib import Path
from typing import IO, Final, TypedDict

from journal.clock import S, Stamp, is_over, iso
from journal.masking import mask
from orchestrator.logs.capping import was_cut
from orchestrator.logs.holes import read_data
from orchestrator.logs.rotation import private, rotate, rotated_path
from orchestrator.logs.tail import MAX_LINE_CHARS, shown

ROTATE_BYTES: Final = 4 * 1024 * 1024
"""A log above this is copied to `<name>.1` and emptied before the next line."""
SHOWN_LINES: Final = 80
"""Entries that readers show."""
MIRRORED_LINES_PER_S: Final = 200
"""In any second."""
MIRRORED_BYTES: Final = 1024 * 1024
"""What one mirror appends to the switch log altogether."""
STEP_BYTES: Final = 1024 * 1024
"""What one step of a mirror reads: a millisecond or two."""

_BLOCK_BYTES = 64 * 1024
_MOST_READ_BYTES = 1024 * 1024
_LONGEST_LINE_BYTES = 12 * MAX_LINE_CHARS + 256  # in ASCII the worst character takes 12
_MOST_PENDING_BYTES = 16 * 1024
_LAST_STEPS = 16
_CLOCK_TIME = re.compile(r"\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)[\d.:Z+-]*")


class LogEntry(TypedDict):
    """One line as it may be shown: no control characters, at most MAX_LINE_CHARS. No timestamp: the line had none."""

    timestamp: str | None
    level: str
    message: str


class SwitchLog:
    """The log at `path`; opened for each line, so that it may be deleted or rotated at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rotated = rotated_path(path)
        self._rotate_above_bytes = ROTATE_BYTES

    def write(self, level: str, message: str, at: Stamp) -> int:
        """Append one line, by one write, secrets masked. Bytes appended: 0 when it could not be kept.

        A file that is made has mode 0600. `level` is one of logging's, and kept in lower case.
        """
        entry = {"timestamp": iso(at.wall_ns), "level": level.lower(), "message": mask(_encodable(message))}
        line = json.dumps(entry).encode("ascii") + b"\n"
        try:
            with open(self._path, "ab+", buffering=0, opener=private) as file:
                size = file.seek(0, os.SEEK_END)
                if size > self._rotate_above_bytes:
                    size = self._rotate(file, size)
                return file.write(line if _ends_a_line(file, size) else b"\n" + line)
        except OSError:
            return 0

    def entries(self, lines: int = SHOWN_LINES) -> list[LogEntry]:
        """The last `lines`, oldest first, in a time that does not grow with the file. What is no JSON is a message."""
        found = _last_lines(self._path, lines)
        if len(found) < lines:
            found = [*_last_lines(self._rotated, lines - len(found)), *found]
        return [_entry(line) for line in found]

    def last(self, lines: int = SHOWN_LINES) -> list[str]:
        """The same for a terminal: `HH:MM:SS LEVEL message`, in UTC; without the time where there is none."""
        return [_rendered(entry) for entry in self.entries(lines)]

    def _rotate(self, file: IO[bytes], size: int) -> int:
        """Copy and truncate, as followers expect. The size afterwards: unchanged where there is no room for a copy."""
        if not rotate(file, self._rotated, size):
            self._rotate_above_bytes = size + ROTATE_BYTES
            return size
        self._rotate_above_bytes = ROTATE_BYTES
        return 0


class OutputMirror:
    """ComfyUI's output, line by line into the switch log: enough to see what happens, never a flood.

    One for a switch: what it may append is counted from its making. It keeps no file open.
    """

    def __init__(self, log: Path, switch_log: SwitchLog) -> None:
        """Mirror `log` from its first byte."""
        self._log = log
        self._switch_log = switch_log
        self._read_to = 0
        self._pending = b""
        self._recent: deque[Stamp] = deque(maxlen=MIRRORED_LINES_PER_S)
        self._appended_bytes = 0
        self._left_out = 0
        self._at: Stamp | None = None

    def follow(self, log: Path) -> None:
        """Go on with another file, from its first byte: the next start of the same switch. The allowance stays."""
        self._flush()
        self._log = log
        self._read_to = 0

    def step(self, now: Stamp) -> bool:
        """Mirror what is new, STEP_BYTES of it at most. Whether there may be more already.

        A file that is not there yet, or cannot be read, has nothing new. One that shrank is read from its start.
        """
        self._at = now
        chunk, is_more = self._read()
        begin = 0
        while (end := chunk.find(b"\n", begin)) >= 0:
            if not self._is_allowed(now):
                self._left_out += chunk.count(b"\n", begin)
                self._pending = b""
                begin = chunk.rfind(b"\n") + 1
                break
            self._mirror(chunk[begin:end], now)
            begin = end + 1
        self._pending = _bounded(self._pending + chunk[begin:])
        return is_more

    def finish(self, now: Stamp | None = None) -> None:
        """Mirror the rest, a last line without its end included, and say how many lines were left out, if any.

        Without `now` the time is that of the last step; had there been none, nothing is written. Twice is harmless.
        """
        at = now or self._at
        if at is None:
            return
        is_all = any(not self.step(at) for _ in range(_LAST_STEPS))
        self._flush()
        if self._left_out:
            lines = "1 line" if self._left_out == 1 else f"{self._left_out:,} lines"
            more = "" if is_all else "more than "
            rest = "its beginning and its newest part are" if was_cut(self._log) else "all of it is"
            self._switch_log.write("warning", f"{more}{lines} of the output left out; {rest} in {self._log}", at)
            self._left_out = 0

    def _read(self) -> tuple[bytes, bool]:
        try:
            with self._log.open("rb", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                if size < self._read_to:
                    self._read_to = 0
                    self._pending = b""
                chunk, end = read_data(file.fileno(), self._read_to, STEP_BYTES)
        except OSError:
            return b"", False
        if end - len(chunk) > self._read_to:  # what was there has been cut out
            self._left_out += 1
            self._pending = b""
        self._read_to = end
        return chunk, end < size

    def _flush(self) -> None:
        if self._pending and self._at is not None:
            if self._is_allowed(self._at):
                self._mirror(b"", self._at)
            else:
                self._left_out += 1
        self._pending = b""

    def _is_allowed(self, now: Stamp) -> bool:
        if self._appended_bytes > MIRRORED_BYTES - 2 * _LONGEST_LINE_BYTES:  # room for this one and the last word
            return False
        return len(self._recent) < MIRRORED_LINES_PER_S or is_over(self._recent[0], S, now)

    def _mirror(self, end_of_line: bytes, now: Stamp) -> None:
        """A line, what is pending first. A blank one is not shown but counts: a flood of them is a flood too."""
        line = shown(_bounded(self._pending + end_of_line)).rstrip()
        self._pending = b""
        self._recent.append(now)
        if not line:
            return
        appended = self._switch_log.write("info", line, now)
        self._appended_bytes += appended
        if not appended:
            self._left_out += 1


def _encodable(text: str) -> str:
    """Lone surrogates, which come from undecodable file names, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _ends_a_line(file: IO[bytes], size: int) -> bool:
    """Whether nobody died within a line. One that another program is just writing makes a blank line, no more."""
    if size == 0:
        return True
    file.seek(size - 1)
    return file.read(1) == b"\n"


def _bounded(line: bytes) -> bytes:
    """The start of a long line; of one that overwrites itself (a progress bar) its last state."""
    if len(line) <= _MOST_PENDING_BYTES:
        return line
    state = line[line.rstrip(b"\r").rfind(b"\r") + 1 :]
    return state[:_MOST_PENDING_BYTES]


def _last_lines(path: Path, lines: int) -> list[bytes]:
    """Read backwards until there are enough, _MOST_READ_BYTES at most.

    A line that begins before them is left out, and so are blank ones.
    """
    if lines <= 0:
        return []
    raw = b""
    try:
        with path.open("rb", buffering=0) as file:
            start = file.seek(0, os.SEEK_END)
            while start > 0 and len(raw) < _MOST_READ_BYTES and raw.count(b"\n") <= lines:
                step = min(_BLOCK_BYTES, start)
                start = file.seek(start - step)
                raw = file.read(step) + raw
    except OSError:
        return []
    found = raw.removesuffix(b"\n").split(b"\n") if raw else []
    if start > 0 and len(found) > 1:
        del found[0]
    return [line for line in found if line.strip()][-lines:]


def _entry(line: bytes) -> LogEntry:
    try:
        parsed = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("message"), str):
        return {"timestamp": None, "level": "info", "message": shown(line)}
    timestamp, level = parsed.get("timestamp"), parsed.get("level")
    return {
        "timestamp": timestamp if isinstance(timestamp, str) and _CLOCK_TIME.fullmatch(timestamp) else None,
        "level": level if isinstance(level, str) and level.isascii() and level.isalpha() else "info",
        "message": _on_one_line(parsed["message"]),
    }


def _on_one_line(message: str) -> str:
    return shown(" ".join(message[: 2 * MAX_LINE_CHARS].splitlines()).encode("utf-8", "replace"))


def _rendered(entry: LogEntry) -> str:
    found = _CLOCK_TIME.match(entry["timestamp"] or "")
    time = f"{found[1]} " if found else ""
    return f"{time}{entry['level'].upper()} {entry['message']}"

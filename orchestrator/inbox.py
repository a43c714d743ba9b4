"""What others write for us: `.switch_request.json` and `.cmd`, read into facts. Nothing is acted on or removed here.

The public panel opens, writes and closes the request: at first look it is nearly always empty. So a file that is empty
or does not parse is unfinished until it has stayed the same for UNFINISHED_S; only then it is rejected.
"""

import base64
import hashlib
import json
import logging
import os
import stat
from pathlib import Path
from typing import Any, Final

import attrs

from journal.clock import S, Stamp, is_over, seconds
from orchestrator.workspace import name_problem
from orchestrator.world import AskKind, InboxItem
from projections.evolve_supervision import inbox_key
from projections.publisher import is_ours
from projections.views import REQUEST

_LOG = logging.getLogger(__name__)

COMMAND: Final = ".cmd"
TAKEN: Final = f"{REQUEST}.tmp.taken"
"""What a request is called from when it is taken in until what followed from it has been published."""
UNFINISHED_S: Final = 2.0
"""How long a file that does not parse may stay the same before it is rejected: 400 times the slowest write measured."""
STALE_S: Final = 300.0
"""A request that is older than this when an orchestrator starts is nobody's wish any more."""
READ_BYTES: Final = 64 * 1024
"""The largest file that is read; requests have some 200 bytes."""


@attrs.frozen
class _Found:
    content: bytes
    mtime_ns: int
    inode: int
    problem: str = ""

    @property
    def signature(self) -> tuple[bytes, int, int]:
        return self.content, self.mtime_ns, self.inode


class Inbox:
    """Looks at the foreign files of one `.metadata` folder."""

    def __init__(self, folder: Path, since: Stamp) -> None:
        """`since` is our start: commands that lay there before it were meant for somebody else."""
        self._folder = folder
        self._since = since
        self._first_seen: dict[str, tuple[tuple[bytes, int, int], Stamp]] = {}
        self._stuck: set[str] = set()
        self._there_at_start = frozenset(
            _key(name, found) for name in (COMMAND, REQUEST) if (found := _read(folder / name)) is not None
        )

    def look(self, now: Stamp, seq: int = 0) -> tuple[InboxItem, ...]:
        """What lies there now, the command first: an abort shall not wait behind a request.

        `seq` is the journal's last: a request that carries the number of a switch up to there is our own view.
        """
        looked = (self._item(COMMAND, now, seq), self._item(REQUEST, now, seq))
        return tuple(item for item in looked if item is not None)

    def remove(self, name: str, key: str) -> bool:
        """Remove the file if it is still the one with that key; whether it was. One that resists is not seen again."""
        path, aside = self._folder / name, self._folder / f"{name}.tmp.taken"
        found = _read(path)
        if found is None or _key(name, found) != key:
            return False
        try:
            if path.is_dir():
                path.rmdir()
                return True
            path.rename(aside)
            taken = _read(aside)
            if taken is not None and _key(name, taken) != key:  # another one was written in between
                aside.rename(path)
                return False
            aside.unlink(missing_ok=True)
        except OSError as error:
            _LOG.warning("removing %s: %s; it is passed over from now on", path, error)
            self._stuck.add(key)
            return False
        return True

    def _item(self, name: str, now: Stamp, seq: int) -> InboxItem | None:
        found = _read(self._folder / name)
        if found is None or (name == REQUEST and not found.problem and is_ours(found.content, seq)):
            self._first_seen.pop(name, None)
            return None
        if self._stuck and _key(name, found) in self._stuck:
            return None
        seen, at = self._first_seen.get(name, (None, now))
        if seen != found.signature:
            self._first_seen[name] = (found.signature, now)
            at = now
        parsed = found.problem or self._too_old(name, found) or _parse(name, found.content)
        if isinstance(parsed, dict):
            return attrs.evolve(_blank(name, found), content=found.content.decode("utf-8", "replace"), **parsed)
        if parsed == _UNPARSABLE and not is_over(at, seconds(UNFINISHED_S), now):
            return attrs.evolve(_blank(name, found), kind=AskKind.UNFINISHED)
        kept = base64.b64encode(found.content).decode("ascii")
        return attrs.evolve(_blank(name, found), kind=AskKind.REJECTED, problem=parsed, content=kept)

    def _too_old(self, name: str, found: _Found) -> str:
        """Why it is nobody's wish any more. Only asked of what lay there at our start: later on the wall clock may step."""
        if _key(name, found) not in self._there_at_start:
            return ""
        if name == COMMAND:
            return "" if found.mtime_ns >= self._since.wall_ns - S else "it is older than the orchestrator's start"
        before_us_s = (self._since.wall_ns - found.mtime_ns) / S
        return "" if before_us_s <= STALE_S else f"it was {before_us_s:.0f} s old when the orchestrator started"


_UNPARSABLE: Final = "it is empty or not JSON"


def _blank(name: str, found: _Found) -> InboxItem:
    return InboxItem(
        name=name,
        key=_key(name, found),
        kind=AskKind.REJECTED,
        sha256=hashlib.sha256(found.content).hexdigest(),
        mtime_ns=found.mtime_ns,
        inode=found.inode,
    )


def _key(name: str, found: _Found) -> str:
    return inbox_key(name, hashlib.sha256(found.content).hexdigest(), found.mtime_ns, found.inode)


def _read(path: Path) -> _Found | None:
    """The file without following links or blocking on a pipe; None when there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unreadable(path, f"it cannot be opened: {error.strerror}")
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return _Found(b"", status.st_mtime_ns, status.st_ino, "it is not a regular file")
        content = os.read(descriptor, READ_BYTES + 1)
    finally:
        os.close(descriptor)
    problem = f"it is larger than {READ_BYTES} bytes" if len(content) > READ_BYTES else ""
    return _Found(content[:READ_BYTES], status.st_mtime_ns, status.st_ino, problem)


def _unreadable(path: Path, problem: str) -> _Found | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return _Found(b"", status.st_mtime_ns, status.st_ino, problem)


def _parse(name: str, content: bytes) -> dict[str, Any] | str:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return _UNPARSABLE
    if not isinstance(document, dict):
        return "it is not a JSON object"
    return _parse_request(document) if name == REQUEST else parse_command(document)


def _parse_request(document: dict[str, Any]) -> dict[str, Any] | str:
    target, source = document.get("target_env"), document.get("source_env")
    if not isinstance(target, str) or not target or not _is_unicode(target):
        return "target_env is missing, empty or not text"
    if source is not None and (not isinstance(source, str) or not _is_unicode(source)):
        return "source_env is neither text nor null"
    if source and name_problem(source):
        return f"source_env: {name_problem(source)}"
    timestamp = document.get("timestamp", 0.0)
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float):
        return "timestamp is not a number"
    return {"kind": AskKind.SWITCH, "target": target, "source": source or ""}


def parse_command(document: dict[str, Any]) -> dict[str, Any] | str:
    """What a command says, as fields of an InboxItem; or why it is none."""
    command, pid, reason = document.get("command"), document.get("pid"), document.get("reason") or ""
    if not isinstance(command, str) or command not in {AskKind.RESTART, AskKind.SHUTDOWN, AskKind.ABORT}:
        return f"command is not {AskKind.RESTART}, {AskKind.SHUTDOWN} or {AskKind.ABORT}"
    if pid is not None and (isinstance(pid, bool) or not isinstance(pid, int)):
        return "pid is not a whole number"
    said = reason if isinstance(reason, str) and _is_unicode(reason) else ""
    return {"kind": AskKind(command), "reason": said, "pid": pid}


def _is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8: JSON may hold a lone surrogate."""
    return not any("\ud800" <= character <= "\udfff" for character in text)

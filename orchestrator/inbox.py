"""What others write for us: `.switch_request.json` and `.cmd`, read into facts. Nothing is acted on or removed here.

The public panel opens, writes and closes the request: at first look it is nearly always empty. So a file that is empty
or does not parse is unfinished until it has stayed the same for UNFINISHED_S; only then it is rejected.
"""

import base64
import contextlib
import hashlib
import json
import logging
import math
import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import attrs

from journal.clock import S, Stamp, is_over, seconds
from orchestrator.workspace import name_problem
from orchestrator.world import AskKind, InboxItem
from projections.evolve_supervision import inbox_key
from projections.publisher import is_ours, read_bytes
from projections.views import REQUEST

_LOG = logging.getLogger(__name__)

COMMAND: Final = ".cmd"
UNFINISHED_S: Final = 2.0
"""How long a file that does not parse may stay the same before it is rejected: 400 times the slowest write measured."""
STALE_S: Final = 300.0
"""A request that is older than this when an orchestrator starts is nobody's wish any more."""
_UNPARSABLE: Final = "it is empty, or not JSON, or names a thing twice"
_LAST_PID: Final = 2**31 - 1
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


def aside_of(path: Path) -> Path:
    """Where a file lies between being journaled and being gone. A crash may leave it there."""
    return path.with_name(f"{path.name}.tmp.taken")


def settle_asides(folder: Path, journaled: Collection[str], seq: int) -> None:
    """At a start: remove what a crash left aside.

    One that is not `journaled` (by its key) gets its place back, where that is free or holds only our own view: it was
    written in the very moment in which its predecessor was set aside.
    """
    for name in (COMMAND, REQUEST):
        path, aside = folder / name, aside_of(folder / name)
        left = _read(aside)
        if left is None:
            continue
        with contextlib.suppress(OSError):
            in_its_place = read_bytes(path)
            is_free = in_its_place is None or is_ours(in_its_place, seq)
            if _key(name, left) not in journaled and is_free:
                aside.replace(path)
            else:
                aside.unlink()


class Inbox:
    """Looks at the foreign files of one `.metadata` folder."""

    def __init__(self, folder: Path, since: Stamp | None) -> None:
        """`since` is our start: commands that lay there before it were meant for somebody else. None: nothing is too old.

        So it is after a guard's restart: what had been there before, its first orchestrator took away.
        """
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

    def set_aside(self, name: str, key: str) -> bool:
        """Rename the file out of the way if it is still the one with that key; whether it was.

        It lies under `aside_of(name)` until `drop_aside`, which is for when the views have been written: so a request that
        is missing while its switch is open, with nothing aside, was deleted by somebody else. One that resists is not seen
        again.
        """
        path, aside = self._folder / name, aside_of(self._folder / name)
        found = _read(path)
        if found is None or _key(name, found) != key:
            return False
        try:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
                return True
            path.rename(aside)
            taken = _read(aside)
            if taken is not None and _key(name, taken) != key:  # another one was written in between
                _put_back(aside, path)
                return False
        except OSError as error:
            _LOG.warning("removing %s: %s; it is passed over from now on", path, error)
            self._stuck.add(key)
            return False
        return True

    def drop_aside(self, name: str) -> None:
        """Remove what was set aside, if anything was. What resists is replaced by the next one."""
        with contextlib.suppress(OSError):
            aside_of(self._folder / name).unlink()

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
        document, torn = _document(found.content)
        flaw = found.problem or self._too_old(name, found)
        if torn and not flaw and not is_over(at, seconds(UNFINISHED_S), now):
            return attrs.evolve(_blank(name, found), kind=AskKind.UNFINISHED)
        parsed = flaw or torn or _parse(name, document)
        if isinstance(parsed, dict):
            return attrs.evolve(_blank(name, found), content=found.content.decode("utf-8"), **parsed)
        kept = base64.b64encode(found.content).decode("ascii")
        target = _target_in(document) if name == REQUEST else ""
        return attrs.evolve(_blank(name, found), problem=parsed, content=kept, target=target)

    def _too_old(self, name: str, found: _Found) -> str:
        """Why it is nobody's wish any more. Only asked of what lay there at our start: later on the wall clock may step."""
        if self._since is None or _key(name, found) not in self._there_at_start:
            return ""
        if name == COMMAND:
            return "" if found.mtime_ns >= self._since.wall_ns - S else "it is older than the orchestrator's start"
        before_us_s = (self._since.wall_ns - found.mtime_ns) / S
        return "" if before_us_s <= STALE_S else f"it was {before_us_s:.0f} s old when the orchestrator started"


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


def _put_back(aside: Path, path: Path) -> None:
    """Unless a still newer one lies there: then it counts as overwritten. Raises OSError."""
    try:
        os.link(aside, path)
    except FileExistsError:
        aside.unlink()
    except OSError:  # no hard links here
        aside.rename(path)
    else:
        aside.unlink()


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
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(READ_BYTES + 1)
    except OSError as error:
        return _unreadable(path, f"it cannot be read: {error.strerror}")
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


def _document(content: bytes) -> tuple[Any, str]:
    """The JSON document in it, and what is wrong ("" when nothing is)."""
    try:
        return _from_json(content.decode("utf-8").removeprefix("\ufeff")), ""
    except (ValueError, RecursionError):
        return None, _UNPARSABLE


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; whoever says two things under one name has said nothing. Raises ValueError."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError
    return document


def _no_constant(_name: str) -> None:
    """NaN and Infinity are no JSON. Raises ValueError."""
    raise ValueError


_from_json = json.JSONDecoder(object_pairs_hook=_each_key_once, parse_constant=_no_constant).decode


def _target_in(document: Any) -> str:
    """What can be understood of a request that is none: the environment that it names, in at most 255 characters."""
    target = document.get("target_env") if isinstance(document, dict) else None
    return target[:255] if isinstance(target, str) and _is_unicode(target) else ""


def _parse(name: str, document: Any) -> dict[str, Any] | str:
    """What is asked for, as fields of an InboxItem; else what is wrong with it."""
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
    return _timestamp_problem(document) or {"kind": AskKind.SWITCH, "target": target, "source": source or ""}


def parse_command(document: dict[str, Any]) -> dict[str, Any] | str:
    """What a command says, as fields of an InboxItem; or why it is none."""
    command, pid, reason = document.get("command"), document.get("pid"), document.get("reason")
    if not isinstance(command, str) or command not in {AskKind.RESTART, AskKind.SHUTDOWN, AskKind.ABORT}:
        return f"command is not {AskKind.RESTART}, {AskKind.SHUTDOWN} or {AskKind.ABORT}"
    if pid is not None and (isinstance(pid, bool) or not isinstance(pid, int) or not 0 < pid <= _LAST_PID):
        return "pid is no process's number"
    if reason is not None and (not isinstance(reason, str) or not _is_unicode(reason)):
        return "reason is neither text nor null"
    return _timestamp_problem(document) or {"kind": AskKind(command), "reason": reason or "", "pid": pid}


def _timestamp_problem(document: dict[str, Any]) -> str:
    """It may be missing: nothing depends on it. But what is not what it should be is not acted on."""
    timestamp = document.get("timestamp", 0.0)
    is_number = isinstance(timestamp, int | float) and not isinstance(timestamp, bool)
    return "" if is_number and abs(timestamp) < math.inf else "timestamp is not a number"


def _is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8: JSON may hold a lone surrogate."""
    return not any("\ud800" <= character <= "\udfff" for character in text)

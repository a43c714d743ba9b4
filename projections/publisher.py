"""The one writer of views: makes `.metadata` say what the state says.

Publish under the journal's write lock, with the state at the head: then two writers cannot overwrite a newer view with
an older one. Views are not fsynced: they are derived, and rewritten when the workspace is next opened.
"""

import contextlib
import errno
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from projections.state import WorkspaceState
from projections.views import LOCK, REQUEST, views, writing_order


@attrs.frozen
class Drift:
    """A view found on disk with other bytes than its own; `found` is None when it was missing."""

    name: str
    expected: bytes | None
    found: bytes | None


def compare(folder: Path, expected: Mapping[str, bytes | None]) -> tuple[Drift, ...]:
    """Where the files in `folder` differ from `expected`. Reads, and changes nothing."""
    found = {name: read_bytes(folder / name) for name in expected}
    return tuple(Drift(name, content, found[name]) for name, content in expected.items() if found[name] != content)


NOT_A_FILE: Final = b"(not a regular file that can be read)"
"""What is found where a pipe, a folder, a link or something unreadable lies under a view's name: never what we write."""
READ_BYTES: Final = 1 << 20
"""The most that is read of a file that others can write; views have some 300 bytes."""
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})


def read_bytes(path: Path) -> bytes | None:
    """The file's first READ_BYTES; None when there is none; NOT_A_FILE for anything that it would be wrong to read.

    Never blocks, whatever lies there: a pipe without a writer would, for ever, and with the write lock held.
    """
    try:
        return _content(path)
    except OSError:
        return NOT_A_FILE


def _content(path: Path) -> bytes | None:
    """The same, but for want of a descriptor it raises OSError: that says nothing of the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _NO_DESCRIPTOR:
            raise
        return NOT_A_FILE
    try:
        return os.read(descriptor, READ_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else NOT_A_FILE
    except OSError:
        return NOT_A_FILE
    finally:
        os.close(descriptor)


def is_ours(content: bytes, seq: int) -> bool:
    """Whether these bytes are a request or lock that we published: ours carry the number of a switch or claim up to `seq`.

    A number that the journal cannot know is somebody else's, or of a journal that is gone.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    numbers = [document.get("switch_id"), document.get("claim_id")] if isinstance(document, dict) else []
    return any(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= seq for n in numbers)


def _is_kept(name: str, content: bytes | None, found: bytes | None, seq: int) -> bool:
    """Whether a foreign file must not be overwritten or removed: a request at any time, a lock while there is none of ours."""
    if found is None or is_ours(found, seq):
        return False
    return name == REQUEST or (name == LOCK and content is None)


class Publisher:
    """Writes views into `folder`; remembers what it last wrote, to say what somebody else changed since."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the workspace's `.metadata`."""
        self._folder = folder
        self.problems: tuple[str, ...] = ()
        self._written: dict[str, bytes | None] = {}

    def publish(self, state: WorkspaceState) -> tuple[Drift, ...]:
        """Write every view that differs on disk, in the order that readers rely on; what others had changed is returned.

        A request that is not ours is left where it is until it has been taken in; a lock that is not ours until it is taken.
        A view that cannot be written, or not read for want of a descriptor, does not keep the others back: `problems` names
        it, and it is tried again each time.
        """
        wanted, written, problems = views(state), {}, []
        drifted = []
        for name in writing_order(state):
            content = wanted[name]
            try:
                found = _content(self._folder / name)
            except OSError as error:
                problems.append(f"reading {self._folder / name}: {error.strerror or error}")
                if name in self._written:
                    written[name] = self._written[name]
                continue
            if found != content:
                if _is_kept(name, content, found, state.seq):
                    continue
                if name in self._written and self._written[name] == content:
                    drifted.append(Drift(name, content, found))
                try:
                    self._write(name, content)
                except OSError as error:
                    problems.append(f"writing {self._folder / name}: {error.strerror or error}")
                    continue
            written[name] = content
        self._written, self.problems = written, tuple(problems)
        return tuple(drifted)

    def discard(self, name: str) -> None:
        """Take whatever lies under a view's name away. Raises OSError."""
        self._write(name, None)

    def _write(self, name: str, content: bytes | None) -> None:
        path = self._folder / name
        if path.is_dir() and not path.is_symlink():
            path.rename(self._folder / f"{name}.moved-aside.{os.getpid()}")
        if content is None:
            path.unlink(missing_ok=True)
            return
        temporary = self._folder / f"{name}.tmp.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def touch(self, name: str) -> None:
        """Set the file's mtime to now, where it exists: foreign programs take an old lock for a dead one."""
        with contextlib.suppress(OSError):
            os.utime(self._folder / name)

"""The one writer of views: makes `.metadata` say what the state says.

Publish under the journal's write lock, with the state at the head: then two writers cannot overwrite a newer view with
an older one. Views are not fsynced: they are derived, and rewritten when the workspace is next opened.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

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


def read_bytes(path: Path) -> bytes | None:
    """The file's bytes; None when there is no such file (or it is no file, or may not be read)."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def is_ours(content: bytes) -> bool:
    """Whether these bytes are a request or lock that we published: ours carry a `switch_id`."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("switch_id"), int)


def _is_kept(name: str, content: bytes | None, found: bytes | None) -> bool:
    """Whether a foreign file must not be overwritten or removed: a request at any time, a lock while there is none of ours."""
    if found is None or is_ours(found):
        return False
    return name == REQUEST or (name == LOCK and content is None)


class Publisher:
    """Writes views into `folder`; remembers what it last wrote, to say what somebody else changed since."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the workspace's `.metadata`."""
        self._folder = folder
        self._written: dict[str, bytes | None] = {}

    def publish(self, state: WorkspaceState) -> tuple[Drift, ...]:
        """Write every view that differs on disk, in the order that readers rely on; what others had changed is returned.

        A request that is not ours is left where it is until it has been taken in; a lock that is not ours until it is taken.
        """
        wanted = views(state)
        drifted = []
        for name in writing_order(state):
            content, found = wanted[name], read_bytes(self._folder / name)
            if found == content or _is_kept(name, content, found):
                continue
            if name in self._written and self._written[name] == content:
                drifted.append(Drift(name, content, found))
            self._write(name, content)
        self._written = wanted
        return tuple(drifted)

    def _write(self, name: str, content: bytes | None) -> None:
        path = self._folder / name
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
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._folder / name)

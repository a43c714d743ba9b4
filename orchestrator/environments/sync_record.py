"""What a sync by comfygit-core has in hand, written down beside it, so that a killed one loses nothing.

While it runs, `.cec/backups/sync/` (git-ignored by core) holds the manifest as it was, and the steps taken: whether it
was dirty, each time core wrote it, each node that was set aside, and how far core came with the one in its place.
`undo_interrupted` reads that after a kill: at once where the orchestrator saw the sync die, else at the start of the
next one.

Why core's rewriting of a dirty manifest is undone at all: core adds its dependency group and tool.uv settings to
`pyproject.toml`. Of a committed one git has the original; of a dirty one nobody would. What core stages in it besides
(a dependency group per tracked node that has none) is staged and installed again by the next sync: measured, that
one removes the packages of such a group and brings them back from uv's cache, and ends with the same venv.
"""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

import attrs

from journal import clock
from journal.clock import S
from orchestrator.environments.working_copies import is_committed

MANIFEST = "pyproject.toml"
_STEPS = "steps"
_DIRTY, _CLEAN, _WRITING, _WROTE = "dirty", "clean", "writing", "wrote"
_ASIDE, _COPYING, _COPIED = "aside", "copying", "copied"
_CHUNK_BYTES = 1 << 20

_Steps = list[list[str]]
"""Each what was done, and to what."""


@attrs.frozen
class Copies:
    """How far core came with the nodes that it installs: where it began to copy each from, and those that it ended."""

    begun: dict[str, Path]
    ended: set[str]


class SyncRecord:
    """The record of one running sync."""

    def __init__(self, cec: Path) -> None:
        """Begin it: a manifest that is there is kept. What an interrupted sync had left has to be undone before."""
        self.manifest = cec / MANIFEST
        self._cec = cec
        self._folder = _folder(cec)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._by_core = set[str]()
        self._said: list[str] = []
        self._remember(_content(self.manifest))

    def writing(self, *, in_place: bool = True) -> None:
        """Core is about to write the manifest. What somebody saved meanwhile is what comes back in the end.

        `in_place`: when it fails or is killed before it `wrote`, the manifest may be half of one.
        """
        present = _content(self.manifest)
        if present is not None and present != self._before and _digest(present) not in self._by_core:
            if self._before is not None and self._is_dirty:
                self._said.append(_changed_meanwhile(_kept_beside(self._cec, self._before)))
            self._remember(present)
        if in_place:
            self._step(_WRITING)

    def wrote(self) -> None:
        """Core has written the manifest."""
        digest = _digest(_content(self.manifest))
        self._by_core.add(digest)
        self._step(_WROTE, digest)

    def setting_aside(self, name: str, folder: str) -> None:
        """The node `name` is about to be renamed to `folder`."""
        self._step(_ASIDE, name, folder)

    def copying(self, name: str, source: Path) -> None:
        """Core is about to copy the node `name`, of which there is nothing yet, from its cache."""
        self._step(_COPYING, name, str(source))

    def copied(self, name: str) -> None:
        """Core has all of the node `name` in its place."""
        self._step(_COPIED, name)

    def copies(self) -> Copies:
        """What core has copied up to now."""
        return _copies(_steps(self._folder))

    def close(self) -> list[str]:
        """The sync is over: a sentence for each thing to know about the manifest.

        A dirty manifest gets its bytes back, if it is what core wrote, and so does one that core failed to write.
        """
        _, kept = _end_manifest(self._cec, _steps(self._folder))
        if kept is not None:
            self._said.append(_changed_meanwhile(kept))
        shutil.rmtree(self._folder)
        return self._said

    def _remember(self, before: bytes | None) -> None:
        self._before = before
        self._is_dirty = before is not None and not is_committed(self.manifest, before)
        if before is not None:
            put_back(self._folder / MANIFEST, before)
        self._step(_DIRTY if self._is_dirty else _CLEAN)

    def _step(self, *words: str) -> None:
        with (self._folder / _STEPS).open("a", encoding="ascii") as file:
            file.write(f"{json.dumps(words)}\n")
            file.flush()
            os.fsync(file.fileno())


def undo_interrupted(cec: Path, custom_nodes: Path) -> list[str]:
    """Bring back what a killed sync had in hand; a sentence for each thing done. Nothing to undo: empty, and quick.

    The manifest gets its bytes back when it was dirty and is what core had written, or when core was killed while
    writing it. If somebody has changed it since, it stays, and the bytes of before are kept beside the record.
    """
    folder = _folder(cec)
    if not folder.is_dir():
        return []
    steps = _steps(folder)
    copies = _copies(steps)
    said = [_returned(custom_nodes, copies, *step[1:]) for step in steps if step[0] == _ASIDE]
    is_back, kept = _end_manifest(cec, steps, after_kill=True)
    if is_back:
        said.append(f"{MANIFEST} is as it was before an interrupted sync")
    if kept is not None and is_back:
        said.append(f"what was in {MANIFEST}, half written or saved since, is kept in {kept}")
    elif kept is not None:
        said.append(f"{MANIFEST} was changed after an interrupted sync; as it was before is kept in {kept}")
    shutil.rmtree(folder)
    return [sentence for sentence in said if sentence]


def bring_back(node: Path, folder: Path, copies: Copies) -> tuple[bool, str]:
    """Give a node that was set aside as `folder` its name again, unless something whole is in its place.

    Gives whether it is back, and a remark. A copy that core began and did not end makes way: it is deleted if nobody has
    put anything into it, else it is set aside in its turn. What core had not begun to copy is somebody's, and stays.
    """
    source = copies.begun.get(node.name)
    if not os.path.lexists(node):
        folder.rename(node)
        return True, ""
    if source is None or node.name in copies.ended:
        return False, f"; the one before is kept in {folder}"
    unfinished = unused_aside(node)
    node.rename(unfinished)
    folder.rename(node)
    if _is_part_of(unfinished, source):
        shutil.rmtree(unfinished, ignore_errors=True)
        return True, ""
    return True, f"; an unfinished copy of another one, which may hold somebody's work, is kept in {unfinished}"


def unused_aside(node: Path) -> Path:
    """A name to set `node` aside as, which core and ComfyUI pass over: `<name>.<unix seconds>.disabled`."""
    second = clock.read().wall_ns // S
    while os.path.lexists(folder := node.with_name(f"{node.name}.{second}.disabled")):
        second += 1
    return folder


def put_back(file: Path, content: bytes) -> None:
    """Make `content` what `file` holds, at once or not at all; its mode stays, a link too. The same already: nothing."""
    if _content(file) == content:
        return
    file = Path(os.path.realpath(file))
    fresh = file.with_name(f".{file.name}.put-back")
    _write(fresh, content)
    if file.exists():
        shutil.copymode(file, fresh)
    fresh.replace(file)


def _folder(cec: Path) -> Path:
    return cec / "backups" / "sync"


def _steps(folder: Path) -> _Steps:
    """What was written down; a line that a full disk cut short says nothing, and nothing was done for it."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / _STEPS).read_text("ascii", "replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return found


def _copies(steps: _Steps) -> Copies:
    begun = {step[1]: Path(step[2]) for step in steps if step[0] == _COPYING}
    return Copies(begun, {step[1] for step in steps if step[0] == _COPIED})


def _returned(custom_nodes: Path, copies: Copies, name: str, aside: str) -> str:
    if not os.path.lexists(custom_nodes / aside):
        return ""
    is_back, remark = bring_back(custom_nodes / name, custom_nodes / aside, copies)
    if is_back:
        return f"custom node {name} is back, which an interrupted sync had set aside{remark}"
    return f"custom node {name} was replaced while a sync ran that was interrupted{remark}"


def _is_part_of(copy: Path, original: Path) -> bool:
    """Whether `copy` has nothing that `original` has not: it may lack files, and files may lack their ends."""
    try:
        return all(_is_begun(found, original / found.relative_to(copy)) for found in (copy, *copy.rglob("*")))
    except OSError:
        return False


def _is_begun(copy: Path, original: Path) -> bool:
    if copy.is_symlink():  # core copies what a link leads to
        return False
    if copy.is_dir():
        return original.is_dir()
    if not (copy.is_file() and original.is_file()):
        return False
    with copy.open("rb") as begun, original.open("rb") as whole:
        while chunk := begun.read(_CHUNK_BYTES):
            if chunk != whole.read(len(chunk)):
                return False
    return True


def _end_manifest(cec: Path, steps: _Steps, *, after_kill: bool = False) -> tuple[bool, Path | None]:
    """Whether the manifest got its bytes back, and where else the others are kept: those of before, or what was there."""
    before, present = _content(_folder(cec) / MANIFEST), _content(cec / MANIFEST)
    written = [step for step in steps if step[0] in {_WRITING, _WROTE}]
    if before is None or before == present or not written:
        return False, None
    is_dirty = [step for step in steps if step[0] in {_DIRTY, _CLEAN}][-1] == [_DIRTY]
    if written[-1] == [_WRITING]:  # half of core's; long after a kill it may also be what somebody has saved since
        kept = _kept_beside(cec, present) if after_kill and present else None
        put_back(cec / MANIFEST, before)
        return True, kept
    if is_dirty and [_WROTE, _digest(present)] in written:
        put_back(cec / MANIFEST, before)
        return True, None
    return False, _kept_beside(cec, before) if is_dirty else None


def _kept_beside(cec: Path, content: bytes) -> Path:
    kept = _numbered(cec / "backups" / MANIFEST)
    _write(kept, content)
    return kept


def _changed_meanwhile(kept: Path) -> str:
    return f"{MANIFEST} was changed while the sync ran, and stays so; as it was before is kept in {kept}"


def _numbered(file: Path) -> Path:
    number = 1
    while os.path.lexists(numbered := file.with_name(f"{file.name}.{number}")):
        number += 1
    return numbered


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _digest(content: bytes | None) -> str:
    return hashlib.sha256(content or b"").hexdigest()


def _write(file: Path, content: bytes) -> None:
    """Through to the disk: it is the only copy there is, as soon as core has written its own."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())

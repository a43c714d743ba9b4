"""What a sync by comfygit-core has in hand, written down beside it, so that a killed one loses nothing.

While it runs, `.cec/backups/sync/` (git-ignored by core) holds the manifest as it was, and the steps taken: whether it
was dirty, each time core wrote it, and each node that was set aside. `undo_interrupted` reads that after a kill: at
once where the orchestrator saw the sync die, else at the start of the next one.

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

from orchestrator.environments.working_copies import is_committed

MANIFEST = "pyproject.toml"
_STEPS = "steps"
_DIRTY, _CLEAN, _WRITING, _WROTE, _ASIDE = "dirty", "clean", "writing", "wrote", "aside"

_Steps = list[list[str]]
"""Each what was done, and to what."""


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


def undo_interrupted(cec: Path, custom_nodes: Path) -> list[str]:
    """Bring back what a killed sync had in hand; a sentence for each thing done. Nothing to undo: empty, and quick.

    The manifest gets its bytes back when it was dirty and is what core had written, or when core was killed while
    writing it. If somebody has changed it since, it stays, and the bytes of before are kept beside the record.
    """
    folder = _folder(cec)
    if not folder.is_dir():
        return []
    steps = _steps(folder)
    said = [_returned(custom_nodes, *step[1:]) for step in steps if step[0] == _ASIDE]
    is_back, kept = _end_manifest(cec, steps)
    if is_back:
        said.append(f"{MANIFEST} is as it was before an interrupted sync")
    if kept is not None:
        said.append(f"{MANIFEST} was changed after an interrupted sync; as it was before is kept in {kept}")
    shutil.rmtree(folder)
    return [sentence for sentence in said if sentence]


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


def _returned(custom_nodes: Path, name: str, aside: str) -> str:
    node, kept = custom_nodes / name, custom_nodes / aside
    if os.path.lexists(node) or not os.path.lexists(kept):
        return ""
    kept.rename(node)
    return f"custom node {name} is back, which an interrupted sync had set aside"


def _end_manifest(cec: Path, steps: _Steps) -> tuple[bool, Path | None]:
    """Whether the manifest got its bytes back, and where else those of before are kept."""
    before, present = _content(_folder(cec) / MANIFEST), _content(cec / MANIFEST)
    written = [step for step in steps if step[0] in {_WRITING, _WROTE}]
    if before is None or before == present or not written:
        return False, None
    is_dirty = [step for step in steps if step[0] in {_DIRTY, _CLEAN}][-1] == [_DIRTY]
    if written[-1] == [_WRITING] or (is_dirty and [_WROTE, _digest(present)] in written):
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

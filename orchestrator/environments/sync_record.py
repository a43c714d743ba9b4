"""What a sync by comfygit-core has in hand, written down beside it, so that a killed one loses nothing.

While it runs, `.cec/backups/sync/` (git-ignored by core) holds the manifest as it was, and the steps taken: whether it
was dirty, each time core wrote it, and each node that was set aside. `undo_interrupted` reads that after a kill: at
once where the orchestrator saw the sync die, else at the start of the next one.

Why core's rewriting of a dirty manifest is undone at all: core adds its dependency group and tool.uv settings to
`pyproject.toml`. Of a committed one git has the original; of a dirty one nobody would. What core stages in it besides
(a dependency group per tracked node that has none) is staged and installed again by the next sync: measured, that
one removes the packages of such a group and brings them back from uv's cache, and ends with the same venv.
"""

import hashlib
import os
import shutil
from pathlib import Path

from orchestrator.environments.working_copies import is_committed

MANIFEST = "pyproject.toml"
_STEPS = "steps"
_DIRTY, _CLEAN, _WRITING, _WROTE, _ASIDE = "dirty", "clean", "writing", "wrote", "aside"
_RETURNS = "/"
"""Between a node's name and the folder that it was set aside as: neither can hold one."""


class SyncRecord:
    """The record of one running sync."""

    def __init__(self, cec: Path) -> None:
        """Begin it: a manifest that is there is kept. What an interrupted sync had left has to be undone before."""
        self.manifest = cec / MANIFEST
        self._folder = _folder(cec)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._before = _content(self.manifest)
        self._is_dirty = self._before is not None and not is_committed(self.manifest, self._before)
        if self._before is not None:
            _write(self._folder / MANIFEST, self._before)
        self._is_writing = False
        self._step(_DIRTY if self._is_dirty else _CLEAN)

    def writing(self) -> None:
        """Core is about to write the manifest, which it does in place."""
        self._is_writing = True
        self._step(_WRITING)

    def wrote(self) -> None:
        """Core has written the manifest."""
        self._is_writing = False
        self._step(f"{_WROTE} {_digest(_content(self.manifest))}")

    def setting_aside(self, name: str, folder: str) -> None:
        """The node `name` is about to be renamed to `folder`."""
        self._step(f"{_ASIDE} {name}{_RETURNS}{folder}")

    def close(self) -> None:
        """The sync is over: a dirty manifest gets its bytes back, and so does one that core failed to write."""
        if self._before is not None and (self._is_dirty or self._is_writing):
            put_back(self.manifest, self._before)
        shutil.rmtree(self._folder)

    def _step(self, line: str) -> None:
        with (self._folder / _STEPS).open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{line}\n")


def undo_interrupted(cec: Path, custom_nodes: Path) -> list[str]:
    """Bring back what a killed sync had in hand; a sentence for each thing done. Nothing to undo: empty, and quick.

    The manifest gets its bytes back when it was dirty and is what core had written, or when core was killed while
    writing it. If somebody has changed it since, it stays, and the bytes of before are kept beside the record.
    """
    folder = _folder(cec)
    if not folder.is_dir():
        return []
    steps = (folder / _STEPS).read_text("utf-8", "surrogateescape").splitlines() if (folder / _STEPS).exists() else []
    said = [_returned(custom_nodes, step) for step in steps if step.startswith(_ASIDE)]
    said.append(_manifest_of_before(cec, steps))
    shutil.rmtree(folder)
    return [sentence for sentence in said if sentence]


def put_back(file: Path, content: bytes) -> None:
    """Make `content` what `file` holds, at once or not at all; its mode stays. The same already: nothing."""
    if _content(file) == content:
        return
    fresh = file.with_name(f".{file.name}.put-back")
    _write(fresh, content)
    if file.exists():
        shutil.copymode(file, fresh)
    fresh.replace(file)


def _folder(cec: Path) -> Path:
    return cec / "backups" / "sync"


def _returned(custom_nodes: Path, step: str) -> str:
    name, _, aside = step.removeprefix(f"{_ASIDE} ").partition(_RETURNS)
    node, kept = custom_nodes / name, custom_nodes / aside
    if os.path.lexists(node) or not os.path.lexists(kept):
        return ""
    kept.rename(node)
    return f"custom node {name} is back, which an interrupted sync had set aside"


def _manifest_of_before(cec: Path, steps: list[str]) -> str:
    before, present = _content(_folder(cec) / MANIFEST), _content(cec / MANIFEST)
    written = [step for step in steps if step.startswith((_WRITING, _WROTE))]
    if before is None or before == present or not written:
        return ""
    if written[-1] == _WRITING or (steps[0] == _DIRTY and f"{_WROTE} {_digest(present)}" in written):
        put_back(cec / MANIFEST, before)
        return f"{MANIFEST} is as it was before an interrupted sync"
    if steps[0] == _CLEAN:
        return ""
    kept = _numbered(cec / "backups" / MANIFEST)
    _write(kept, before)
    return f"{MANIFEST} was changed after an interrupted sync; as it was before is kept in {kept}"


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

"""Capturing and restoring as work for a worker, by a process of its own: `content_program`, whose last line is the answer.

What the journal itself holds is a few small files, written back here.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from journal.events import CaptureFinished, SavedFile
from journal.masking import mask
from orchestrator.environments.content import Entry
from orchestrator.environments.git_content import load
from orchestrator.environments.restoring import ChangedMeanwhile, restore
from orchestrator.environments.saved_content import entries_of
from orchestrator.errors import OrchestratorError
from orchestrator.workspace import EnvironmentPaths
from orchestrator.world import WorkFacts

_PROGRAM = ("-I", "-m", "orchestrator.environments.content_program")
_ANSWER_BYTES = 64 * 1024 * 1024
_ERROR_CHARS = 600


def capture_command(paths: EnvironmentPaths, generation: int, journal_id: str, kept: Sequence[int]) -> tuple[str, ...]:
    """The command that keeps the content; of older generations only those in `kept` stay."""
    numbers = ",".join(map(str, kept))
    options = ("--generation", str(generation), "--journal", journal_id, "--keep", numbers)
    return (sys.executable, *_PROGRAM, "capture", str(paths.root), *options)


def restore_command(paths: EnvironmentPaths, wanted: CaptureFinished, saved: CaptureFinished) -> tuple[str, ...] | None:
    """The command that writes `wanted` over `saved`; None where the journal holds one of them: `restore_here`."""
    if not (wanted.commit and saved.commit):
        return None
    commits = ("--commit", wanted.commit, "--over", saved.commit)
    return (sys.executable, *_PROGRAM, "restore", str(paths.root), *commits)


def restore_here(paths: EnvironmentPaths, wanted: CaptureFinished, saved: CaptureFinished) -> WorkFacts:
    """Write `wanted` over `saved`."""
    try:
        done = restore(paths, kept_entries(paths, wanted), kept_entries(paths, saved))
    except (OrchestratorError, OSError) as error:
        return _ended(ok=False, problem=_said(error), changed=isinstance(error, ChangedMeanwhile))
    return _ended(ok=True, written=done.written, removed=done.removed)


def kept_entries(paths: EnvironmentPaths, captured: CaptureFinished) -> dict[str, Entry]:
    """What was kept, by name. Raises ContentError where the repository does not have it any more."""
    return load(paths, captured.commit) if captured.commit else entries_of(captured.files)


def result_of(log: Path, ended: str) -> WorkFacts:
    """What the process came to, by its log; `ended` says in words how it ended."""
    answer = _last_answer(log)
    if answer is None:
        return _ended(ok=False, problem=f"it gave no answer: {ended}")
    return _ended(
        ok=answer.get("ok") is True,
        problem=_plain(answer.get("error", "")),
        commit=_plain(answer.get("commit", "")),
        content=_plain(answer.get("content", "")),
        files=tuple(_files(answer.get("files"))),
        inventory=_texts(answer.get("inventory")),
        changed=answer.get("changed") is True,
        written=_texts(answer.get("written")),
        removed=_texts(answer.get("removed")),
    )


def _last_answer(log: Path) -> dict[str, Any] | None:
    try:
        lines = log.read_bytes()[-_ANSWER_BYTES:].splitlines()
        answer = json.loads(lines[-1])
    except (OSError, IndexError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _files(value: object) -> Iterator[SavedFile]:
    for item in value if isinstance(value, list) else ():
        match item:
            case {"name": str(name), "text": str(text)}:
                yield SavedFile(name, text)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _plain(value: object) -> str:
    return mask(" ".join(str(value or "").split()))[:_ERROR_CHARS]


def _said(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    return _plain(f"{error}; {hint}" if hint else error)


def _ended(**facts: Any) -> WorkFacts:
    return WorkFacts(alive=False, ended=True, **facts)

"""Syncs one ComfyGit environment with comfygit-core, in a process of its own. The last line it prints is the verdict.

`python -I -m orchestrator.environments.core_sync_program WORKSPACE ENVIRONMENT`

A process of its own, because importing core takes half a second, it may wait for the network for as long as it likes,
and because it deletes and rewrites things of the user's that are kept here around it: see `sync_record`, `set_aside`.

The verdict is one JSON object: `{"ok": bool, "summary": str, "errors": [str, ...]}`. Exit status 0 for ok, else 1.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

import attrs

from journal.masking import mask
from orchestrator.environments.core_seams import (
    NoDownloads,
    lock,
    recorded_copying,
    recorded_writing,
    version_mismatches,
)
from orchestrator.environments.set_aside import SetAside, make_room, set_aside, settle
from orchestrator.environments.sync_record import SyncRecord, undo_interrupted
from orchestrator.environments.working_copies import without_misleading
from orchestrator.logs.tail import MAX_LINE_CHARS

_LOG = logging.getLogger(__name__)

SYNC: Final = {"preserve_workflows": True, "remove_extra_nodes": False}
"""The only way to sync: with core's defaults it overwrites the user's workflows and deletes their untracked nodes."""
_MOST_NAMED = 8
_SAID_CHARS = 600
_FEWEST_CHARS = 20


@attrs.define
class Report:
    """What is said in the end. `changes` and `warnings` become the summary."""

    changes: list[str] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)
    errors: list[str] = attrs.field(factory=list)
    ok: bool = False

    def line(self) -> str:
        """One line of JSON, secrets masked, short enough to be read back from the end of a log."""
        summary = "; ".join(self.changes or ["nothing changed"])
        if self.warnings:
            summary += f"; warnings: {'; '.join(self.warnings)}"
        said_chars = _SAID_CHARS
        while True:
            errors = [_plain(error, said_chars) for error in self.errors[:_MOST_NAMED]]
            document = {"ok": self.ok, "summary": _plain(summary, said_chars), "errors": errors}
            line = json.dumps(document, ensure_ascii=False)
            if len(line) <= MAX_LINE_CHARS or said_chars < _FEWEST_CHARS:
                return line
            said_chars -= said_chars // 4


def main(arguments: list[str]) -> int:
    """Sync, print the verdict, give the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in os.environ.keys() - without_misleading(os.environ):
        del os.environ[name]
    report = Report()
    try:
        _sync(Path(arguments[0]), arguments[1], report)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is what the verdict has to say
        _LOG.exception("The sync failed")
        report.ok = False
        report.errors.append(str(error) or type(error).__name__)
    for warning in report.warnings:  # the verdict may have no room for where somebody's work is now
        _LOG.warning("%s", warning)
    sys.stderr.flush()
    sys.stdout.buffer.write(report.line().encode("utf-8", "replace") + b"\n")
    sys.stdout.flush()
    return 0 if report.ok else 1


def _sync(root: Path, name: str, report: Report) -> None:
    from comfygit_core.core.workspace import Workspace

    folder = root / "environments" / name
    registry = NoDownloads(folder / ".cec" / "backups" / "sync-registry")
    report.warnings += registry.arrange()
    try:
        environment = Workspace.open(root).get_environment(name, auto_sync=False)  # auto_sync would index all models
        with lock(environment):
            _kept(environment, folder, report)
    finally:
        registry.remove()


def _kept(environment: Any, folder: Path, report: Report) -> None:
    """The sync, with all that is the user's kept."""
    comfyui, custom_nodes = folder / "ComfyUI", folder / "ComfyUI" / "custom_nodes"
    report.changes += undo_interrupted(folder / ".cec", custom_nodes)
    packages, nodes = _packages(folder / ".venv"), _nodes(custom_nodes)
    record, aside = SyncRecord(folder / ".cec"), list[SetAside]()
    try:
        for kind in ("input", "output"):
            report.changes += make_room(comfyui / kind, folder.parent.parent / kind / folder.name)
        mismatches, warnings = version_mismatches(environment)
        report.warnings += warnings
        set_aside(custom_nodes, mismatches, record, aside)
        report.warnings += recorded_copying(environment, record)
        with recorded_writing(record) as warnings:
            report.warnings += warnings
            result = environment.sync(**SYNC)
    finally:
        changed, warned = settle(aside, record)
        report.changes += changed
        report.warnings += warned
        report.warnings += record.close()  # last: what could not be settled is undone from the record by who comes next
    report.ok = bool(result.success)
    (report.warnings if report.ok else report.errors).extend(str(error) for error in result.errors)
    report.changes[:0] = [
        *_difference("packages", packages, _packages(folder / ".venv")),
        *_difference("custom nodes", nodes, _nodes(custom_nodes)),
        *_groups(result),
    ]
    if not report.ok and not report.errors:
        report.errors.append("comfygit-core says that the sync failed, and not why")


def _packages(venv: Path) -> set[str]:
    """What is installed, as `name version`."""
    folders = [*venv.glob("lib/python*/site-packages"), venv / "Lib" / "site-packages"]
    found = [entry.name for folder in folders for entry in folder.glob("*.dist-info")]
    return {name.removesuffix(".dist-info").replace("-", " ") for name in found}


def _nodes(custom_nodes: Path) -> set[str]:
    found = custom_nodes.iterdir() if custom_nodes.is_dir() else ()
    return {entry.name for entry in found if entry.is_dir() and not entry.name.endswith(".disabled")}


def _difference(what: str, before: set[str], after: set[str]) -> list[str]:
    pairs = (("added", after - before), ("removed", before - after))
    return [f"{what} {done}: {_named(sorted(names))}" for done, names in pairs if names]


def _groups(result: Any) -> list[str]:
    failed = [f"{name} ({why})" for name, why in result.dependency_groups_failed]
    pairs = (("failed", failed), ("skipped", list(result.dependency_groups_skipped)))
    return [f"dependency groups {done}: {_named(names)}" for done, names in pairs if names]


def _named(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _plain(text: str, most_chars: int) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    masked = mask(" ".join(printable.split()))
    return masked if len(masked) <= most_chars else f"{masked[: most_chars - 3]}..."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

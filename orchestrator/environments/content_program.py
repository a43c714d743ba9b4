"""Captures or restores the content of one environment, in a process of its own: disks can be slow, and git may hang.

`python -I -m orchestrator.environments.content_program capture FOLDER --generation N --journal ID --keep 1,2,3`
`python -I -m orchestrator.environments.content_program restore FOLDER --commit OID --over OID`

The last line of output is a JSON object: `ok`, `error`; for a capture `commit` ("" and `files` where there is no manifest
repository), `content` (the digest) and `inventory`; for a restore `written`, `removed`, and `changed`: somebody had worked
on what was to be overwritten. Exit status 0 is success.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from orchestrator.environments.content import ContentError, content_digest
from orchestrator.environments.content_rules import printable
from orchestrator.environments.git_command import has_repository
from orchestrator.environments.git_content import keep, load
from orchestrator.environments.inventory import inventory
from orchestrator.environments.restoring import ChangedMeanwhile, restore
from orchestrator.environments.saved_content import saved_files
from orchestrator.errors import OrchestratorError
from orchestrator.workspace import EnvironmentPaths


def capture(paths: EnvironmentPaths, generation: int, journal_id: str, wanted: frozenset[int]) -> dict[str, Any]:
    """Keep what is there now. Raises ContentError, also when it changed meanwhile."""
    before = content_digest(paths)
    has_one = has_repository(paths)
    commit = keep(paths, generation, journal_id, wanted) if has_one else ""
    files = () if has_one else saved_files(paths)
    parts = inventory(paths)
    if not before or content_digest(paths) != before:
        what = "changed while it was being kept" if before else "cannot be read"
        message = f"keeping the content of environment {paths.name!r}: it {what}"
        raise ContentError(message, f"see what is writing to {paths.root}, and that it can be read")
    kept = {"commit": commit, "files": [attrs.asdict(file) for file in files]}
    return {"ok": True, **kept, "content": before, "inventory": parts, "error": ""}


def bring_back(paths: EnvironmentPaths, commit: str, over: str) -> dict[str, Any]:
    """Write back what that commit keeps, over what the commit `over` keeps. Raises ContentError."""
    done = restore(paths, load(paths, commit), load(paths, over))
    written, removed = (list(map(printable, names)) for names in (done.written, done.removed))
    return {"ok": True, "written": written, "removed": removed, "changed": False, "error": ""}


def main(arguments: Sequence[str]) -> int:
    """Do it, say how it went, and give the exit status."""
    asked = _parser().parse_args(arguments)
    paths = EnvironmentPaths(asked.folder.name, asked.folder)
    try:
        if asked.what == "capture":
            result = capture(paths, asked.generation, asked.journal, asked.keep)
        else:
            result = bring_back(paths, asked.commit, asked.over)
    except OrchestratorError as error:
        result = {**_NOTHING[asked.what], "ok": False, "error": printable(f"{error}; {error.hint}")}
        result["changed"] = isinstance(error, ChangedMeanwhile)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["ok"] else 1


_NOTHING: dict[str, dict[str, Any]] = {
    "capture": {"commit": "", "files": [], "content": "", "inventory": []},
    "restore": {"written": [], "removed": []},
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="content_program")
    commands = parser.add_subparsers(dest="what", required=True)
    capturing = commands.add_parser("capture")
    capturing.add_argument("--generation", type=int, required=True)
    capturing.add_argument("--journal", required=True)
    capturing.add_argument("--keep", type=_numbers, default=frozenset())
    restoring = commands.add_parser("restore")
    restoring.add_argument("--commit", required=True)
    restoring.add_argument("--over", required=True)
    for command in (capturing, restoring):
        command.add_argument("folder", type=Path)
    return parser


def _numbers(text: str) -> frozenset[int]:
    return frozenset(int(number) for number in text.split(",") if number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The user's files that a sync by comfygit-core would delete, put where it does not.

Core deletes the folder of a tracked node whose version is not the manifest's (somebody's `git pull`) before it has the
other one, and with it whatever was changed in there. And when it moves ComfyUI's `input` and `output` into the
workspace, it deletes each file whose name is taken there.
"""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs

from journal import clock
from journal.clock import S
from orchestrator.environments.sync_record import SyncRecord
from orchestrator.environments.working_copies import may_hold_own_work

KEPT_PER_NODE: Final = 2
_ASIDE = re.compile(r"\.(\d+)\.disabled")


@attrs.frozen
class SetAside:
    """A node's folder: `node` as it was called, `folder` as it is now. `why` is what the versions are."""

    node: Path
    folder: Path
    why: str


def set_aside(
    custom_nodes: Path, mismatches: Iterable[tuple[str, str]], record: SyncRecord, done: list[SetAside]
) -> None:
    """Rename the folder of each (name, why) to `<name>.<unix seconds>.disabled`, which core and ComfyUI pass over.

    Each is added to `done` as it is renamed. Raises OSError: better no sync than a folder that core deletes.
    """
    for name, why in mismatches:
        node = custom_nodes / name
        if node.parent != custom_nodes or not os.path.lexists(node):
            continue
        folder = _unused(node)
        record.setting_aside(name, folder.name)
        node.rename(folder)
        done.append(SetAside(node, folder, why))


def settle(aside: Iterable[SetAside]) -> tuple[list[str], list[str]]:
    """What became of them, once the sync is over: what changed, and what went wrong, a sentence each.

    A node that core did not bring back returns. What it did replace is deleted, unless it may hold somebody's work.
    """
    changed, wrong = [], []
    for one in aside:
        if not os.path.lexists(one.node):
            one.folder.rename(one.node)
            wrong.append(f"custom node {one.node.name} could not be replaced and stays as it was ({one.why})")
            continue
        changed.append(f"custom node {one.node.name} replaced ({one.why})")
        if may_hold_own_work(one.folder):
            changed.append(f"the one before is kept in {one.folder}")
            _forget_older(one.node)
        else:
            shutil.rmtree(one.folder, ignore_errors=True)
    return changed, wrong


def make_room(folder: Path, target: Path) -> list[str]:
    """Rename what is in `folder` and whose name `target` has too: core would move the rest there and delete these."""
    if folder.is_symlink() or not folder.is_dir() or not target.is_dir():
        return []
    renamed = []
    for entry in sorted(folder.iterdir()):
        if (target / entry.name).exists():
            fresh = entry.with_name(f"{entry.stem}.{_unix_s()}{entry.suffix}")
            entry.rename(fresh)
            renamed.append(f"{folder.name}/{entry.name} is now {target / fresh.name}")
    return renamed


def _unused(node: Path) -> Path:
    second = _unix_s()
    while os.path.lexists(folder := node.with_name(f"{node.name}.{second}.disabled")):
        second += 1
    return folder


def _forget_older(node: Path) -> None:
    """All but the newest of what was set aside for that node."""
    found = []
    for entry in node.parent.iterdir():
        numbered = _ASIDE.fullmatch(entry.name.removeprefix(node.name)) if entry.name.startswith(node.name) else None
        if numbered:
            found.append((int(numbered[1]), entry))
    for _, entry in sorted(found)[:-KEPT_PER_NODE]:
        if entry.is_symlink():
            entry.unlink()
        else:
            shutil.rmtree(entry, ignore_errors=True)


def _unix_s() -> int:
    return clock.read().wall_ns // S

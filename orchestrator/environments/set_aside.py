"""The user's files that a sync by comfygit-core would delete, put where it does not.

Core deletes the folder of a tracked node whose version is not the manifest's (somebody's `git pull`) before it has the
other one, and with it whatever was changed in there. And when it moves ComfyUI's `input` and `output` into the
workspace, it deletes each file whose name is taken there.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import attrs

from journal import clock
from journal.clock import S
from orchestrator.environments.sync_record import SyncRecord, bring_back, unused_aside
from orchestrator.environments.working_copies import may_hold_own_work


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
        folder = unused_aside(node)
        record.setting_aside(name, folder.name)
        node.rename(folder)
        done.append(SetAside(node, folder, why))


def settle(aside: Iterable[SetAside], record: SyncRecord) -> tuple[list[str], list[str]]:
    """What became of them, once the sync is over: what changed, and what there is to know, a sentence each.

    What core did replace is deleted, unless it may hold somebody's work. Else it returns, see `bring_back`.
    """
    changed, warned = [], []
    copies = record.copies()
    for one in aside:
        name = one.node.name
        is_replaced = name in copies.ended and os.path.lexists(one.node)
        if is_replaced:
            changed.append(f"custom node {name} replaced ({one.why})")
        if is_replaced and not may_hold_own_work(one.folder):
            shutil.rmtree(one.folder, ignore_errors=True)
            continue
        is_back, remark = bring_back(one.node, one.folder, copies)
        if is_back:
            warned.append(f"custom node {name} could not be replaced and stays as it was ({one.why}){remark}")
        else:
            warned.append(f"custom node {name} is another one now{remark}")
    return changed, warned


def make_room(folder: Path, target: Path) -> list[str]:
    """Rename what is in `folder` and whose name `target` has too: core would move the rest there and delete these."""
    if folder.is_symlink() or not folder.is_dir() or not target.is_dir():
        return []
    renamed = []
    for entry in sorted(folder.iterdir()):
        if (target / entry.name).exists():
            fresh = entry.with_name(f"{entry.stem}.{clock.read().wall_ns // S}{entry.suffix}")
            entry.rename(fresh)
            renamed.append(f"{folder.name}/{entry.name} is now {target / fresh.name}")
    return renamed

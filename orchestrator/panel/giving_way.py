"""Whether the public ComfyGit manager is enabled beside us: then the routes are its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Iterator

from .finding import is_folder

_MARKS = ("server/comfygit_panel.py", "server/orchestrator.py")
"""Files that a folder of the public manager has."""


def public_manager(ours: Path) -> Path | None:
    """The folder of the enabled public manager; None when there is none. `ours` is the panel's own folder."""
    return next((folder for folder in _nodes(ours) if _is_the_manager(folder) and _is_enabled(folder.name)), None)


def _nodes(ours: Path) -> Iterator[Path]:
    for custom_nodes in dict.fromkeys((ours.parent, *_node_folders())):
        yield from (entry for entry in _entries(custom_nodes) if entry != ours and is_folder(entry))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _node_folders() -> list[Path]:
    """All folders from which this ComfyUI takes custom nodes."""
    folder_paths = sys.modules.get("folder_paths")
    try:
        return [Path(path) for path in folder_paths.get_folder_paths("custom_nodes")] if folder_paths else []
    except Exception:  # noqa: BLE001 - another ComfyUI than those that we know
        return []


def _is_the_manager(folder: Path) -> bool:
    return all((folder / mark).is_file() for mark in _MARKS)


def _is_enabled(name: str) -> bool:
    """Whether ComfyUI loads a custom node of that name, by its own arguments."""
    if name.endswith(".disabled"):
        return False
    if "--disable-all-custom-nodes" not in sys.argv:
        return True
    return name in _whitelisted(sys.argv)


def _whitelisted(argv: list[str]) -> list[str]:
    if "--whitelist-custom-nodes" not in argv:
        return []
    following = argv[argv.index("--whitelist-custom-nodes") + 1 :]
    end = next((i for i, argument in enumerate(following) if argument.startswith("--")), len(following))
    return following[:end]

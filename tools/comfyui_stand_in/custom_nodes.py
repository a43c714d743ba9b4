"""Imports custom nodes as the real ComfyUI does: a broken one is not fatal."""

import importlib.util
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from comfyui_stand_in.command_line import Arguments

log = logging.getLogger(__name__)


def _candidates(folder: Path, arguments: Arguments) -> Iterator[Path]:
    """Give what to import: each `*.py`, and each folder with an `__init__.py`."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name == "__pycache__" or path.name.endswith(".disabled"):
            continue
        allowed = path.name in arguments.whitelist_custom_nodes
        if arguments.disable_all_custom_nodes and not allowed:
            continue
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            yield path


def _import(path: Path) -> bool:
    """Import one node; False and a traceback in the log if it raises an Exception.

    SystemExit and KeyboardInterrupt pass, so a node that calls sys.exit ends us.
    """
    source = path / "__init__.py" if path.is_dir() else path
    name = str(path.with_suffix("")).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, source)
    if spec is None or spec.loader is None:
        return False
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        log.exception("Cannot import %s module for custom nodes: %s", path, error)  # noqa: TRY401 - ComfyUI's line
        return False
    return True


async def load(folder: Path, arguments: Arguments) -> None:
    """Import every custom node in `folder`. A coroutine so that nodes find the loop."""
    lines = []
    for path in _candidates(folder, arguments):
        before = time.perf_counter()
        note = "" if _import(path) else " (IMPORT FAILED)"
        lines.append(f"{time.perf_counter() - before:6.1f} seconds{note}: {path}")
    if lines:
        log.info("\nImport times for custom nodes:\n%s\n", "\n".join(lines))

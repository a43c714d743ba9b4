"""What an environment consists of, as lines of text for the journal: Python, ComfyUI, nodes, packages, content files."""

import contextlib
import os
import re
import tomllib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from orchestrator.environments.checkouts import head_commit
from orchestrator.environments.content_files import content_hashes
from orchestrator.environments.content_rules import printable
from orchestrator.environments.regular_files import read_regular
from orchestrator.errors import OrchestratorError
from orchestrator.workspace import EnvironmentPaths

MOST_LINES: Final = 5_000
_HASH_LENGTH: Final = 12
_MOST_MANIFEST_BYTES: Final = 1 << 20
_VERSION: Final = re.compile(r"[\w.+!-]{1,64}", re.ASCII)
_PYTHON: Final = re.compile(r"^version(?:_info)?\s*=\s*([\w.+]{1,64})\s*$", re.ASCII | re.MULTILINE)
_DISABLED: Final = ".disabled"


def inventory(paths: EnvironmentPaths) -> tuple[str, ...]:
    """Sorted lines of kind, name and version with tabs between them, at most MOST_LINES.

    Kinds: python, ComfyUI, node, disabled node, package, file. Without a version that can be told it is "". What cannot
    be read is left out.
    """
    return tuple(sorted(set(islice(_lines(paths), MOST_LINES))))


def _lines(paths: EnvironmentPaths) -> Iterator[str]:
    """The few that matter most first."""
    yield _line("python", "", _python(paths.venv))
    yield _line("ComfyUI", "", head_commit(paths.comfyui / ".git"))
    nodes = paths.comfyui / "custom_nodes"
    yield from (_node(entry, disabled=False) for entry in _nodes_in(nodes))
    yield from (_node(entry, disabled=True) for entry in _nodes_in(nodes / _DISABLED))
    yield from _packages(paths.venv)
    with contextlib.suppress(OrchestratorError):
        yield from (_line("file", name, digest[:_HASH_LENGTH]) for name, (_, digest) in content_hashes(paths).items())


def _line(kind: str, name: str, version: str) -> str:
    return f"{kind}\t{printable(name)}\t{version}"


def _python(venv: Path) -> str:
    try:
        found = _PYTHON.search(read_regular(venv / "pyvenv.cfg", _MOST_MANIFEST_BYTES).decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def _nodes_in(folder: Path) -> list[Path]:
    """The folders and Python files that are nodes, or would be if they were not disabled."""
    return [path for path in _paths_in(folder) if _is_node(path)]


def _paths_in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_node(path: Path) -> bool:
    if path.name.startswith(".") or path.name == "__pycache__":
        return False
    is_folder = os.path.isdir(path)  # noqa: PTH112 -- `is_dir` raises where one may not look
    return is_folder or path.name.removesuffix(_DISABLED).endswith(".py")


def _node(path: Path, *, disabled: bool) -> str:
    kind = "disabled node" if disabled or path.name.endswith(_DISABLED) else "node"
    version = head_commit(path / ".git") or _declared_version(path / "pyproject.toml")
    return _line(kind, path.name.removesuffix(_DISABLED), version)


def _declared_version(manifest: Path) -> str:
    try:
        text = read_regular(manifest, _MOST_MANIFEST_BYTES).decode("utf-8")
        declared = tomllib.loads(text).get("project", {}).get("version", "")
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
    return declared if isinstance(declared, str) and _VERSION.fullmatch(declared) else ""


def _packages(venv: Path) -> Iterator[str]:
    folders = [python / "site-packages" for python in _paths_in(venv / "lib") if python.name.startswith("python")]
    for folder in (venv / "Lib" / "site-packages", *folders):
        for info in _paths_in(folder):
            if not info.name.endswith(".dist-info"):
                continue
            name, _, version = info.name.removesuffix(".dist-info").partition("-")
            yield _line("package", re.sub(r"[-_.]+", "-", name).lower(), printable(version))

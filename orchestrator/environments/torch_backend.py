"""What an environment's torch was built for: read from its `torch/version.py`, which is neither imported nor executed.

torch's own build writes that file: `cuda`, `hip`, `rocm` and `xpu`, each a version or None. Older releases know fewer of
the four, and annotate none.
"""

import ast
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from orchestrator.world import TorchBuild, TorchFacts

MOST_BYTES: Final = 64 * 1024
"""The largest file that is read; torch's own has some 300 bytes."""

_ACCELERATORS: Final = frozenset({"cuda", "hip", "rocm", "xpu"})
_NO_FOLDER: Final = ("#", "import ", "import\t")
_SHOWN_CHARACTERS = 60


class _UnclearError(Exception):
    """The file does not say what torch was built for; the text goes on from its name."""


def torch_of(venv: Path, platform: str = sys.platform) -> TorchFacts | None:
    """The torch that the Python of `venv` would import. None on macOS, where `--cpu` is never added.

    It is looked for in the venv's own `site-packages`, then in the folders that its `.pth` files name; each time anew: that
    takes 0.2 ms.
    """
    if platform == "darwin":
        return None
    settings = _settings(venv / "pyvenv.cfg")
    found = (folder / "torch" / "version.py" for folder in _folders(_site_packages(venv, settings)))
    file = next((path for path in found if os.path.lexists(path)), None)
    if file is None:
        outside = settings.get("include-system-site-packages", "").lower() == "true"
        unseen = " itself, and packages outside of it were not looked at" if outside else ""
        return TorchFacts(TorchBuild.UNKNOWN, problem=f"no torch was found in the environment{unseen}")
    try:
        return torch_built_for(_content(file, MOST_BYTES))
    except _UnclearError as error:
        return TorchFacts(TorchBuild.UNKNOWN, problem=f"torch/version.py of the environment {error}")


def torch_built_for(source: bytes) -> TorchFacts:
    """What a `torch/version.py` of that content says. Raises an error of this module when it says nothing."""
    try:
        assigned = list(_assigned(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        message = "is not valid Python"
        raise _UnclearError(message) from error
    built_for = [value for name, value in assigned if name in _ACCELERATORS]
    versions = [value for name, value in assigned if name == "__version__" and isinstance(value, str)]
    version = versions[-1][:_SHOWN_CHARACTERS] if versions else ""
    # The first releases that were built for XPU said so nowhere else.
    if version.partition("+")[2].startswith("xpu") or any(isinstance(value, str) and value for value in built_for):
        return TorchFacts(TorchBuild.ACCELERATED, version)
    if any(value not in {None, ""} for value in built_for) or "cuda" not in dict(assigned):
        message = "does not say whether it was built for a GPU"
        raise _UnclearError(message)
    return TorchFacts(TorchBuild.CPU, version)


def _assigned(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """Names and the constants that are assigned to them, wherever; `...` stands for anything but a text or None."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=expression):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as expression):
                names = [name]
            case _:
                continue
        value = expression.value if isinstance(expression, ast.Constant) else ...
        yield from ((name, value if isinstance(value, str | None) else ...) for name in names)


def _content(file: Path, most_bytes: int) -> bytes:
    """Links are followed, as some installers make them. Never blocks, as a pipe would."""
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise _UnclearError(message) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > most_bytes:
            message = f"is no file, or one of more than {most_bytes:,} bytes"
            raise _UnclearError(message)
        return os.read(descriptor, most_bytes)
    finally:
        os.close(descriptor)


def _settings(pyvenv_cfg: Path) -> Mapping[str, str]:
    """Keys in lower case; none where there is no such file."""
    pairs = (line.partition("=") for line in _lines(pyvenv_cfg))
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _lines(file: Path) -> list[str]:
    try:
        return _content(file, MOST_BYTES).decode("utf-8-sig", "surrogateescape").splitlines()
    except _UnclearError:
        return []


def _site_packages(venv: Path, settings: Mapping[str, str]) -> list[Path]:
    """In both layouts of a venv. One that was made again with another Python keeps the old one's: those are left out."""
    pythons = [name for name in _names(venv / "lib") if name.startswith("python")]
    found = [*(venv / "lib" / name / "site-packages" for name in pythons), venv / "Lib" / "site-packages"]
    release = settings.get("version") or settings.get("version_info", "")
    python = "python" + ".".join(release.split(".")[:2])
    return [folder for folder in found if folder.parent.name in {python, f"{python}t"}] or found


def _folders(site_packages: list[Path]) -> Iterator[Path]:
    """Where Python looks, in its order: `.pth` files are read in the order of their names, and those found there are not."""
    yield from site_packages
    for folder in site_packages:
        for name in _names(folder):
            if name.endswith(".pth") and not name.startswith("."):
                lines = (line.rstrip() for line in _lines(folder / name))
                yield from (folder / line for line in lines if line and not line.startswith(_NO_FOLDER))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []

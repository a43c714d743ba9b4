"""The orchestrator's own virtual environment: made when it is missing, made anew when that was interrupted.

It runs inside ComfyUI's own Python, as part of the panel or as a file (`python venv.py --venv DIR --wheel FILE`):
standard library only, Python 3.9 or later, no import of a neighbour. The file `made-for.json` in a venv says what it
was made for; while that is not finished it says so too, and what was interrupted is made anew.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

OLDEST: Final = (3, 11)
"""The oldest Python that the orchestrator runs on; the panel runs on older ones too."""

_CANDIDATES: Final = ("python3.14", "python3.13", "python3.12", "python3.11")
_STAMP: Final = "made-for.json"
_LOCK: Final = ".orchestrator_venv.lock"
_REMOVED: Final = ".removed"
_NAME: Final = re.compile(r"[0-9a-f]{12}")
_NAME_LENGTH: Final = 12
_CORE: Final = "comfygit-core>=0.7.1,<0.8"
_SHOWN_LINES: Final = 20
# What would make Python, pip and uv look, or write, somewhere else.
_LEADING_ASTRAY: Final = frozenset({"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "VIRTUAL_ENV"})

_log = logging.getLogger(__name__)


class VenvError(RuntimeError):
    """The orchestrator's venv cannot be made, or is not there. `hint` tells the next step."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def python_in(venv: Path, platform: str = sys.platform) -> Path:
    """Where `venv` has its Python on `platform`, as `sys.platform` calls it."""
    return venv / ("Scripts/python.exe" if platform == "win32" else "bin/python")


def venv_for(metadata: Path, wheel: Path) -> Path:
    """Where the venv for `wheel` belongs in the workspace whose folder `.metadata` that is.

    One per release: an upgrade makes another one beside it, and changes no file under a running orchestrator. Raises
    VenvError when the wheel cannot be read.
    """
    return metadata / ".orchestrator_venv" / _sha256(wheel)[:_NAME_LENGTH]


def is_current(venv: Path, wheel: Path) -> bool:
    """Whether `venv` is whole and made for this `wheel` and the comfygit-core wished for. It only reads files.

    Raises VenvError when the wheel cannot be read.
    """
    return _read_stamp(venv) == _wanted_stamp(wheel) and python_in(venv).exists()


def ensure(venv: Path, wheel: Path) -> bool:
    """Make `venv` unless it is current; whether anything was done. May take a minute, and needs PyPI.

    Of several processes at the same moment one makes it, the others wait. Afterwards venvs of other releases beside it
    (as `venv_for` names them) that no process runs in are removed. Raises VenvError; then it does not count as current.
    """
    if is_current(venv, wheel):
        return False
    venv, wheel = Path(os.path.abspath(venv)), Path(os.path.abspath(wheel))  # noqa: PTH100 - resolve() follows links
    try:
        venv.parent.mkdir(parents=True, exist_ok=True)
        with _alone(venv.with_name(_LOCK)) as lock:
            if is_current(venv, wheel):
                return False
            _make(venv, wheel, lock)
            _remove_unused_beside(venv)
    except OSError as error:
        hint = f"make sure that {venv.parent} can be written to and the disk has room; then try again"
        raise VenvError(f"making the orchestrator's venv {venv}: {error}", hint) from error
    return True


def _wanted_stamp(wheel: Path) -> dict[str, str]:
    """`state` (ready, incomplete), `wheel` (sha256), `core` (what is wanted from PyPI, or the folder of a comfygit-core)."""
    core = os.environ.get("COMFYGIT_DEV_CORE_PATH", "")
    return {"state": "ready", "wheel": _sha256(wheel), "core": os.path.abspath(core) if core else _CORE}  # noqa: PTH100


def _read_stamp(venv: Path) -> dict[str, str] | None:
    """None: there is none. Empty: it cannot be read, which counts as interrupted."""
    try:
        found = json.loads((venv / _STAMP).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_stamp(venv: Path, stamp: dict[str, str]) -> None:
    fresh = venv / (_STAMP + ".new")
    fresh.write_text(json.dumps(stamp, indent=1) + "\n", "utf-8")
    fresh.replace(venv / _STAMP)


def _sha256(wheel: Path) -> str:
    try:
        return hashlib.sha256(wheel.read_bytes()).hexdigest()
    except OSError as error:
        hint = "put the panel there again: comfygit-orchestrator install-panel ENVIRONMENT"
        raise VenvError(f"reading the orchestrator's wheel {wheel}: {error}", hint) from error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[int]:
    """Hold a kernel lock on the file `path` and give its descriptor; wait for whoever holds it. Windows: no lock."""
    with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.info("another process is making the orchestrator's venv: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _make(venv: Path, wheel: Path, lock: int) -> None:
    """A venv without a stamp was made by other means: it is kept, and installed into."""
    _log.info("making the orchestrator's venv: %s", venv)
    uv = _find_uv()
    wanted = _wanted_stamp(wheel)
    if _is_foreign(venv):
        if not python_in(venv).exists():
            message = f"making the orchestrator's venv {venv}: there is something else at that place"
            raise VenvError(message, f"move {venv} away, then try again")
    else:
        making = _making_command(venv, uv)
        _remove(venv)
        venv.mkdir()
        _write_stamp(venv, {**wanted, "state": "incomplete"})
        _run(making, lock, "see what is wrong with that Python, or install uv (pip install uv); then try again")
    installing = _installing_command(python_in(venv), uv, wheel, wanted["core"])
    hint = "packages come from PyPI: is the network there (HTTPS_PROXY, PIP_INDEX_URL, UV_INDEX_URL)? Then try again"
    _run(installing, lock, hint)
    _write_stamp(venv, wanted)


def _is_foreign(venv: Path) -> bool:
    """Whether there is something at `venv` that we did not begin."""
    if not os.path.lexists(venv) or _read_stamp(venv) is not None:
        return False
    return not venv.is_dir() or any(not entry.name.startswith(_STAMP) for entry in venv.iterdir())


def _making_command(venv: Path, uv: str | None) -> list[str]:
    """What makes an empty venv in the folder `venv`, which is there already. Raises VenvError: no Python will do."""
    if uv is not None:
        python = _base_python() if sys.version_info[:2] >= OLDEST else ">={}.{}".format(*OLDEST)
        return [uv, "venv", "--no-project", "--allow-existing", "--python", python, str(venv)]
    return [_able_python(), "-m", "venv", str(venv)]


def _installing_command(python: Path, uv: str | None, wheel: Path, core: str) -> list[str]:
    what = [str(wheel), *([core] if core == _CORE else ["--editable", core])]
    if uv is not None:  # compiled, because the first start must not take long: ComfyUI's page waits for it
        return [uv, "pip", "install", "--compile-bytecode", "--python", str(python), *what]
    return [str(python), "-m", "pip", "--disable-pip-version-check", "install", *what]


def _find_uv() -> str | None:
    """A uv that runs: on PATH, beside the running Python, or that of its package `uv`."""
    for name in ("uv", str(Path(sys.executable).with_name("uv"))):
        path = shutil.which(name)
        if path is not None and _succeeds([path, "--version"]):
            return path
    with contextlib.suppress(ImportError, AttributeError, OSError):
        return str(importlib.import_module("uv").find_uv_bin())
    return None


def _base_python() -> str:
    """The Python that the running one's venv was made of: only that one makes venvs independent of it."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _able_python() -> str:
    """A Python that is new enough and can make a venv. Raises VenvError: there is none."""
    for candidate in (_base_python(), *map(shutil.which, _CANDIDATES)):
        code = f"import ensurepip, sys, venv; sys.exit(sys.version_info < {OLDEST})"
        if candidate is not None and _succeeds([candidate, "-c", code]):
            return candidate
    needed, version = "{}.{}".format(*OLDEST), "{}.{}".format(*sys.version_info)
    raise VenvError(
        f"the orchestrator needs a Python {needed} or later that can make a venv: {_base_python()} is {version}, "
        "and neither it nor one on PATH will do",
        f"`pip install uv`, which brings one; or `apt install python{needed}-venv`, `brew install python`",
    )


def _succeeds(command: Sequence[str]) -> bool:
    null, environ = subprocess.DEVNULL, _clean_environment()
    with contextlib.suppress(OSError):
        return subprocess.run(command, env=environ, stdin=null, capture_output=True, check=False).returncode == 0
    return False


def _run(command: Sequence[str], lock: int, hint: str) -> None:
    """Run one step. It shares the lock, since it may outlive us. Raises VenvError with the end of its output.

    In the root folder: uv takes settings, an index to install from among them, from the folder it runs in upwards.
    """
    done = subprocess.run(
        command,
        cwd=Path(sys.executable).anchor or "/",
        env=_clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        pass_fds=() if sys.platform == "win32" else (lock,),
        check=False,
    )
    if done.returncode != 0:
        end = "\n".join(done.stdout.splitlines()[-_SHOWN_LINES:])
        raise VenvError(f"`{' '.join(command)}` ended with {done.returncode}:\n{end}", hint)


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _LEADING_ASTRAY}


def _remove(folder: Path) -> None:
    """Remove it, under another name, so that a kill in the middle leaves no half venv behind under this one."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        removed = folder.with_name(folder.name + _REMOVED)
        shutil.rmtree(removed, ignore_errors=True)
        folder.rename(removed)
        shutil.rmtree(removed)


def _remove_unused_beside(venv: Path) -> None:
    """Only Linux tells what is used: elsewhere all stay. A panel of that release in another environment keeps it, too."""
    commands = _running_commands()
    wanted = {
        _sha256(wheel)[:_NAME_LENGTH] for wheel in venv.parents[2].glob("environments/*/ComfyUI/custom_nodes/*/*.whl")
    }
    if not commands or not _NAME.fullmatch(venv.name):
        return
    for other in sorted(venv.parent.iterdir()):
        if other == venv or other.name in wanted or not _NAME.fullmatch(other.name.replace(_REMOVED, "")):
            continue
        if not any(os.fsencode(f"/{other.name}/") in command for command in commands):
            _log.info("removing the orchestrator's venv of another release: %s", other)
            _remove(other)


def _running_commands() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # gone meanwhile
            found.append(path.read_bytes())
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Make the venv, as `ensure` does, and print where its Python is; 0, or 1 when it cannot be made."""
    parser = argparse.ArgumentParser(description="Makes the orchestrator's own venv, unless it is there already.")
    parser.add_argument("--venv", required=True, type=Path, metavar="DIR")
    parser.add_argument("--wheel", required=True, type=Path, metavar="FILE", help="the orchestrator's wheel")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        made = ensure(given.venv, given.wheel)
    except VenvError as error:
        sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
        return 1
    _log.info("made" if made else "already there")
    sys.stdout.write(f"{python_in(given.venv)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

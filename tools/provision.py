"""Makes the repo's own `.venv` and starts the calling script again inside it.

Standard library only, and it parses on any Python since 3.7, so that an old one can say what is missing. The file
`.venv/.provisioned` says what is installed; while that changes it says so too, and what was interrupted is built anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Dict, Iterator, NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)
CANDIDATES = ("python3.14", "python3.13", "python3.12", "python3.11", "python3", "python")
EXTRAS = ("", "comfygit", "test")
"""What can be installed with the package; each has all that those before it have."""

Stamp = Dict[str, str]
"""`state` (incomplete, ready), `python` (3.11), `root` (a venv cannot be moved), `extras`, `project` (sha256)."""


class SetUpError(Exception):
    """The set-up cannot go on; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def enter(extras: str = "", *, install: bool = True) -> None:
    """Return when this is the `.venv`'s Python and all is installed, `extras` (one of EXTRAS) included.

    Otherwise build what is missing and start the running script again in it: then this call never returns. Without
    `install`, which is for --help, any Python that is new enough will do.
    """
    try:
        if not install and sys.version_info[:2] >= OLDEST:
            return
        inside = Path(sys.prefix).resolve() == VENV.resolve()
        wanted = wanted_stamp(extras)
        ready = plan(VENV, wanted, check_python=inside) == "nothing"
        if inside and ready:
            return
        if not ready:
            use_able_python()
            _provision(wanted, inside=inside)
    except SetUpError as error:
        _say(f"error: {error}\nhint: {error.hint}")
        sys.exit(1)
    except KeyboardInterrupt:
        _say("interrupted; run it again to finish")
        sys.exit(130)
    _start_again(venv_python(VENV))


def use_able_python() -> None:
    """Return when this Python can make a venv; else start the script again on one that can. Raises SetUpError: none."""
    if sys.version_info[:2] >= OLDEST and _is_able(sys.executable):
        return
    for name in CANDIDATES:
        path = shutil.which(name)
        if path is not None and _is_able(path):
            _say(f"{sys.executable} cannot make the .venv: using {path}")
            _start_again(Path(path))
    raise _missing_python()


def plan(venv: Path, wanted: Stamp, *, check_python: bool) -> str:
    """What has to happen: "nothing", "install" (into the venv that is there) or "rebuild".

    A venv without a stamp was made by other means: it is kept, and installed into. `check_python`: `wanted` was made by
    the Python of the venv, which a system upgrade can change under it.
    """
    found = read_stamp(venv)
    if not venv_python(venv).exists():
        return "rebuild"
    if found is None:
        return "install"
    if found.get("state") != "ready" or found.get("root") != wanted["root"]:
        return "rebuild"
    if check_python and found.get("python") != wanted["python"]:
        return "rebuild"
    known = found.get("extras")
    enough = known in EXTRAS and EXTRAS.index(known) >= EXTRAS.index(wanted["extras"])
    return "nothing" if enough and found.get("project") == wanted["project"] else "install"


def wanted_stamp(extras: str) -> Stamp:
    """What the stamp says when all is installed by the running Python."""
    project = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    python = "{}.{}".format(*sys.version_info)
    return {"state": "ready", "python": python, "root": str(ROOT), "extras": extras, "project": project}


def read_stamp(venv: Path) -> Stamp | None:
    """The stamp of `venv`; None when it has none. One that cannot be read is empty, and counts as interrupted."""
    try:
        found = json.loads((venv / ".provisioned").read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_stamp(venv: Path, stamp: Stamp) -> None:
    """Replace the stamp of `venv` in one step."""
    fresh = venv / ".provisioned.new"
    fresh.write_text(json.dumps(stamp, indent=1) + "\n", "utf-8")
    fresh.replace(venv / ".provisioned")


def venv_python(venv: Path) -> Path:
    """Where `venv` has its Python."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[int]:
    """Hold a kernel lock on the file `path` and give its descriptor; wait for whoever holds it. Windows: no lock."""
    with path.open("r+b") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _say("another set-up of this checkout is under way: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _provision(wanted: Stamp, *, inside: bool) -> None:
    with exclusively(ROOT / "pyproject.toml") as lock, _stopped_by_sigterm():
        step = plan(VENV, wanted, check_python=inside)
        if step == "nothing":
            return
        if step == "install" and not _has_pip(venv_python(VENV)):
            step = "rebuild"
        _say(f"setting up {VENV} with Python {wanted['python']}")
        if step == "rebuild":
            _remove(VENV)
        VENV.mkdir(exist_ok=True)
        write_stamp(VENV, dict(wanted, state="incomplete"))
        if step == "rebuild":
            base = getattr(sys, "_base_executable", sys.executable) if inside else sys.executable
            _run("making the venv", [base, "-m", "venv", str(VENV)], lock)
        what = f".[{wanted['extras']}]" if wanted["extras"] else "."
        pip = [str(venv_python(VENV)), "-m", "pip", "--disable-pip-version-check", "install", "--editable", what]
        _run(f"installing {what} and what it needs", pip, lock)
        write_stamp(VENV, wanted)


def _run(title: str, command: list[str], lock: int) -> None:
    """Run one step, showing on a terminal what it is at. The child shares the lock: it may outlive us."""
    began = time.perf_counter()
    child = subprocess.Popen(
        command,
        cwd=str(ROOT),
        env=_clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        pass_fds=() if os.name == "nt" else (lock,),
    )
    lines: list[str] = []
    reader = threading.Thread(target=lines.extend, args=(child.stdout,))
    reader.start()
    try:
        while reader.is_alive():
            reader.join(0.2)
            _show_progress(f"{title} {time.perf_counter() - began:.0f} s  {lines[-1].strip() if lines else ''}")
    except BaseException:
        child.terminate()
        raise
    finally:
        code = child.wait()
        reader.join()
        _show_progress("")
    _say(f"{title:<50} {time.perf_counter() - began:6.1f} s")
    if code != 0:
        raise _failed_step(command, lines)


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()


def _failed_step(command: list[str], lines: list[str]) -> SetUpError:
    hint = f"{_venv_package_hint()}; then run this again"
    if "pip" in command:
        hint = "packages come from PyPI: is the network there (HTTPS_PROXY, PIP_INDEX_URL)? Then run this again"
    return SetUpError(f"`{' '.join(command)}` failed:\n{''.join(lines[-20:]).rstrip()}", hint)


def _missing_python() -> SetUpError:
    version, needed = "{}.{}".format(*sys.version_info), "{}.{}".format(*OLDEST)
    if sys.version_info[:2] >= OLDEST:
        return SetUpError(f"{sys.executable} cannot make a venv: no `ensurepip` or `venv`", _venv_package_hint())
    return SetUpError(
        f"Python {needed} or later is needed; {sys.executable} is {version}, and no other one on PATH will do",
        f"put one there: `apt install python{needed} python{needed}-venv`, `brew install python`, `uv python install`",
    )


def _venv_package_hint() -> str:
    return "on Debian and Ubuntu: `apt install python3-venv` (or python{}.{}-venv)".format(*sys.version_info)


def _is_able(python: str) -> bool:
    """Whether `python` is new enough and can make a venv."""
    return _succeeds(python, f"import ensurepip, sys, venv; sys.exit(sys.version_info < {OLDEST})")


def _has_pip(python: Path) -> bool:
    """Whether `python`, of a venv that others may have made, is as new as the running one and has pip."""
    return _succeeds(str(python), f"import pip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})")


def _succeeds(python: str, code: str) -> bool:
    try:
        return subprocess.call([python, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def _remove(venv: Path) -> None:
    if venv.is_symlink():
        venv.unlink()
    elif venv.exists():
        shutil.rmtree(str(venv))


def _clean_environment() -> dict[str, str]:
    """Our environment without what would point Python and pip somewhere else, or make each start compile all anew."""
    foreign = {"PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PIP_TARGET", "PIP_PREFIX", "PIP_USER"}
    return {name: value for name, value in os.environ.items() if name not in foreign}


def _start_again(python: Path) -> NoReturn:
    command = [str(python), *sys.argv]
    sys.stderr.flush()
    if os.name == "nt":
        sys.exit(subprocess.call(command, env=_clean_environment()))
    os.execve(str(python), command, _clean_environment())  # noqa: S606 - no shell is wanted


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Make SIGTERM end the step under way as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()

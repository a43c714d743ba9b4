"""Start a program that outlives us and is nobody's child."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator.processes.cgroups import leave
from orchestrator.processes.errors import SpawnFailed
from orchestrator.processes.output_file import open_appending
from orchestrator.processes.table import NOBODYS, SPAWN_MARKER

_TIMEOUT_S: Final = 30
"""For a Python to start and fork. 20 ms on an idle machine."""


def spawn_detached(command: Sequence[str], *, log: Path, environ: Mapping[str, str], cwd: Path) -> int:
    """Start `command` in a session of its own, without input, its output appended to `log` (mode 0600); its pid.

    It has no signal ignored or blocked, no descriptor of ours, and `environ` with the SPAWN_MARKER of nobody: it is no
    part of a ComfyUI that it was started from, and not in its cgroup. By a double fork, in a short-lived Python between
    us and it (`detached_start`), it is init's to reap and leaves no zombie with us. Waits for that Python, some 20 ms.
    Raises SpawnFailed; when it does not, the program has been executed.
    """
    output = open_appending(log)
    try:
        pid = _start(list(command), output, {**environ, SPAWN_MARKER: NOBODYS}, cwd)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        message = f"starting {' '.join(command[:1])!r} in {str(cwd)!r} in the background: {error}"
        hint = f"check that the program and the folder exist; more may be in {str(log)!r}"
        raise SpawnFailed(message, hint) from error
    finally:
        os.close(output)
    leave(pid)
    return pid


def _start(command: list[str], output: int, environ: Mapping[str, str], cwd: Path) -> int:
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        null = subprocess.DEVNULL
        return subprocess.Popen(
            command, cwd=cwd, env=environ, stdin=null, stdout=output, stderr=output, creationflags=flags
        ).pid
    middle = [sys.executable, "-I", "-S", str(Path(__file__).with_name("detached_start.py")), *command]
    done = subprocess.run(
        middle,
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=output,
        timeout=_TIMEOUT_S,
        check=False,
    )
    report = dict(line.split(" ", 1) for line in done.stdout.decode(errors="replace").splitlines())
    if "error" in report or "pid" not in report:
        raise OSError(report.get("error", f"the Python in between ended with {done.returncode}"))
    return int(report["pid"])

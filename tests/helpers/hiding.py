"""Children that do all they can not to be found, and a loop that stops them, many times."""

import os
import sys
from pathlib import Path

from journal.identity import Identity, identify, is_alive
from orchestrator.processes import cgroups
from orchestrator.processes.children import Children
from tests.helpers.child_scripts import PYTHON
from tests.helpers.waiting import until

HIDE = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)

def leaf(environ):
    os.write(1, b"%d\\n" % os.getpid())
    os.execve("/bin/sleep", ["sleep", "300"], environ)

def forked(then, *arguments):
    pid = os.fork()
    if not pid:
        try:
            then(*arguments)
        finally:
            os._exit(0)
    return pid

def out_of_session(environ):
    os.setsid()
    leaf(environ)

def orphan(environ):
    os.setsid()
    forked(leaf, environ)

forked(out_of_session, dict(os.environ))
forked(leaf, {})
os.waitpid(forked(orphan, dict(os.environ)), 0)
"""
"""Starts three that ignore signals: out of the session, without an environment, double-forked out of the session."""

HIDE_WELL = HIDE + "os.waitpid(forked(orphan, {}), 0)\n"
"""And one that is all of that at once: only a cgroup or a subreaper can tell whose it is."""

IN_ITS_GROUP = "while 'comfygit-' not in open('/proc/self/cgroup').read(): pass\n"
"""Prefix: waits until it was moved into its cgroup, some 10 ms after it was started."""

PAUSE = "os.write(1, b'up\\n')\nwhile True: signal.pause()\n"
LEAVE = "os.write(1, b'up\\n')\n"


def may_make_groups() -> bool:
    """Whether there are cgroups here, and ours to make."""
    own = cgroups.own_group()
    return own is not None and os.access(own, os.W_OK) and os.access(own / "cgroup.procs", os.W_OK)


def hide(children: Children, key: int, log: Path, script: str) -> tuple[Identity, tuple[Identity, ...]]:
    """A root that runs `script`, one of the above and then PAUSE or LEAVE; it and its descendants, all of them there."""
    root = children.spawn(key, [*PYTHON, script], cwd=Path("/"), environ={}, log=log)
    count = 4 if HIDE_WELL in script else 3
    until(lambda: log.exists() and log.read_text().count("\n") == count + 1)
    pids = [int(line) for line in log.read_text().split() if line != "up"]
    found = tuple(identity for pid in pids if (identity := identify(pid)) is not None)
    assert len(found) == count
    return root, found


def stop_many(children: Children, folder: Path, count: int, before: str = "") -> int:
    """Stop `count` trees, every second one when its root has left already. How many processes survived.

    `before` is what a root does before it hides others.
    """
    survived = 0
    for key in range(1, count + 1):
        log = folder / f"{key}.log"
        root, descendants = hide(children, key, log, before + HIDE_WELL + (PAUSE if key % 2 else LEAVE))
        if not key % 2:
            until(lambda: children.poll(key))  # noqa: B023
        children.signal(root, key, "SIGKILL", whole_tree=True)
        until(lambda: children.poll(key))  # noqa: B023
        try:
            until(lambda: not any(map(is_alive, descendants)), 2)  # noqa: B023
        except AssertionError:
            survived += sum(map(is_alive, descendants))
        children.forget(key)
        log.unlink()
    return survived


BELOW_A_SUBREAPER = """
import ctypes, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
sys.exit(subprocess.run([sys.executable, "-c", *sys.argv[1:]], check=False).returncode)
"""


def below_a_subreaper(script: str, *arguments: str) -> list[str]:
    """The command that runs `script` with our modules, as an orchestrator's is run by a guard."""
    return [sys.executable, "-c", BELOW_A_SUBREAPER, script, *arguments]


def with_our_modules() -> dict[str, str]:
    """The environment for that."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

"""Processes that want the same lock at the same moment, round after round."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCRIPT = """
import sys
from pathlib import Path

from journal.codec import own_actor
from journal.events import Origin
from journal.identity import own_identity
from orchestrator import acquire_switch_lock, release_switch_lock
from orchestrator.asking import ask_switch
from orchestrator.deciding.withdrawing import withdraw
from orchestrator.ledger import Ledger
from orchestrator.workspace import Workspace
from orchestrator.world import SwitchAsk

ledgers = {}

def ledger_of(root):
    if root not in ledgers:
        while ledgers:
            ledgers.popitem()[1].close()
        ledgers[root] = Ledger.open(Workspace(Path(root)), own_actor("cli"))
    return ledgers[root]

def ask(root, origin):
    wish = SwitchAsk(target="one", origin=Origin(origin), requester=own_identity())
    return ask_switch(ledger_of(root), wish).refused is None

def free(root):
    ledger_of(root).ask(lambda state: withdraw(state, "on to the next round"))
    return True

does = {
    "claim": lambda root: acquire_switch_lock(Path(root, ".metadata")),
    "release": lambda root: release_switch_lock(Path(root, ".metadata")) is None,
    "cli": lambda root: ask(root, "cli"),
    "panel": lambda root: ask(root, "panel"),
    "free": free,
}
print("ready", flush=True)
for line in sys.stdin:
    what, root = line.rstrip("\\n").split(" ", 1)
    print("had" if does[what](root) else "not", flush=True)
"""


class Contender:
    """One of them, kept alive over all rounds."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def say(self, what: str, root: Path) -> None:
        """Let it begin: `claim`, `release`, `cli`, `panel` or `free`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what} {root}\n")
        self._process.stdin.flush()

    def heard(self) -> str:
        """`had` or `not`; `ready` once, at first."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def contenders(count: int) -> Iterator[list[Contender]]:
    """So many, all of them ready."""
    started = [Contender() for _ in range(count)]
    try:
        assert [one.heard() for one in started] == ["ready"] * count
        yield started
    finally:
        for one in started:
            one.end()

"""How an orchestrator ended, and what could not be ended, in words.

Imports nothing of ours: `comfygit-journal log` waits for no imports.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journal.events import LeftBehind, OrchestratorLost


def loss_in_words(event: "OrchestratorLost") -> str:
    """As in `orchestrator pid 12 ended by SIGKILL`."""
    return ended(event.identity.pid, event.code, event.signal, became_guard=event.became_guard)


def left_in_words(one: "LeftBehind") -> str:
    """As in `pid 12 (worker): we may not signal it`. Its name is another program's: to be escaped where it is shown."""
    return f"pid {one.identity.pid} ({one.name}): {one.why}"


def ended(pid: Any, code: Any, signal: Any, *, became_guard: Any = False) -> str:
    """The same of the fields as they are stored; whatever those are, it is text."""
    if became_guard:
        how = "became the guard, in place of a dead one"
    elif signal:
        how = f"ended by {signal}"
    else:
        how = "ended, nobody knows how" if code is None else f"ended with exit code {code}"
    return f"orchestrator pid {pid} {how}"

"""What can go wrong when a program is started."""

import contextlib
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.errors import OrchestratorError


class SpawnFailed(OrchestratorError):  # noqa: N818 - the fact, as in the event
    """A program was not started; nothing of it runs."""


@contextlib.contextmanager
def as_spawn_failed(command: Sequence[str], cwd: Path) -> Iterator[None]:
    """What the system says against starting `command` in `cwd`, as SpawnFailed, with what to do about it."""
    try:
        yield
    except (OSError, ValueError, IndexError) as error:
        program = command[0] if command else "nothing"
        message = f"starting {program!r} in {str(cwd)!r}: {error}"
        raise SpawnFailed(message, _hint(error)) from error


def _hint(error: Exception) -> str:
    match getattr(error, "errno", None):
        case errno.ENOENT | errno.ENOTDIR:
            return "check that the program and the folder exist"
        case errno.EACCES | errno.EPERM:
            return "check that the program may be executed and the folder entered"
        case errno.EAGAIN | errno.ENOMEM | errno.EMFILE | errno.ENFILE:
            return "the machine has no room for another process: end some, or raise the limits (ulimit -a)"
        case _:
            return "check the command"

"""Writing a generation's content over what was saved of an environment, and over nothing else.

comfygit-core's own lock is held meanwhile: no `cg` is met halfway.
"""

import contextlib
import sys
from collections.abc import Iterator, Mapping

from orchestrator.environments.content import Changes, ContentError, Entry, read_content, write_back
from orchestrator.environments.content_rules import printable
from orchestrator.workspace import EnvironmentPaths

_LOCK = ".comfygit.lock"  # comfygit-core's, in the environment's folder


class ChangedMeanwhile(ContentError):  # noqa: N818 -- says what is the matter
    """What is there is neither what was saved nor what is to come: somebody has worked on it. Nothing was written."""


def restore(paths: EnvironmentPaths, wanted: Mapping[str, Entry], saved: Mapping[str, Entry]) -> Changes:
    """Make the content `wanted`, where each file is as `saved` has it, or as `wanted` has it already.

    Raises ChangedMeanwhile where one is not, and ContentError; then nothing was changed.
    """
    with _core_kept_away(paths):
        here = read_content(paths)
        for name in sorted({*here, *saved, *wanted}):
            if here.get(name) not in (saved.get(name), wanted.get(name)):
                message = (
                    f"bringing content back to environment {paths.name!r}: {printable(name)} was changed meanwhile"
                )
                raise ChangedMeanwhile(message, "nothing was written; what is there now is saved first")
        return write_back(paths, wanted)


@contextlib.contextmanager
def _core_kept_away(paths: EnvironmentPaths) -> Iterator[None]:
    """Hold comfygit-core's lock on the environment. Raises ContentError when somebody else does."""
    if sys.platform == "win32" or not paths.is_comfygit:
        yield
        return
    import fcntl

    try:
        with (paths.root / _LOCK).open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        message = f"bringing content back to environment {paths.name!r}: comfygit-core is at work in it"
        raise ContentError(message, "wait until `cg` is done there") from error

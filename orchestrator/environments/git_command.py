"""The git command, run in a manifest repository: alone with what it is told, and not longer than `TIMEOUT_S`.

Neither variables of whoever started us nor hooks of the repository take part, nothing is fetched or cleaned up by the
way, and no repository around the folder is taken for that of the folder.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from journal.masking import mask
from orchestrator.environments.content_files import ContentError, is_repository
from orchestrator.environments.content_rules import printable
from orchestrator.environments.git_process import run_git
from orchestrator.workspace import EnvironmentPaths

TIMEOUT_S: Final = 20.0
_SAID_CHARS: Final = 600
_SETTINGS: Final = (
    "gc.auto=0",
    "maintenance.auto=false",
    "core.splitIndex=false",  # it writes beside the user's index, whatever index it is told to use
    "core.sparseCheckout=false",
    "core.fsync=committed,reference",  # what the journal says is kept is on the disk
    "i18n.commitEncoding=UTF-8",
    *([] if os.name == "nt" else ["core.protectNTFS=false", "core.protectHFS=false"]),  # here `git~1` is any other name
)
_HINTS: Final = {
    "dubious ownership": "the folder belongs to another user; to trust it: git config --global --add safe.directory {cec}",
    "not a git repository": "the repository in {cec} is damaged or not finished: git -C {cec} fsck",
    "No space left": "make room on the disk, then try again",
    "Permission denied": "see that {cec} can be written to",
}
_HINT: Final = "look at the repository: git -C {cec} fsck"


class GitError(ContentError):
    """A git command failed, took too long, or there is no git, or nothing for it to work on."""


@attrs.frozen
class Git:
    """Git in one manifest repository. `doing` begins the message of every error."""

    cec: Path
    doing: str
    program: str

    def run(self, *arguments: str, given: bytes = b"", environ: Mapping[str, str] | None = None) -> bytes:
        """What the command says on stdout. Raises GitError."""
        code, said, complaint = self.attempt(*arguments, given=given, environ=environ)
        if code != 0:
            text = complaint or f"exit code {code}"
            hint = next((hint for words, hint in _HINTS.items() if words in text), _HINT)
            raise GitError(f"{self.doing}: git {arguments[0]} failed: {text}", hint.format(cec=self.cec))
        return said

    def attempt(
        self, *arguments: str, given: bytes = b"", environ: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, str]:
        """Exit code, stdout, and what it says on stderr, fit to be stored. Raises GitError when it does not end."""
        try:
            done = run_git(
                self.cec,
                arguments,
                timeout_s=TIMEOUT_S,
                program=self.program,
                settings=_SETTINGS,
                environ={**_environ(self.cec), **(environ or {})},
                given=given,
            )
        except subprocess.TimeoutExpired as error:
            message = f"{self.doing}: git {arguments[0]} was not done in {TIMEOUT_S:g} s"
            raise GitError(message, "see what keeps the disk busy, then try again") from error
        except OSError as error:
            message = f"{self.doing}: {self.program} cannot be started in {self.cec}: {error}"
            raise GitError(message, "see that git works: git --version") from error
        return done.returncode, done.stdout, _said(done.stderr)


def has_repository(paths: EnvironmentPaths) -> bool:
    """Whether the environment has a manifest repository, in whatever condition."""
    return paths.is_comfygit and is_repository(paths.cec)


def git_for(paths: EnvironmentPaths, doing: str) -> Git:
    """Git in the environment's manifest repository. Raises GitError when there is none, or no git."""
    if not has_repository(paths):
        message = f"{doing}: {paths.cec} is not a git repository"
        raise GitError(message, f"make it one: git -C {paths.cec} init")
    program = shutil.which("git")
    if program is None:
        raise GitError(f"{doing}: there is no git on this machine", "install git, or put it on PATH")
    return Git(paths.cec, doing, program)


def _environ(cec: Path) -> dict[str, str]:
    return {
        "LC_ALL": "C",
        "GIT_CEILING_DIRECTORIES": str(cec.parent),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
    }


def _said(raw: bytes) -> str:
    lines = [line.strip() for line in raw.decode("utf-8", "replace").splitlines() if line.strip()]
    return mask(printable(" | ".join(lines)))[:_SAID_CHARS]

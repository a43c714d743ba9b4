"""git as a child process that is told only what it is told here: by no variable, hook or monitor of the user's."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_QUIET = ("core.fsmonitor=false", "core.hooksPath=/dev/null")


def run_git(
    folder: Path,
    arguments: Sequence[str],
    *,
    timeout_s: float,
    program: str = "git",
    settings: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    given: bytes = b"",
) -> "subprocess.CompletedProcess[bytes]":
    """Run it in `folder`, with `settings` as for `git -c`; it takes no lock that it can do without.

    Raises OSError when it cannot be started, subprocess.TimeoutExpired after `timeout_s`.
    """
    options = [word for setting in (*_QUIET, *settings) for word in ("-c", setting)]
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("GIT_")}
    return subprocess.run(
        [program, "--no-optional-locks", *options, *arguments],
        input=given,
        capture_output=True,
        cwd=folder,
        env={**kept, **(environ or {})},
        timeout=timeout_s,
        check=False,
    )

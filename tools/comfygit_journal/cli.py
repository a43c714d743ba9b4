"""Where `comfygit-journal` begins: the quick answer if there is one, else the whole program; and how both end."""

import os
import sys
from collections.abc import Sequence

from comfygit_journal import quick

INTERRUPTED = 130
BROKEN_PIPE = 141
"""As the shell calls one that SIGPIPE ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0 done, 1 failed or something is wrong, 2 wrong usage, 130 interrupted."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        code = quick.run(arguments)
        if code is None:
            from comfygit_journal.commands import run

            code = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _discard_output() -> None:
    """Nobody reads any more, so that what is still buffered must not fail once again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)

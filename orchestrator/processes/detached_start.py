"""The middle one of a double fork. Run as a file, on any Python 3.9 or later: standard library only.

    python -I -S detached_start.py PROGRAM ARGUMENT...

stdout is the report to whoever asked: a line `pid N`, and `error TEXT` when the program could not be executed. stderr
is the program's log. It forks, reports and ends, so that init (or the nearest subreaper) inherits the program.
"""

import contextlib
import os
import signal
import sys


def main(command: list[str]) -> None:
    """Start `command` as the leader of a new session, with every signal at its default and none blocked."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    report = os.dup(sys.stdout.fileno())  # not inheritable: the reader sees its end when the program has begun
    pid = os.fork()
    if pid:
        os.write(report, f"pid {pid}\n".encode())
        return
    try:
        os.setsid()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except (OSError, ValueError, IndexError) as error:
        os.write(report, f"error {error}\n".encode())
    finally:
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])

"""What happens before the web server is imported: output, children, early death."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from comfyui_stand_in.misbehaviour import Misbehaviour

FORK_FILE = "fork_session.pid"
FORK_LIFE_S = 300
_SLEEP = f"import time; time.sleep({FORK_LIFE_S})"
_SPAWN = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True).pid)"
_NOT_UTF_8 = b"caf\xe9 \xff\xfe\x80 \xc3\n"


def die(code: int) -> NoReturn:
    """End at once with `code`; below 0, by that signal."""
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


def leave(code: int) -> NoReturn:
    """Leave as a custom node calling sys.exit does; below 0, by that signal."""
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


def misbehave(orders: Misbehaviour, home: Path) -> None:
    """Do what `orders` ask of a start before anything is loaded."""
    _ignore_signals(orders)
    if orders.fork_session or orders.double_fork:
        pid = _fork_session(double=orders.double_fork)
        (home / FORK_FILE).write_text(f"{pid}\n", encoding="ascii")
    print_as_ordered(orders)
    if orders.die_at_start is not None:
        time.sleep(orders.die_delay_s)
        sys.stderr.write(f"{orders.die_message}\n")
        sys.stderr.flush()
        die(orders.die_at_start)
    if orders.import_error is not None:
        msg = f"No module named {orders.import_error!r}"
        raise ModuleNotFoundError(msg, name=orders.import_error)


def print_as_ordered(orders: Misbehaviour) -> None:
    """Write what no log is made for."""
    if orders.non_utf8:
        _write_stdout(_NOT_UTF_8)
    if orders.flood:
        _flood(orders.flood, orders.flood_line_bytes)


def _ignore_signals(orders: Misbehaviour) -> None:
    # A handler, not SIG_IGN: the children of fork_session must not inherit it.
    if orders.ignore_sigterm:
        signal.signal(signal.SIGTERM, _note_signal)
    if orders.ignore_sigint:
        signal.signal(signal.SIGINT, _note_signal)


def _note_signal(number: int, _frame: FrameType | None) -> None:
    # Unbuffered: a logger interrupted in the middle of a line may not be entered again.
    os.write(2, f"stand-in: ignores {signal.Signals(number).name}\n".encode())


def _fork_session(*, double: bool) -> int:
    """Start a child in a session of its own, holding our output; give its pid.

    With `double` its parent ends at once, so that nothing but the output ties it to us.
    """
    sleep = [sys.executable, "-I", "-S", "-c", _SLEEP]
    if not double:
        child = subprocess.Popen(sleep, start_new_session=True)
        return child.pid
    spawn = [sys.executable, "-I", "-S", "-c", _SPAWN, *sleep]
    # The grandchild has our stderr; its stdout is a pipe that nobody reads.
    with subprocess.Popen(spawn, stdout=subprocess.PIPE) as middle:
        assert middle.stdout is not None  # noqa: S101 - narrows the type
        return int(middle.stdout.readline())


def _write_stdout(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _flood(total: int, line_bytes: int) -> None:
    """Write `total` bytes as lines of `line_bytes`, the line end included."""
    line = b"x" * (line_bytes - 1) + b"\n"
    whole, rest = divmod(total, line_bytes)
    lines_at_once = max(1, 65536 // line_bytes)
    while whole > 0:
        count = min(whole, lines_at_once)
        _write_stdout(line * count)
        whole -= count
    _write_stdout(line[line_bytes - rest :] if rest else b"")

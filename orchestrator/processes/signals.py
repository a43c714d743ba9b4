"""Signals to exactly one process, and the descriptor by which its end is noticed.

On Linux both go by pidfd: who the process is, is read again once the descriptor is open, so that no later owner of
the pid can be meant. Elsewhere, and where Python or the kernel has no pidfd, it is read just before.
"""

import os
import signal
import sys

from journal.identity import Identity, is_alive

_INIT_PID = 1


def open_child_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when our own child `pid`, not reaped yet, ends; None without pidfds.

    The caller closes it. Not inherited by children.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def open_pidfd(identity: Identity) -> int | None:
    """The same for any process; None also when exactly this process is gone."""
    pidfd = open_child_pidfd(identity.pid)
    if pidfd is None or is_alive(identity):
        return pidfd
    os.close(pidfd)
    return None


def send(identity: Identity, signal_name: str) -> bool:
    """Send `signal_name` ("SIGINT", ...) and say whether it was sent.

    False for a process that is gone or not ours to signal, for another owner of its pid, for init and for ourselves.
    Raises KeyError for a name that this system does not have. On Windows every name means the same, an immediate end.
    """
    if identity.pid <= _INIT_PID or identity.pid == os.getpid() or not is_alive(identity):
        return False
    if sys.platform == "win32":
        return _terminate(identity)
    try:
        return _send(identity, signal.Signals[signal_name])
    except PermissionError:
        return False


def signal_name(number: int) -> str:
    """As in "SIGKILL", "SIG35" for one that has no name, as real-time ones."""
    return next((one.name for one in signal.Signals if one == number), f"SIG{number}")


def may_signal(identity: Identity) -> bool:
    """False for a process that lives and is another user's. On Windows nobody is asked."""
    if sys.platform == "win32":
        return True
    try:
        _send(identity, 0)
    except PermissionError:
        return False
    return True


def _send(identity: Identity, number: int) -> bool:
    pidfd = open_pidfd(identity)
    try:
        if pidfd is not None:
            signal.pidfd_send_signal(pidfd, number)
        elif is_alive(identity):
            os.kill(identity.pid, number)
        else:
            return False
    except ProcessLookupError:
        return False
    finally:
        if pidfd is not None:
            os.close(pidfd)
    return True


def _terminate(identity: Identity) -> bool:
    import psutil

    try:
        psutil.Process(identity.pid).kill()
    except psutil.Error:
        return False
    return True

"""The small parent that outlives an orchestrator: starts it again unless it ended with 0, and knows how orphans ended.

    python -I -S guard.py [--again] -- COMMAND...

Run as a file, never imported by anything but its tests and `guarding`: standard library only, so that it stays small. It
sleeps in one system call until a child ends or somebody signals it. As a subreaper (Linux) it inherits the ComfyUIs of a
dead orchestrator, and tells the next one how they ended, and how that orchestrator did.

The two talk by a pipe each way, named in ENVIRON. To the orchestrator, a line each: `reaped PID START_TICKS WAIT_STATUS` and
`signal NAME`. From it: `started` once it is the workspace's orchestrator, and `leave` when there is nothing to start again.
"""

import contextlib
import os
import select
import signal
import sys
import time

ENVIRON = "COMFYGIT_JOURNAL_GUARD"
"""`<guard's pid>:<descriptor to read from>:<descriptor to write to>:<1 when it is started again, else 0>:<1 when the guard
had children before it was one, else 0>`"""
AGAIN = "--again"
"""Begin as after a death: what is started first is already a successor."""
FIRST_DELAY_S, MOST_DELAY_S = 0.1, 10.0
"""Before a dead orchestrator is started again: doubled for each death, until one has lived for LONG_S."""
LONG_S = 60.0
KEPT = 64
"""Ends of orphans that are remembered, newest last, and of orchestrators as many. Of orphans only those that led a session,
as every ComfyUI of ours does."""
NOT_STARTED = 127

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""What asks for the end."""
AWAITED = (signal.SIGCHLD, signal.SIGALRM, *ENDING)
_PR_SET_CHILD_SUBREAPER = 36
_STAT_SESSION, _STAT_START = 3, 19  # of the fields after the name: proc(5) counts them 6 and 22


def is_heeded(number: int) -> bool:
    """Not SIGHUP and SIGQUIT where they are ignored: `nohup` or a shell has promised that for us."""
    return number not in {signal.SIGHUP, signal.SIGQUIT} or signal.getsignal(number) is not signal.SIG_IGN


class Guard:
    """One orchestrator after the other, until one has ended for good: then `status` is ours."""

    def __init__(self, command: list[str], *, again: bool) -> None:
        self.status: int | None = None
        self._command = command
        self._started = again
        self._had_children = not again and _has_children()
        self._said: set[str] = set()
        self._child = 0
        self._since = 0.0
        self._delay_s = FIRST_DELAY_S
        self._asked = ""
        self._reaped: list[str] = []
        self._lost: list[str] = []
        self._hear, self._say = -1, -1

    def run(self) -> int:
        """Until there is nothing more to start; the exit status. Signals are awaited, not handled: nothing interrupts us."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        awaited = [number for number in AWAITED if number not in ENDING or is_heeded(number)]
        _become_subreaper()
        self._start()
        self._reap()  # a child that we had before we became a guard may have ended unnoticed
        while self.status is None:
            number = signal.sigwait(awaited)
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGALRM and not self._child:
                self._start()
            else:
                self._pass_on(signal.Signals(number))
        return self.status

    def _start(self) -> None:
        opened: list[int] = []
        try:
            for _ in range(2):
                opened += os.pipe()
            self._since = time.monotonic()
            self._child = os.fork()
        except OSError as error:
            _close(opened)
            self._start_later(f"starting an orchestrator: {error}; it is tried")
            return
        to_read, self._say, self._hear, to_write = opened
        self._said = set()
        if self._child == 0:
            self._become_orchestrator(to_read, to_write)
        _close([to_read, to_write])
        for ours in (self._say, self._hear):
            os.set_blocking(ours, False)
        for line in (*self._lost, *self._reaped):
            self._tell(line)
        if self._asked:
            self._tell(f"signal {self._asked}")

    def _become_orchestrator(self, to_read: int, to_write: int) -> None:
        """In the child: no signal blocked, and two descriptors more than usual."""
        try:
            for descriptor in (to_read, to_write):
                os.set_inheritable(descriptor, True)  # noqa: FBT003 - its name is no keyword
            environ = {
                **os.environ,
                ENVIRON: f"{os.getppid()}:{to_read}:{to_write}:{int(self._started)}:{int(self._had_children)}",
            }
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execvpe(self._command[0], self._command, environ)  # noqa: S606 - no shell is the point
        except OSError as error:
            _log(f"starting {self._command[0]!r}: {error}")
        finally:
            os._exit(NOT_STARTED)

    def _reap(self) -> None:
        """Every child that has ended; SIGCHLD comes once for several."""
        with contextlib.suppress(ChildProcessError):
            while True:
                if not hasattr(os, "waitid"):
                    pid, status = os.waitpid(-1, os.WNOHANG)
                    facts = None
                else:
                    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                    pid = 0 if ended is None else ended.si_pid
                    facts = _session_and_start(pid)  # before it is reaped: then it is gone
                    status = 0 if not pid else os.waitpid(pid, 0)[1]
                if not pid:
                    return
                self._ended(pid, status, facts)

    def _ended(self, pid: int, status: int, facts: "tuple[int, int] | None") -> None:
        line = "" if facts is None else f"reaped {pid} {facts[1]} {status}"
        if pid == self._child:
            self._lost = [*self._lost, line][-KEPT:] if line else []
            self._orchestrator_ended(os.waitstatus_to_exitcode(status))
        elif facts is not None and facts[0] == pid:
            self._reaped = [*self._reaped, line][-KEPT:]
            self._tell(line)

    def _orchestrator_ended(self, code: int) -> None:
        self._listen()
        _close([self._hear, self._say])
        pid, self._child = self._child, 0
        if code == 0 or "leave" in self._said or self._is_refused(code):
            self.status = code if code >= 0 else 128 - code
            return
        if time.monotonic() - self._since >= LONG_S:
            self._delay_s = FIRST_DELAY_S
        self._start_later(f"the orchestrator, pid {pid}, {_how(code)}; it is started")

    def _is_refused(self, code: int) -> bool:
        """Whether what was asked for cannot be had, the first start or an end in good order; or the first start was ended."""
        if self._started:
            return code > 0 and self._asked != "" and "started" not in self._said
        return code > 0 or self._asked != "" or -code in ENDING

    def _start_later(self, why: str) -> None:
        _log(f"{why} again in {self._delay_s:g} s")
        signal.setitimer(signal.ITIMER_REAL, self._delay_s)
        self._delay_s = min(self._delay_s * 2, MOST_DELAY_S)

    def _pass_on(self, number: signal.Signals) -> None:
        """A wish for the end. It holds for every orchestrator to come, until one has carried it out."""
        self._asked = number.name
        if not self._child:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            return
        self._listen()
        if self._started:
            self._tell(f"signal {number.name}")
        else:
            os.kill(self._child, number)

    def _listen(self) -> None:
        """Take in what the orchestrator has said."""
        with contextlib.suppress(OSError):
            self._said.update(os.read(self._hear, 4096).decode("ascii", "replace").split())
        self._started = self._started or "started" in self._said

    def _tell(self, line: str) -> None:
        """One that does not listen, or not any more, is not waited for: its successor is told again."""
        with contextlib.suppress(OSError):
            os.write(self._say, f"{line}\n".encode())


def _close(descriptors: "list[int]") -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _become_subreaper() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _has_children() -> bool:
    """Also such as have ended. Whoever started us by `exec` leaves us its own, and they leave us their orphans."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (AttributeError, ChildProcessError):
        return False
    return True


def _session_and_start(pid: int) -> "tuple[int, int] | None":
    """Of a zombie of ours, too. None where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib costs a megabyte
            raw = file.read()
    except OSError:
        return None
    fields = raw[raw.rfind(b")") + 2 :].split()
    return int(fields[_STAT_SESSION]), int(fields[_STAT_START])


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _log(message: str) -> None:
    """Dropped where nobody takes it (Ctrl-S, a full pipe): that must hold nothing up."""
    with contextlib.suppress(OSError, AttributeError, ValueError):  # stderr may be None, or no file
        to = sys.stderr.fileno()
        if select.select([], [to], [], 0)[1]:
            os.write(to, f"{time.strftime('%Y-%m-%d %H:%M:%S')} WARNING guard: {message}\n".encode())


def main(argv: list[str]) -> int:
    """`[--again] -- COMMAND...`; the exit status of the last orchestrator."""
    cut = argv.index("--")
    return Guard(argv[cut + 1 :], again=AGAIN in argv[:cut]).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

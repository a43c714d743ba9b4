"""The processes that an orchestrator started or took over: start, watch, signal, and find them again after a crash.

Nothing here waits. A key is what names a process in the journal: the seq of the event that intended it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

import attrs

from journal import clock
from journal.clock import S, Stamp, is_over
from journal.identity import Identity, boot_id, is_alive
from orchestrator.processes.cgroups import leave
from orchestrator.processes.errors import SpawnFailed, as_spawn_failed
from orchestrator.processes.inherited_signals import defaults_for_children, keep_exit_codes
from orchestrator.processes.output_file import is_locked, open_locked
from orchestrator.processes.signals import open_child_pidfd, open_pidfd, send, signal_name
from orchestrator.processes.spawn_groups import SpawnGroups
from orchestrator.processes.table import SPAWN_MARKER, row
from orchestrator.processes.tree import Ties, kin, members, topmost, tree

__all__ = ["SPAWN_MARKER", "Children", "Exit", "SpawnFailed", "find_spawned", "tree"]

UNTOLD_MAX_NS: Final = S
"""How long the guard may take to say how a process ended. It is woken by the same end as we: some milliseconds."""
_SWEEPS: Final = 8
"""How often at most a tree is looked through for one signal: until nothing new turns up, to catch forks in between."""


class Reaper(Protocol):
    """Whoever inherits the processes of a dead orchestrator, and tells the next one how they ended."""

    identity: Identity

    def may_know(self, identity: Identity) -> bool:
        """Whether `identity` is one of those that it inherited, or may have been one."""

    def wait_status(self, identity: Identity) -> int | None:
        """As `os.wait` gives it; None when it has not been told."""


@attrs.frozen
class Exit:
    """How a process ended. `code` is None when a signal did it (`signal`: "SIGKILL") or nobody knows (`known`).

    `reaped`: it was the guard that told.
    """

    code: int | None
    signal: str
    known: bool
    reaped: bool = False


@attrs.define
class _Child:
    identity: Identity
    pidfd: int | None
    started_here: subprocess.Popen[bytes] | None
    may_be_told: bool = False
    was_there: bool = True
    exit: Exit | None = None
    gone: Stamp | None = None


class Children:
    """The processes of one orchestrator, by key. No threads; the only reaper of what it started. Main thread only."""

    def __init__(self, journal_id: str, reaper: Reaper | None = None, *, cgroups: bool = True) -> None:
        """`reaper` is our guard: it is asked how those ended that are no children of ours, and survivors are left to it.

        With `cgroups`, each start gets a cgroup of its own where that is possible.
        """
        keep_exit_codes()
        os.environ.pop(SPAWN_MARKER, None)  # an orchestrator started from inside a ComfyUI is no part of that ComfyUI
        self._journal_id = journal_id
        self._reaper = reaper
        self._groups = SpawnGroups(journal_id, wanted=cgroups)
        self._guard: Identity | None = None
        if reaper is not None:
            self.guard = reaper.identity
        self._children: dict[int, _Child] = {}

    @property
    def guard(self) -> Identity | None:
        """Our parent, where it is a subreaper: what we start leaves its orphans to it."""
        return self._guard

    @guard.setter
    def guard(self, identity: Identity | None) -> None:
        self._guard = identity
        if identity is not None and is_alive(identity):
            leave(identity.pid)  # as we have left ourselves

    def spawn(self, key: int, command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], log: Path) -> Identity:
        """Start `command` in a session of its own, without input, its output appended to `log` (mode 0600).

        `environ` is all it gets, plus SPAWN_MARKER. It inherits no descriptor and no ignored or blocked signal. As long
        as it or anything that shares its output lives, `log` is flock'd. Raises SpawnFailed; ValueError for a key in
        use.
        """
        if key in self._children:
            message = f"a process is already known by {key}"
            raise ValueError(message)
        with open_locked(log) as output, as_spawn_failed(command, cwd), defaults_for_children():
            process = subprocess.Popen(
                list(command),
                cwd=cwd,
                env={**environ, SPAWN_MARKER: _mark(self._journal_id, key)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._groups.take_in(key, process.pid)
        found = row(process.pid)  # also a zombie has a start time, and nobody else can have reaped it
        identity = Identity(process.pid, 0, boot_id()) if found is None else found.identity
        self._children[key] = _Child(identity, open_child_pidfd(process.pid), process)
        return identity

    def __contains__(self, key: int) -> bool:
        """Whether it is watched: spawned or adopted, and not forgotten."""
        return key in self._children

    def adopt(self, key: int, identity: Identity) -> None:
        """Watch a process that somebody else started. It may be gone already: `poll` says so."""
        self.forget(key)
        may_be_told = self._reaper is not None and self._reaper.may_know(identity)
        found = row(identity.pid)  # a zombie has its pid still
        was_there = found is not None and found.identity == identity
        self._children[key] = _Child(identity, open_pidfd(identity), None, may_be_told, was_there)

    def exit_fd(self, key: int) -> int | None:
        """A descriptor that is readable once the process has ended, for `loop.add_reader`; None: poll instead.

        Stays readable. Closed by `forget`: remove the reader before.
        """
        child = self._children.get(key)
        return None if child is None else child.pidfd

    def poll(self, key: int) -> Exit | None:
        """How it ended; None while it runs, and for an unknown key. Of one that was adopted only the guard knows.

        Where the guard has still to say so, None, and `is_untold`: for at most UNTOLD_MAX_NS, then `known` is False.
        A process of our own stays a zombie until `forget`, so that its pid, which is its session's number, is not given
        away while survivors are being looked for (Linux).
        """
        child = self._children.get(key)
        if child is None:
            return None
        if child.exit is None:
            child.exit = _peek(child) if child.started_here is not None else self._peek_adopted(child)
        return child.exit

    def is_untold(self, key: int) -> bool:
        """Whether it is gone, and the guard has yet to say how it ended."""
        child = self._children.get(key)
        return child is not None and child.exit is None and child.gone is not None

    def _peek_adopted(self, child: _Child) -> Exit | None:
        if is_alive(child.identity):
            return None
        status = None if self._reaper is None else self._reaper.wait_status(child.identity)
        if status is not None:
            return attrs.evolve(_exit(os.waitstatus_to_exitcode(status)), reaped=True)
        now = clock.read()
        child.gone = child.gone or now
        if child.may_be_told and not is_over(child.gone, UNTOLD_MAX_NS, now):
            return None
        return Exit(None, "", known=False)

    def forget(self, key: int) -> None:
        """Reap it if it has ended, close its descriptor and drop it.

        A process of our own that still runs goes on unwatched, and once it ends, is a zombie until we end.
        """
        child = self._children.pop(key, None)
        if child is None:
            return
        self._groups.settle(key)
        if child.started_here is not None:
            child.started_here.poll()
            child.started_here.returncode = child.started_here.returncode or 0  # else Popen warns that it still runs
        if child.pidfd is not None:
            os.close(child.pidfd)
        self._groups.release(key)

    def close(self) -> None:
        """Forget all of them. What runs goes on."""
        for key in tuple(self._children):
            self.forget(key)

    def signal(self, identity: Identity, key: int, signal_name: str, *, whole_tree: bool) -> int:
        """Send `signal_name` to `identity`, or to all that came from it, itself dead or alive. To how many it was sent.

        Never to ourselves, init or another owner of a pid; to an ancestor of ours only when it was adopted as `key`: a
        panel can have started us from the ComfyUI that has to make room. Raises KeyError for an unknown signal name.
        """
        if not self._may_signal(identity, key):
            return 0
        if not whole_tree:
            return int(send(identity, signal_name))
        seen: set[Identity] = set()
        count = 0
        for _ in range(_SWEEPS):
            fresh = [one for one in members(identity, self._ties(key)) if one not in seen]
            if not fresh:
                break
            seen.update(fresh)
            count += sum(send(one, signal_name) for one in fresh)
            if signal_name == "SIGKILL":
                self._groups.kill(key, _mark(self._journal_id, key))
        return count

    def survivors(self, key: int) -> tuple[Identity, ...]:
        """What lives on of a process that has ended: see `tree.members`. Not the process itself."""
        child = self._children.get(key)
        if child is None:
            return ()
        found = members(child.identity, self._ties(key))
        return tuple(one for one in found if one != child.identity)

    def _ties(self, key: int) -> Ties:
        child = self._children.get(key)
        session = child is None or child.was_there
        return Ties(_mark(self._journal_id, key), lambda: self._groups.pids(key), self._guard, session)

    def _may_signal(self, identity: Identity, key: int) -> bool:
        child = self._children.get(key)
        named = child is not None and child.identity == identity
        return named or identity.pid not in kin()


def find_spawned(journal_id: str, key: int, log: Path) -> Identity | Literal["none", "pending"]:
    """What became of a spawn whose outcome was not recorded, because we died right then.

    The process by its marker; "pending" when there is none but something holds `log` (between fork and exec, say); else
    "none". A stray with a cleared environment can hold the log for ever: it is the caller who gives up.
    """
    found = topmost(_mark(journal_id, key))
    if found is not None:
        return found
    return "pending" if is_locked(log) else "none"


def _mark(journal_id: str, key: int) -> str:
    return f"{journal_id}:{key}"


def _peek(child: _Child) -> Exit | None:
    assert child.started_here is not None  # noqa: S101 - the others are the guard's to tell
    if sys.platform != "linux":
        code = child.started_here.poll()
        return None if code is None else _exit(code)
    kind, number = (os.P_PID, child.identity.pid) if child.pidfd is None else (os.P_PIDFD, child.pidfd)
    try:
        ended = os.waitid(kind, number, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return Exit(None, "", known=False)
    if ended is None:
        return None
    return _exit(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)


def _exit(code: int) -> Exit:
    """From a code as Popen gives it: negative for a signal."""
    return Exit(code, "", known=True) if code >= 0 else Exit(None, signal_name(-code), known=True)

"""What belongs to a process that was started, also what left its session or lost its parent, and what never does."""

import os
from collections.abc import Callable, Iterable, Mapping

import attrs

from journal.identity import Identity, boot_id
from orchestrator.processes.table import NOBODYS, Row, group_name, marker, row, rows, spawn_group

_INIT_PID = 1


def _nobody() -> frozenset[int]:
    return frozenset()


@attrs.frozen
class Ties:
    """What ties a process to its start, apart from descent and session.

    `mark` is what it carries in its environment. One that carries none belongs to it all the same when it is in its
    cgroup, or when it was left to `guard`, the subreaper above us, as an orphan; not to init, which gets everybody's.
    `grouped` gives the pids in the cgroup; asked once the table was read, so that a pid can be nobody's but the one's in
    the table. Without `session` what shares the root's session is its own only where one that is bound does, too: nobody
    knows when the root has ended, so the number may be that of a stranger's session.
    """

    mark: str
    grouped: Callable[[], frozenset[int]] = _nobody
    guard: Identity | None = None
    session: bool = True


def tree(identity: Identity) -> tuple[Identity, ...]:
    """The live processes of `identity`'s tree, itself first, then by age: see `members`.

    Its marker is believed only when it leads its session, as all that we start do: anything else inherited it.
    """
    table = _table()
    root = table.get(identity.pid)
    leads = root is not None and _is(root, identity) and root.session == root.pid
    mark = marker(identity.pid) if leads else ""
    return members(identity, Ties("" if mark == NOBODYS else mark), table)


def members(root: Identity, ties: Ties, table: Mapping[int, Row] | None = None) -> tuple[Identity, ...]:
    """The live processes that came from `root`, dead or alive: `root` itself first, then by age.

    These are its descendants, what is in its session if it led one, what `ties` bind to it, and what descends from or
    shares a session with one of those. Never the calling process and its ancestors, though they may descend from `root`
    (a ComfyUI's panel can start an orchestrator), unless `root` is one of them. An empty mark in `ties` binds nobody.
    """
    if root.boot_id != boot_id():
        return ()
    table = _table() if table is None else table
    spared = kin()
    candidates = [
        one
        for one in table.values()
        if not one.zombie and one.start_ticks >= root.start_ticks and (one.pid not in spared or _is(one, root))
    ]
    bound = _bound(ties, candidates, table)
    outer = _sessions_not_ours(root, spared, table)
    found = _closure(root, bound, candidates, {root.pid} - outer if ties.session else set(), outer)
    found.sort(key=lambda one: (one.pid != root.pid, one.start_ticks, one.pid))
    return tuple(one.identity for one in found)


def kin() -> frozenset[int]:
    """The pids of the calling process, its ancestors, init and the kernel."""
    pids = {0, _INIT_PID}
    pid = os.getpid()
    while pid not in pids:
        pids.add(pid)
        found = row(pid)
        pid = 0 if found is None else found.parent_pid
    return frozenset(pids)


def _table() -> dict[int, Row]:
    return {found.pid: found for found in rows()}


def _is(found: Row, identity: Identity) -> bool:
    return found.pid == identity.pid and found.start_ticks == identity.start_ticks


def _sessions_not_ours(root: Identity, spared: Iterable[int], table: Mapping[int, Row]) -> frozenset[int]:
    """Sessions that were not opened by the tree: those of our own ancestors, and the one that a root was started into.

    While a session lives its number is not given to a new process. So where a stranger has the root's pid, the root's
    session is over, and one of that number is the stranger's. 0: no session.
    """
    outer = {0} | {table[pid].session for pid in spared if pid in table and pid != root.pid}
    holder = table.get(root.pid)
    if holder is not None and not (_is(holder, root) and holder.session == root.pid):
        outer |= {holder.session, root.pid}
    return frozenset(outer)


def _bound(ties: Ties, candidates: Iterable[Row], table: Mapping[int, Row]) -> frozenset[int]:
    """The pids among `candidates` that `ties` bind to their start."""
    if not ties.mark:
        return frozenset()
    grouped, left_to = ties.grouped(), _pid_of(ties.guard, table)
    own = {"", group_name(ties.mark)}
    bound: set[int] = set()
    for one in candidates:
        carried = marker(one.pid)
        is_lost = not carried and one.parent_pid == left_to and spawn_group(one.pid) in own
        if carried == ties.mark or is_lost or (not carried and one.pid in grouped):
            bound.add(one.pid)
    return frozenset(bound)


def _pid_of(guard: Identity | None, table: Mapping[int, Row]) -> int | None:
    found = None if guard is None or guard.pid == _INIT_PID else table.get(guard.pid)
    return found.pid if found is not None and guard is not None and _is(found, guard) else None


def _closure(
    root: Identity, bound: frozenset[int], candidates: Iterable[Row], sessions: set[int], outer: frozenset[int]
) -> list[Row]:
    found: dict[int, Row] = {}
    rest: list[Row] = []
    for one in candidates:
        if _is(one, root) or one.session in sessions or one.pid in bound:
            found[one.pid] = one
        else:
            rest.append(one)
    grown = bool(found)
    while grown:
        sessions |= {one.session for one in found.values()} - outer
        more = [one for one in rest if one.parent_pid in found or one.session in sessions]
        found.update((one.pid, one) for one in more)
        rest = [one for one in rest if one.pid not in found]
        grown = bool(more)
    return list(found.values())


def topmost(mark: str) -> Identity | None:
    """The live process with `mark` that the others came from: no parent among them, best leading a session, oldest."""
    table = _table()
    spared = kin()
    marked = {pid: one for pid, one in table.items() if not one.zombie and pid not in spared and marker(pid) == mark}
    heads = [one for one in marked.values() if one.parent_pid not in marked]
    if not heads:
        return None
    return min(heads, key=lambda one: (one.session != one.pid, one.start_ticks, one.pid)).identity

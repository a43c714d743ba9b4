"""What belongs to a process that was started, also what left its session or lost its parent, and what never does."""

import os
from collections.abc import Iterable, Mapping

from journal.identity import Identity, boot_id
from orchestrator.processes.table import Row, marker, row, rows

_INIT_PID = 1


def tree(identity: Identity) -> tuple[Identity, ...]:
    """The live processes of `identity`'s tree, itself first, then by age: see `members`.

    Its marker is believed only when it leads its session, as all that we start do: anything else inherited it.
    """
    table = _table()
    root = table.get(identity.pid)
    leads = root is not None and _is(root, identity) and root.session == root.pid
    return members(identity, marker(identity.pid) if leads else "", table)


def members(root: Identity, mark: str, table: Mapping[int, Row] | None = None) -> tuple[Identity, ...]:
    """The live processes that came from `root`, dead or alive: `root` itself first, then by age.

    These are its descendants, what is in its session if it led one, what carries `mark` in its environment, and what
    descends from or shares a session with one of those. Never the calling process and its ancestors, though they may
    descend from `root` (a ComfyUI's panel can start an orchestrator), unless `root` is one of them.
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
    found = _closure(root, mark, candidates, _sessions_not_ours(root, spared, table))
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


def _closure(root: Identity, mark: str, candidates: Iterable[Row], outer: frozenset[int]) -> list[Row]:
    sessions = {root.pid} - outer
    found: dict[int, Row] = {}
    rest: list[Row] = []
    for one in candidates:
        belongs = _is(one, root) or one.session in sessions or (mark != "" and marker(one.pid) == mark)
        if belongs:
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

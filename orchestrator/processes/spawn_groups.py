"""A cgroup for each start, where we may: what is in it came from that start, whatever its session, parent and environment.

A group is a folder `comfygit-<journal id>-<key>` below the group that we are in ourselves, and there for nothing but
membership: no controller is switched on. Its name finds it again after a crash. Where groups cannot be made there are
none, and all goes by descent, session and mark. Why it is done like this: docs/decisions/0014.
"""

import logging
import os
import re
import threading
from pathlib import Path

from orchestrator.processes import cgroups
from orchestrator.processes.table import GROUP_NAME, group_name, marker
from orchestrator.processes.tree import kin

_LOG = logging.getLogger(__name__)


class SpawnGroups:
    """The groups of one journal's starts, by key."""

    def __init__(self, journal_id: str, *, wanted: bool = True) -> None:
        """Leaves a ComfyUI's group, if we were started in one, and removes what groups of this journal stand empty.

        Without `wanted` there are no groups.
        """
        self._journal_id = journal_id
        self._base: Path | None = None
        self._groups: dict[int, Path | None] = {}
        self._moves: dict[int, threading.Thread] = {}
        self._released: list[Path] = []
        self._earlier: dict[int, Path] | None = None if wanted else {}
        if wanted:
            cgroups.leave(os.getpid())
            self._base = cgroups.own_group()
            cgroups.remove([] if self._base is None else self._base.glob(f"{self._name('')}*"))

    def take_in(self, key: int, pid: int) -> None:
        """Make the group of `key` and have `pid`, a child of ours that was just started, moved there.

        The kernel takes some 10 ms to move a process, so it is asked from a thread; what is forked meanwhile follows.
        """
        self._groups[key] = None
        name = self._name(key)
        if self._base is None or not GROUP_NAME.fullmatch(name):
            return
        group = self._base / name
        try:
            group.mkdir(exist_ok=True)
            self._groups[key] = group
            move = threading.Thread(target=cgroups.move_tree, args=(group, pid), name=name, daemon=True)
            move.start()
            self._moves[key] = move
        except (OSError, RuntimeError) as error:  # RuntimeError: no room for another thread
            _LOG.debug("making a cgroup for start %d: %s", key, error)

    def pids(self, key: int) -> frozenset[int]:
        """Who is in the group of `key`, zombies not."""
        self.settle(key)
        group = self._group(key)
        return frozenset() if group is None else cgroups.pids(group)

    def kill(self, key: int, mark: str) -> None:
        """SIGKILL to all in the group at once, forks under way included, unless somebody in it is to be spared.

        That is us and our ancestors, and who carries another mark than `mark`.
        """
        inside, spared = self.pids(key), kin()
        group = self._group(key)
        if group is not None and not any(pid in spared or marker(pid) not in {"", mark} for pid in inside):
            cgroups.kill(group)

    def release(self, key: int) -> None:
        """Remove the group of `key`: now, or with a later one while somebody lives in it."""
        group = self._group(key)
        self._groups.pop(key, None)
        self._released = cgroups.remove([*self._released, *([] if group is None else [group])])

    def settle(self, key: int) -> None:
        """Wait for a move under way: to be called before its process is reaped and the pid may be anybody's."""
        move = self._moves.pop(key, None)
        if move is not None:
            move.join()

    def _group(self, key: int) -> Path | None:
        if key not in self._groups:
            here = None if self._base is None else self._base / self._name(key)
            self._groups[key] = here if here is not None and here.exists() else self._made_earlier().get(key)
        return self._groups[key]

    def _made_earlier(self) -> dict[int, Path]:
        """The groups of orchestrators that were started elsewhere, in another terminal for instance. Looked for once."""
        if self._earlier is None:
            ours = re.compile(f"{re.escape(self._name(''))}([0-9]+)")
            found = [(ours.fullmatch(group.name), group) for group in cgroups.everywhere()]
            self._earlier = {int(name[1]): group for name, group in found if name}
        return self._earlier

    def _name(self, key: int | str) -> str:
        return group_name(f"{self._journal_id}:{key}")

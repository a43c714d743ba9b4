"""Groups of the cgroup v2 hierarchy as folders: where we are, who is in one, moved, killed, removed. Linux only.

Nothing here raises: where there is no such hierarchy, or none that we may write to, there is no group and nobody in it.
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from orchestrator.processes.table import GROUP_NAME, cgroup

_LOG = logging.getLogger(__name__)

MOST_GROUPS: Final = 5_000
"""How many groups are looked through at most, some 50 us each. A desktop has a few hundred."""
_GENERATIONS: Final = 8
"""How deep descendants that were there before their parent was moved are followed at most."""
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def own_group() -> Path | None:
    """The folder of the group that this process is in."""
    return _folder(cgroup(os.getpid()))


def leave(pid: int) -> None:
    """Move `pid` out of the group of a start, if it was started in one: it is no part of that ComfyUI."""
    parts = cgroup(pid).split("/")
    inside = next((depth for depth, part in enumerate(parts) if GROUP_NAME.fullmatch(part)), None)
    outside = None if inside is None else _folder("/".join(parts[:inside]) or "/")
    if outside is not None:
        write(outside / "cgroup.procs", pid)


def everywhere() -> list[Path]:
    """Every group that can be seen, MOST_GROUPS at most."""
    mount = _mount()
    return [] if mount is None else _walk(mount[0])


def pids(group: Path) -> frozenset[int]:
    """Who is in `group` and below, zombies not."""
    found: set[int] = set()
    for one in _walk(group):
        with contextlib.suppress(OSError):  # it is gone meanwhile
            found.update(map(int, (one / "cgroup.procs").read_text("ascii").split()))
    return frozenset(found)


def move_tree(group: Path, pid: int) -> None:
    """Move `pid` into `group`, and after it what it had forked before it was moved.

    A forked pid is written microseconds after it was read: meanwhile the kernel gives it to nobody else, because first
    all other numbers have their turn.
    """
    fresh = [pid]
    for _ in range(_GENERATIONS):
        for one in fresh:
            write(group / "cgroup.procs", one)
        inside = pids(group)
        fresh = [child for one in inside for child in _children(one) if child not in inside]
        if not fresh:
            return


def kill(group: Path) -> None:
    """SIGKILL to all in `group` and below at once, forks under way included. Nothing before Linux 5.14."""
    write(group / "cgroup.kill", 1)


def remove(groups: Iterable[Path]) -> list[Path]:
    """Remove those that nobody is in; what is left."""
    left: list[Path] = []
    for group in groups:
        try:
            if b"populated 0" in (group / "cgroup.events").read_bytes():
                for one in reversed(_walk(group)):
                    one.rmdir()
        except OSError as error:
            _LOG.debug("removing %s: %s", group, error)
        if group.exists():
            left.append(group)
    return left


def write(file: Path, number: int) -> None:
    """One write, where that is allowed and what it means is still there."""
    try:
        descriptor = os.open(file, os.O_WRONLY)
        try:
            os.write(descriptor, b"%d" % number)
        finally:
            os.close(descriptor)
    except OSError as error:
        _LOG.debug("writing %d to %s: %s", number, file, error)


def mount_in(mountinfo: str) -> tuple[Path, str] | None:
    """From the text of /proc/self/mountinfo: where cgroup v2 is, and which group is seen there, "/" for the root group."""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            root, place = (_OCTAL.sub(lambda found: chr(int(found[1], 8)), field) for field in fields.split(" ")[3:5])
            return Path(place), root
    return None


def folder_in(mount: tuple[Path, str], path: str) -> Path | None:
    """Where the group `path` is seen; None when it is none of those (".." leads out of a container's)."""
    place, root = mount
    root = root.rstrip("/")
    if not f"{path}/".startswith(f"{root}/") or ".." in path.split("/"):
        return None
    return place / path[len(root) :].lstrip("/")


def _mount() -> tuple[Path, str] | None:
    if sys.platform != "linux":
        return None
    try:
        return mount_in(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"))
    except OSError:
        return None


def _folder(path: str) -> Path | None:
    """The folder of the group `path`; None where there is none, or it cannot be seen from here."""
    mount = _mount() if path else None
    folder = None if mount is None else folder_in(mount, path)
    return folder if folder is not None and folder.is_dir() else None


def _walk(group: Path) -> list[Path]:
    """`group` and the groups below it, each before those in it."""
    found = [group]
    for one in found:
        if len(found) < MOST_GROUPS:
            with contextlib.suppress(OSError), os.scandir(one) as entries:
                found += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return found


def _children(pid: int) -> list[int]:
    """As the kernel lists them for each thread of `pid`; none where it was built without that."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text("ascii").split())
    return found

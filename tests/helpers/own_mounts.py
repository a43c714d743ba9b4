"""A test's body in a mount namespace of its own: what it mounts, and what the processes that it starts see, is nobody else's."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

CLONE_NEWNS = 0x00020000
SIZE_BYTES = 512 << 20
"""More than a preflight wants to see free; a page is only had when something is written to it."""


def in_own_mounts(body: Callable[[], None]) -> None:
    """Run `body` on a thread whose mounts are its own, and its children's. What it raises is raised here."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            _unshare_mounts()
            body()
        except BaseException as error:  # noqa: BLE001 - raised by the caller's thread
            raised.append(error)

    thread = threading.Thread(target=run, name="own mounts")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


class Disk:
    """A file system of its own in place of a folder, that can become full or read-only, and be so no more."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._filler = folder / "filler"
        self._read_only: list[Path] = []
        _mount("-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "none", str(folder))

    def fill(self) -> None:
        """Not one page is free: no file can become larger than the pages that it has."""
        status = os.statvfs(self._folder)
        used_bytes = (status.f_blocks - status.f_bfree) * status.f_frsize
        self._resize(used_bytes + 16 * status.f_frsize)  # somebody may be writing right now
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(status.f_frsize))
            except OSError:
                return

    def free(self) -> None:
        """There is space again."""
        self._resize(SIZE_BYTES)
        self._filler.unlink(missing_ok=True)

    def make_read_only(self, folder: Path) -> None:
        """As after an error of the disk: no file in `folder` can be opened for writing; what is open already stays so."""
        beside = folder.with_name(f"{folder.name}-read-only")
        beside.mkdir()
        _mount("--bind", str(folder), str(beside))
        _mount("-o", "remount,bind,ro", str(beside))  # nobody writes there, so it is not busy
        _mount("--move", str(beside), str(folder))
        beside.rmdir()
        self._read_only.append(folder)

    def make_writable(self) -> None:
        """Undo that, also while programs have files of it open."""
        while self._read_only:
            subprocess.run(["umount", "--lazy", str(self._read_only.pop())], check=True)

    def relieve(self) -> None:
        """Whatever was done to it is undone."""
        self.make_writable()
        self.free()

    def _resize(self, size_bytes: int) -> None:
        _mount("-o", f"remount,size={size_bytes}", str(self._folder))


def _unshare_mounts() -> None:
    """Of this thread: the kernel keeps them for each of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("--make-rprivate", "/")


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, env={**os.environ, "LC_ALL": "C"})

"""An environment's content on the disk: found, read, and named by a digest."""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from orchestrator.environments.content_rules import CEC, PLAIN_CONTENT, WORKFLOWS, is_content, is_workflow
from orchestrator.environments.file_hashes import SHARED
from orchestrator.errors import OrchestratorError
from orchestrator.workspace import EnvironmentPaths

FILE: Final = "100644"
EXECUTABLE: Final = "100755"
LINK: Final = "120000"

_DIGEST_LENGTH = 32  # hexadecimal digits: 128 bits
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class ContentError(OrchestratorError):
    """An environment's content cannot be read, kept or written back as it was asked for."""


@attrs.frozen
class Entry:
    """One file as git has it: `mode` is FILE, EXECUTABLE or LINK; `data` its bytes, those of a link where it leads."""

    mode: str
    data: bytes


def content_names(paths: EnvironmentPaths) -> tuple[str, ...]:
    """The names of all content, sorted. Raises ContentError when it cannot be read."""
    return tuple(_found(paths))


def read_content(paths: EnvironmentPaths) -> dict[str, Entry]:
    """All content, by name, sorted. Raises ContentError when it cannot be read."""
    return _entries(paths, _found(paths))


def read_workflows(paths: EnvironmentPaths) -> dict[str, Entry]:
    """What is in the folders of workflows below `.cec/`, which no restore writes. Raises ContentError."""
    try:
        found = {
            name: mode
            for folder in WORKFLOWS
            if _is_folder(paths.cec / folder)
            for name, mode in _walk(paths.cec / folder, f"{CEC}/{folder}", is_workflow)
        }
    except OSError as error:
        raise _unreadable(paths, error) from error
    return _entries(paths, dict(sorted(found.items())))


def content_hashes(paths: EnvironmentPaths) -> dict[str, tuple[str, str]]:
    """Mode and SHA-256 of all content by name, sorted; of a link, that of where it leads. Raises ContentError."""
    try:
        return {name: (mode, _hash(paths.root / name, mode)) for name, mode in _found(paths).items()}
    except OSError as error:
        raise _unreadable(paths, error) from error


def content_digest(paths: EnvironmentPaths) -> str:
    """32 hexadecimal digits that are the same for the same content and for no other; "" when it cannot be read."""
    try:
        return _digest(content_hashes(paths))
    except ContentError:
        return ""


def digest_of(entries: Mapping[str, Entry]) -> str:
    """What `content_digest` says of an environment with exactly this content."""
    return _digest({name: (entry.mode, hashlib.sha256(entry.data).hexdigest()) for name, entry in entries.items()})


def _digest(hashes: Mapping[str, tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode("ascii")).hexdigest()[:_DIGEST_LENGTH]


def _hash(path: Path, mode: str) -> str:
    if mode == LINK:
        return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    return SHARED.of(str(path))


def _found(paths: EnvironmentPaths) -> dict[str, str]:
    """The mode of every content file by its name, sorted."""
    try:
        if not paths.root.is_dir():
            raise FileNotFoundError(f"there is no folder {paths.root}")
        if not paths.is_comfygit:
            return _plain(paths.root)
        return dict(sorted(_walk(paths.cec, CEC, lambda name: is_content(name, comfygit=True))))
    except OSError as error:
        raise _unreadable(paths, error) from error


def _plain(root: Path) -> dict[str, str]:
    """That the three can be executed means nothing: some file systems say so of every file."""
    found = {}
    for name in sorted(PLAIN_CONTENT):
        if os.path.lexists(root / name):
            mode = _mode((root / name).lstat().st_mode)
            if not mode:
                raise IsADirectoryError(f"{root / name} is neither a file nor a link")
            found[name] = LINK if mode == LINK else FILE
    return found


def _walk(folder: Path, prefix: str, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Name and mode of the files and links below a folder. No link is followed, no nested repository entered."""
    waiting = [(str(folder), prefix)]
    while waiting:
        here, name_here = waiting.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                name = f"{name_here}/{entry.name}"
                if not is_wanted(name):
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    mode = _mode(entry.stat(follow_symlinks=False).st_mode)
                    if mode:
                        yield name, mode
                elif not is_repository(entry.path):
                    waiting.append((entry.path, name))


def is_repository(folder: str | Path) -> bool:
    """Whether a git repository has its work tree here."""
    return os.path.lexists(os.path.join(folder, ".git"))  # noqa: PTH118 -- in a loop


def _is_folder(path: Path) -> bool:
    """Not through a link."""
    return path.is_dir() and not path.is_symlink() and not is_repository(path)


def _mode(st_mode: int) -> str:
    """As git has it; "" for what git does not keep: sockets, pipes, devices."""
    if stat.S_ISLNK(st_mode):
        return LINK
    if not stat.S_ISREG(st_mode):
        return ""
    return EXECUTABLE if st_mode & stat.S_IXUSR else FILE


def _entries(paths: EnvironmentPaths, modes: Mapping[str, str]) -> dict[str, Entry]:
    try:
        return {name: Entry(mode, _bytes(paths.root / name, mode)) for name, mode in modes.items()}
    except OSError as error:
        raise _unreadable(paths, error) from error


def _bytes(path: Path, mode: str) -> bytes:
    if mode == LINK:
        return os.fsencode(path.readlink())
    descriptor = os.open(path, _FLAGS)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _unreadable(paths: EnvironmentPaths, error: OSError) -> ContentError:
    message = f"reading the content of environment {paths.name!r} in {paths.root}: {error}"
    return ContentError(
        message, "see that the files named can be read, and that nothing is changing them; then try again"
    )

"""An environment's content on the disk: found, read, and named by a digest."""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

import attrs

from orchestrator.environments.content_rules import CEC, PLAIN_CONTENT, WORKFLOWS, is_content, is_workflow
from orchestrator.environments.file_hashes import SHARED
from orchestrator.environments.regular_files import read_regular
from orchestrator.errors import OrchestratorError
from orchestrator.workspace import EnvironmentPaths

FILE: Final = "100644"
EXECUTABLE: Final = "100755"
LINK: Final = "120000"

MOST_FILE_BYTES: Final = 16 << 20
MOST_BYTES: Final = 64 << 20
MOST_FILES: Final = 5_000
"""What is larger is no content to keep: models and data sets are not. It is not read at all."""

_DIGEST_LENGTH = 32  # hexadecimal digits: 128 bits
_GONE: Final = (FileNotFoundError, NotADirectoryError)
"""What looking at a file raises that has vanished meanwhile."""


class ContentError(OrchestratorError):
    """An environment's content cannot be read, kept or written back as it was asked for."""


@attrs.frozen
class Entry:
    """One file as git has it: `mode` is FILE, EXECUTABLE or LINK; `data` its bytes, those of a link where it leads."""

    mode: str
    data: bytes


@attrs.frozen(order=True)
class _File:
    """A file by its name, as it was found."""

    name: str
    mode: str
    size_bytes: int


def content_names(paths: EnvironmentPaths) -> tuple[str, ...]:
    """The names of all content, sorted. Raises ContentError when it cannot be read, or is too large or too much."""
    return tuple(_found(paths))


def read_content(paths: EnvironmentPaths) -> dict[str, Entry]:
    """All content, by name, sorted. Raises ContentError when it cannot be read, or is too large or too much."""
    return _entries(paths, _found(paths))


def read_workflows(paths: EnvironmentPaths) -> dict[str, Entry]:
    """What is in the folders of workflows below `.cec/`, which no restore writes. Raises ContentError.

    Less what is too large, and what is too much: the limits are those of content.
    """
    try:
        found = [
            file
            for folder in WORKFLOWS
            if _is_folder(paths.cec / folder)
            for file in _walk(paths.cec / folder, f"{CEC}/{folder}", is_workflow)
        ]
    except OSError as error:
        raise _unreadable(paths, error) from error
    return _entries(paths, {file.name: file.mode for file in _that_fit(sorted(found))})


def _that_fit(files: Iterable[_File]) -> Iterator[_File]:
    left = MOST_BYTES
    for file in islice((file for file in files if file.size_bytes <= MOST_FILE_BYTES), MOST_FILES):
        if file.size_bytes <= left:
            left -= file.size_bytes
            yield file


def content_hashes(paths: EnvironmentPaths) -> dict[str, tuple[str, str]]:
    """Mode and SHA-256 of all content by name, sorted; of a link, that of where it leads. Raises ContentError."""
    found = {}
    for name, mode in _found(paths).items():
        try:
            found[name] = mode, _hash(paths.root / name, mode)
        except _GONE:
            continue
        except OSError as error:
            raise _unreadable(paths, error) from error
    return found


def content_digest(paths: EnvironmentPaths) -> str:
    """32 hexadecimal digits that are the same for the same content and for no other; "" when there is a ContentError."""
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
    """The mode of every content file by its name, sorted. Raises ContentError."""
    try:
        if not paths.root.is_dir():
            raise FileNotFoundError(f"there is no folder {paths.root}")
        files = _in_cec(paths.cec) if paths.is_comfygit else _plain(paths.root)
        return {file.name: file.mode for file in sorted(_limited(paths, files))}
    except OSError as error:
        raise _unreadable(paths, error) from error


def _limited(paths: EnvironmentPaths, files: Iterable[_File]) -> Iterator[_File]:
    """Raises ContentError as soon as it is clear that it is too much."""
    size_bytes = 0
    for number, file in enumerate(files, 1):
        size_bytes += file.size_bytes
        if file.size_bytes > MOST_FILE_BYTES:
            raise _too_large(paths, file, f"one file of it may have {MOST_FILE_BYTES} bytes")
        if size_bytes > MOST_BYTES:
            raise _too_large(
                paths, file, f"with it there are {size_bytes} bytes, and all may have {MOST_BYTES} together"
            )
        if number > MOST_FILES:
            raise _too_large(paths, file, f"with it there are more than {MOST_FILES} files")
        yield file


def _too_large(paths: EnvironmentPaths, file: _File, problem: str) -> ContentError:
    message = f"reading the content of environment {paths.name!r}: {file.name!r} has {file.size_bytes} bytes; {problem}"
    return ContentError(message, f"move what is no manifest out of {paths.cec if paths.is_comfygit else paths.root}")


def _in_cec(cec: Path) -> Iterator[_File]:
    return _walk(cec, CEC, lambda name: is_content(name, comfygit=True))


def _plain(root: Path) -> Iterator[_File]:
    """That the three can be executed means nothing: some file systems say so of every file."""
    for name in PLAIN_CONTENT:
        try:
            status = (root / name).lstat()
        except FileNotFoundError:
            continue
        mode = _mode(status.st_mode)
        if not mode:
            raise IsADirectoryError(f"{root / name} is neither a file nor a link")
        yield _File(name, LINK if mode == LINK else FILE, status.st_size)


def _walk(folder: Path, prefix: str, is_wanted: Callable[[str], bool]) -> Iterator[_File]:
    """The files and links below a folder. No link is followed, no nested repository entered; what vanishes is passed over."""
    waiting = [(str(folder), prefix)]
    while waiting:
        here, name_here = waiting.pop()
        try:
            entries = _listed(here)
        except _GONE:
            if name_here == prefix:
                raise
            continue
        for entry in entries:
            name = f"{name_here}/{entry.name}"
            if not is_wanted(name):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not is_repository(entry.path):
                    waiting.append((entry.path, name))
                continue
            with contextlib.suppress(*_GONE):
                status = entry.stat(follow_symlinks=False)
                mode = _mode(status.st_mode)
                if mode:
                    yield _File(name, mode, status.st_size)


def _listed(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


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
    found = {}
    for name, mode in modes.items():
        try:
            found[name] = Entry(mode, _bytes(paths.root / name, mode))
        except _GONE:
            continue
        except OSError as error:
            raise _unreadable(paths, error) from error
    return found


def _bytes(path: Path, mode: str) -> bytes:
    if mode == LINK:
        return os.fsencode(path.readlink())
    return read_regular(path, MOST_FILE_BYTES, follow=False)


def _unreadable(paths: EnvironmentPaths, error: OSError) -> ContentError:
    message = f"reading the content of environment {paths.name!r} in {paths.root}: {error}"
    return ContentError(
        message, "see that the files named can be read, and that nothing is changing them; then try again"
    )

"""An environment's content written back: file by file, each atomically, and nothing that is not content touched.

Everything that can be refused or can fail for want of space comes first: names and places are checked, the new files
are written beside the old ones. Only then is anything removed or replaced.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import attrs

from orchestrator.environments.content_files import (
    EXECUTABLE,
    FILE,
    LINK,
    ContentError,
    Entry,
    content_digest,
    content_names,
    is_repository,
    read_content,
)
from orchestrator.environments.content_rules import CEC, name_problem
from orchestrator.workspace import EnvironmentPaths

__all__ = [
    "Changes",
    "ContentError",
    "Entry",
    "changes",
    "content_digest",
    "content_names",
    "read_content",
    "write_back",
]


@attrs.frozen
class Changes:
    """Names of files, sorted: what is written because it differs or is not there, and what is removed."""

    written: tuple[str, ...]
    removed: tuple[str, ...]


def changes(paths: EnvironmentPaths, wanted: Mapping[str, Entry]) -> Changes:
    """What `write_back` would do. Raises ContentError where it would refuse."""
    for name in wanted:
        _check_entry(paths, name, wanted)
    current = read_content(paths)
    planned = Changes(
        tuple(sorted(name for name, entry in wanted.items() if current.get(name) != entry)),
        tuple(sorted(current.keys() - wanted.keys())),
    )
    try:
        _check_places(paths, planned)
    except OSError as error:
        raise _refused(paths, error) from error
    return planned


def write_back(paths: EnvironmentPaths, wanted: Mapping[str, Entry]) -> Changes:
    """Make `wanted` the content: write what differs, remove content that is not in it, and folders that this empties.

    Raises ContentError: before anything is touched for a name or a place that is not content's, and for a disk that is
    full; later only when the files are being changed by others, and then a part may have been written.
    """
    planned = changes(paths, wanted)
    staged: dict[str, Path] = {}
    try:
        for name in planned.written:
            staged[name] = _stage(paths, name, wanted[name])
    except OSError as error:
        _discard(staged.values())
        raise _refused(paths, error) from error
    try:
        _carry_out(paths, planned, staged)
    except OSError as error:
        message = f"writing back the content of environment {paths.name!r}: {error}; a part of it may have been written"
        raise ContentError(message, "see that nothing else changes these files, then restore again") from error
    finally:
        _discard(staged.values())
    return planned


def _carry_out(paths: EnvironmentPaths, planned: Changes, staged: Mapping[str, Path]) -> None:
    for name in planned.removed:
        (paths.root / name).unlink(missing_ok=True)
    for name in planned.written:
        place = paths.root / name
        if _is_real_folder(place):
            _remove_empty_tree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        staged[name].replace(place)
    for name in planned.removed:
        _remove_emptied_folders(paths, name)


def _stage(paths: EnvironmentPaths, name: str, entry: Entry) -> Path:
    """The new file under a name that is not content, in its folder or the nearest one above that is there already."""
    place, folder = paths.root / name, paths.root
    for part in PurePosixPath(name).parts[:-1]:
        if not _is_real_folder(folder / part):
            break
        folder /= part
    temporary = folder / f".restored-{secrets.token_hex(8)}.tmp"
    try:
        if entry.mode == LINK:
            temporary.symlink_to(os.fsdecode(entry.data))
        else:
            _write(temporary, entry, place if folder == place.parent else None)
    except OSError:
        _discard([temporary])
        raise
    return temporary


def _write(temporary: Path, entry: Entry, replaced: Path | None) -> None:
    """With the permissions of the file that it replaces, if there is one, but for the bits that git keeps.

    Else, and until then, it is for its owner only: nobody remembers who might read the one that was deleted.
    """
    executable = entry.mode == EXECUTABLE
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o700 if executable else 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(entry.data)
        file.flush()
        os.fsync(file.fileno())
    if replaced is not None and replaced.is_file() and not replaced.is_symlink():
        kept = stat.S_IMODE(replaced.stat().st_mode) & 0o777 & ~0o111
        temporary.chmod(kept | (kept & 0o444) >> 2 if executable else kept)


def _is_real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _discard(temporaries: Iterable[Path]) -> None:
    for temporary in temporaries:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_empty_tree(folder: Path) -> None:
    """A folder of nothing but folders, in the place of a file. Raises OSError when there is anything in it."""
    for here, _, _ in os.walk(folder, topdown=False):
        Path(here).rmdir()


def _remove_emptied_folders(paths: EnvironmentPaths, name: str) -> None:
    folder = (paths.root / name).parent
    while folder not in {paths.cec, paths.root}:
        try:
            folder.rmdir()
        except FileNotFoundError:  # by way of another file that was in it
            pass
        except OSError:  # not empty
            return
        folder = folder.parent


def _check_entry(paths: EnvironmentPaths, name: str, wanted: Mapping[str, Entry]) -> None:
    problem = name_problem(name, comfygit=paths.is_comfygit)
    entry = wanted[name]
    if not problem and entry.mode not in {FILE, EXECUTABLE, LINK}:
        problem = f"it has mode {entry.mode}, which is neither a file's nor a link's"
    if not problem and entry.mode == LINK and (not entry.data or b"\0" in entry.data):
        problem = "it is a link to nothing that could be a path"
    above = next((str(parent) for parent in PurePosixPath(name).parents if str(parent) in wanted), "")
    if not problem and above:
        problem = f"{above!r} would have to be a file and a folder at once"
    if problem:
        raise _not_written(paths, name, problem)


def _check_places(paths: EnvironmentPaths, planned: Changes) -> None:
    """Whether all can be done without touching what is not content. Raises ContentError and OSError."""
    removed = frozenset(planned.removed)
    for name in (*planned.written, *planned.removed):
        problem = _place_problem(paths, name, removed)
        if problem:
            raise _not_written(paths, name, problem)


def _place_problem(paths: EnvironmentPaths, name: str, removed: frozenset[str]) -> str:
    """Why nothing may be changed there; "" when it may. What is removed before is in nobody's way."""
    for parent in map(str, reversed(PurePosixPath(name).parents[:-1])):
        place = paths.root / parent
        if parent in removed or not os.path.lexists(place):
            return ""
        if place.is_symlink():
            return f"{parent!r} is a link, to {str(place.readlink())!r}"
        if not place.is_dir():
            return f"{parent!r} is not a folder"
        if parent != CEC and is_repository(place):
            return f"{parent!r} is a git repository of its own"
    return _leaf_problem(paths, name, removed)


def _leaf_problem(paths: EnvironmentPaths, name: str, removed: frozenset[str]) -> str:
    """Why the file itself may not be replaced: there is something that is neither content nor an empty folder."""
    place = paths.root / name
    if not os.path.lexists(place) or place.is_symlink() or place.is_file():
        return ""
    if not place.is_dir():
        return "there is something that is neither a file nor a folder"
    for here, folders, files in os.walk(place):
        inside = [Path(here, file).relative_to(paths.root).as_posix() for file in files]
        links = [Path(here, folder) for folder in folders if Path(here, folder).is_symlink()]
        inside += [link.relative_to(paths.root).as_posix() for link in links]
        kept = sorted(set(inside) - removed)
        if kept:
            return f"there is a folder, and {kept[0]!r} in it is not content"
    return ""


def _not_written(paths: EnvironmentPaths, name: str, problem: str) -> ContentError:
    message = f"writing {name!r} back to environment {paths.name!r}: {problem}; nothing was changed"
    return ContentError(message, f"look at {paths.root}; another generation may be written back in place of this one")


def _refused(paths: EnvironmentPaths, error: OSError) -> ContentError:
    message = f"writing back the content of environment {paths.name!r}: {error}; nothing was changed"
    return ContentError(message, f"see that {paths.root} can be written to and has space left, then restore again")

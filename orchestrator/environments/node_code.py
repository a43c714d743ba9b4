"""The code of a node: which of its files are code, and one hash of their names and bytes.

Which files of a folder are code is remembered for as long as nothing was added to the folder, removed or renamed: its
times then stay as they were, and they are believed as those of a file are, see `file_hashes`. Files are looked at each time.
"""

import hashlib
import os
from typing import Final

import attrs

from orchestrator.environments.file_hashes import MOST, SHARED, Identity, identity_of, is_young

UNREADABLE: Final = "unreadable"
GONE: Final = (FileNotFoundError, NotADirectoryError)
"""What looking at a file raises when there is none."""
MOST_HASHED_BYTES: Final = 16 << 20
_CODE_FILES: Final = frozenset({"pyproject.toml", "requirements.txt"})


@attrs.frozen
class Listing:
    """Paths: the code in a folder, and the folders in it where more may be."""

    code: tuple[str, ...]
    folders: tuple[str, ...]


@attrs.define
class Listings:
    """Those of folders, as far as this process knows them."""

    _known: dict[str, tuple[Identity, Listing]] = attrs.field(factory=dict)

    def of(self, folder: str) -> Listing:
        """Links to folders are not followed, but for `folder` itself. Raises OSError."""
        status = os.stat(folder)  # noqa: PTH116 -- a thousand folders an environment
        known = self._known.get(folder)
        if known is not None and known[0] == identity_of(status):
            return known[1]
        listing = _listed(folder)
        after = os.stat(folder)  # noqa: PTH116
        if identity_of(after) == identity_of(status) and not is_young(after):
            self._known[folder] = identity_of(after), listing
            while len(self._known) > MOST:
                del self._known[next(iter(self._known))]
        return listing


def _listed(folder: str) -> Listing:
    code, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py") or entry.name in _CODE_FILES:
                code.append(entry.path)
            elif entry.name[0] != "." and entry.name != "__pycache__" and entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
    return Listing(tuple(code), tuple(folders))


_LISTINGS: Final = Listings()


def hash_of_code(folder: str) -> str:
    """Passes over what vanishes meanwhile; what may not be read counts by its name."""
    found = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            listing = _LISTINGS.of(here)
        except GONE:
            continue
        except OSError:
            found.append((here, UNREADABLE))
            continue
        waiting += listing.folders
        for path in listing.code:
            digest = hash_of_file(path)
            if digest or os.path.islink(path):  # noqa: PTH114 -- a link to nothing is still there
                found.append((path, digest))
    return _joined(folder, found)


def hash_of_file(path: str) -> str:
    """The hash of a file's bytes; "" when there is none. Of what is no file or too large to read, what else can be said."""
    try:
        status = os.stat(path)  # noqa: PTH116 -- thousands an environment
        if status.st_size > MOST_HASHED_BYTES:
            return f"{status.st_size} bytes of {status.st_mtime_ns}"
        return SHARED.of(path, status) or "not a file"
    except GONE:
        return ""
    except OSError:
        return UNREADABLE


def _joined(folder: str, found: list[tuple[str, str]]) -> str:
    """Two names never look like one: none holds a NUL."""
    parts = [f"{path[len(folder) :]}\0{digest}" for path, digest in sorted(found)]
    return hashlib.sha256(os.fsencode("\0".join(parts))).hexdigest()

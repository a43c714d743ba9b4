"""Hashes of files kept from one process to the next, so that the first fingerprint costs no more than the others.

`fingerprint-cache.json` may be deleted at any time, and whatever is wrong with it is no reason to fail. It is believed no
further than a process believes its own memory: see `file_hashes`.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from journal.clock import read
from orchestrator.environments.file_hashes import YOUNG_NS, FileHashes, Identity
from orchestrator.environments.regular_files import read_regular

FILE_NAME: Final = "fingerprint-cache.json"
_VERSION: Final = 1
_MOST_BYTES: Final = 32 << 20
_DIGEST_LENGTH: Final = 64
_NOT_OURS: Final = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)
"""What reading something else than we have written raises."""


def recall(metadata: Path, hashes: FileHashes) -> None:
    """Teach `hashes` what an earlier process knew of the files of this workspace; nothing when it cannot be told."""
    with contextlib.suppress(OSError, *_NOT_OURS):
        document = json.loads(read_regular(metadata / FILE_NAME, _MOST_BYTES))
        if document["version"] == _VERSION:
            hashes.learn(list(_understood(document["files"], str(metadata.parent))))


def keep(metadata: Path, hashes: FileHashes) -> None:
    """Write down what is known of this workspace, for its owner only, unless that cannot be done."""
    within = f"{metadata.parent}{os.sep}"
    files = {path[len(within) :]: [*known, digest] for path, known, digest in hashes.items() if path.startswith(within)}
    temporary = metadata / f".{FILE_NAME}.tmp.{os.getpid()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump({"version": _VERSION, "files": files}, file, separators=(",", ":"))
        temporary.replace(metadata / FILE_NAME)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    hashes.changed = False


def _understood(files: dict[str, list[int | str]], root: str) -> Iterator[tuple[str, Identity, str]]:
    """Nothing that is as young as the clock says now. Raises one of `_NOT_OURS`."""
    oldest_young_ns = read().wall_ns - YOUNG_NS
    for name, (device, inode, mtime_ns, size, ctime_ns, digest) in files.items():
        identity = int(device), int(inode), int(mtime_ns), int(size), int(ctime_ns)
        if not isinstance(digest, str) or len(digest) != _DIGEST_LENGTH:
            raise ValueError(name)
        if max(identity[2], identity[4]) <= oldest_young_ns:
            yield os.path.join(root, name), identity, digest  # noqa: PTH118 -- thousands of them

"""Rotation by copy and truncate: whoever appends goes on in the same file, whoever follows watches for truncation."""

import os
import shutil
from pathlib import Path
from typing import IO, Final

MOST_KEPT_BYTES: Final = 16 * 1024 * 1024
"""The newest part that is copied: more, of a log that another program let grow, would hold up the loop."""
LOG_BYTES: Final = 8 * 1024 * 1024
"""`orchestrator.log` is rotated above this."""
_BLOCK_BYTES: Final = 64 * 1024


def rotated_path(path: Path) -> Path:
    """Where the older half of a log lies."""
    return path.with_name(f"{path.name}.1")


def private(path: str, flags: int) -> int:
    """An opener that makes files with mode 0600."""
    return os.open(path, flags, 0o600)


def rotate(file: IO[bytes], to: Path, size_bytes: int) -> bool:
    """Copy the end of `file` (open for reading and writing) to `to` and empty it; False where there is no room for that."""
    try:
        with open(to, "wb", opener=private) as copy:
            file.seek(max(0, size_bytes - MOST_KEPT_BYTES))
            shutil.copyfileobj(file, copy, _BLOCK_BYTES)
        file.truncate(0)
    except OSError:
        return False
    return True


def rotate_when_large(path: Path, above_bytes: int = LOG_BYTES) -> bool:
    """Rotate the log at `path` if it is larger than that; whether it was. A missing log is not."""
    try:
        if path.stat().st_size <= above_bytes:
            return False
        with path.open("rb+", buffering=0) as file:
            return rotate(file, rotated_path(path), file.seek(0, os.SEEK_END))
    except OSError:
        return False

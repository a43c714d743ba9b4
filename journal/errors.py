"""What can go wrong with a journal.

`JournalError` is the base. By what the caller can do:

- decide again: `JournalConflict`
- try again later: `JournalBusy`, `JournalWriteFailed` (space, then again), `JournalStarved`
- put something right first: `JournalMissing`, `JournalForbidden`, `JournalReadOnly`, `JournalOnNetwork`,
  `JournalTooNew`
- look for what is lost: `JournalDamaged`
"""

# ruff: noqa: N818 - a name says what happened; that it is an error, its base says

from pathlib import Path


class JournalError(Exception):
    """Something about the journal. `message` is what was done, to what, and what was found; `hint` is the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Both on one line."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


class JournalConflict(JournalError):
    """Somebody else appended since the caller last looked. Nothing was written."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(
            f"append after seq {expected}: the journal stands at seq {found}",
            f"another writer appended; read on from seq {expected} and decide again",
        )
        self.expected = expected
        self.found = found


class JournalDamaged(JournalError):
    """Stored content is not what a writer can have stored. `seq` is None when no single event is to blame."""

    def __init__(self, seq: int | None, what: str) -> None:
        where = "the journal" if seq is None else f"event {seq}"
        super().__init__(f"read {where}: {what}", "run `comfygit-journal verify` to see how far it is good")
        self.seq = seq
        self.what = what


class JournalTooNew(JournalError):
    """A newer release wrote this. `found` and `supported` are phrases, as in "schema version 3"."""

    def __init__(self, found: str, supported: str) -> None:
        super().__init__(
            f"read the journal: found {found}, this release knows {supported}",
            "use the release that wrote it, or a newer one",
        )
        self.found = found
        self.supported = supported


class JournalOnNetwork(JournalError):
    """A network file system: SQLite's shared memory and locks do not hold there."""

    def __init__(self, path: Path, file_system: str) -> None:
        super().__init__(
            f"open {path} for writing: it is on a network file system ({file_system})",
            "keep the workspace on a local disk",
        )
        self.path = path
        self.file_system = file_system


class JournalBusy(JournalError):
    """Another program kept the journal for itself longer than we wait. `holder_pid` is None where it cannot be told."""

    def __init__(
        self, path: Path, holder_pid: int | None, what: str, *, holder: str = "", is_stopped: bool = False
    ) -> None:
        """`holder` is that process in more words; `is_stopped`, that it waits for a SIGCONT."""
        short = "another program" if holder_pid is None else f"process {holder_pid}"
        hint = f"look at {short}: continue or end it, then try again"
        if is_stopped:
            hint = f"let process {holder_pid} go on (kill -CONT {holder_pid}), or end it; then try again"
        super().__init__(f"write to {path}: {holder or short} {what}", hint)
        self.path = path
        self.holder_pid = holder_pid


class JournalForbidden(JournalError):
    """This user may not use this file or folder."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"open {path}: {what}", "do it as the user who owns the workspace")
        self.path = path


class JournalReadOnly(JournalError):
    """This journal cannot be written: opened for reading, or on a read-only file system, or its file is read-only."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"write to {path}: {what}", "open it for writing, on a writable file system")
        self.path = path


class JournalMissing(JournalError):
    """There is no journal at this path, or no longer the one that was opened."""

    def __init__(self, path: Path, what: str = "no such journal") -> None:
        super().__init__(f"open {path}: {what}", "check the path of the workspace; an orchestrator creates its journal")
        self.path = path


class JournalWriteFailed(JournalError):
    """The disk is full or failing. Nothing of this append is in the journal."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"write to {path}: {what}", "free some disk space, or look at the disk, then try again")
        self.path = path


class JournalStarved(JournalError):
    """This process may open no more files, or the machine has none left. Nothing of this append is in the journal."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"use {path}: {what}",
            "raise the limit of open files (ulimit -n), or end what has them open, then try again",
        )
        self.path = path

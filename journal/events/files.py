"""Files that others write for us, and files of ours that others changed."""

from journal.events.registry import Event, event


@event("file.ingested")
class FileIngested(Event):
    """A foreign file was understood and became the event that this one is the cause of. The triple makes it known again."""

    name: str
    sha256: str
    mtime_ns: int
    inode: int
    content: str


@event("file.rejected")
class FileRejected(Event):
    """A foreign file was not understood, or too old. Its bytes are kept, base64, the first 64 KiB.

    `target` is the environment that a request names all the same, "" when it names none.
    """

    name: str
    sha256: str
    mtime_ns: int
    inode: int
    why: str
    content_base64: str
    target: str = ""


@event("file.drifted")
class FileDrifted(Event):
    """A view was changed or deleted by somebody else while we lived; it has been restored."""

    name: str
    found: str

"""Generations: what was healthy, how its content is kept, and how it is brought back."""

from enum import StrEnum

import attrs

from journal.events.registry import Event, event


class Evidence(StrEnum):
    """Why a generation is there: our own probes found it healthy, or it asked for a switch itself.

    `saved`: it was about to be overwritten by a restore. Nothing speaks for it but that somebody may want it back.
    """

    PROBED = "probed"
    REQUESTER = "requester"
    SAVED = "saved"


@attrs.frozen
class SavedFile:
    """The content of a file, which is UTF-8. `name` is relative to the environment's folder."""

    name: str
    text: str


@event("generation.recorded")
class GenerationRecorded(Event):
    """An environment as it was when it was healthy. This event's seq names the generation."""

    environment: str
    fingerprint: str
    evidence: Evidence
    spawn: int | None
    arguments: tuple[str, ...]


@event("generation.proven")
class GenerationProven(Event):
    """It outlived its probation."""

    generation: int


@event("generation.disproved")
class GenerationDisproved(Event):
    """It crashed in its probation, or failed when it was tried again."""

    generation: int
    why: str


@event("generation.pinned")
class GenerationPinned(Event):
    """It is kept however many come after it. `name` is what people call it, "" without one; unique among the pinned."""

    generation: int
    name: str


@event("generation.unpinned")
class GenerationUnpinned(Event):
    """It is kept as long as any other."""

    generation: int


@event("capture.started")
class CaptureStarted(Event):
    """The content of a generation is about to be kept. This event's seq names the worker."""

    generation: int
    environment: str


@event("capture.finished")
class CaptureFinished(Event):
    """`commit` is that of the ref `refs/comfygit-journal/<generation>` in the environment's manifest repository.

    Where there is no such repository it is "", and the content is in `files`. `inventory`: what the environment consisted
    of, a part a line: kind, name, version.
    """

    worker: int
    generation: int
    ok: bool
    commit: str
    files: tuple[SavedFile, ...]
    inventory: tuple[str, ...]
    duration_ns: int
    error: str


@event("capture.skipped")
class CaptureSkipped(Event):
    """In place of a capture: what is on the disk is not what was healthy any more."""

    generation: int
    why: str


@event("restore.started")
class RestoreStarted(Event):
    """The content of a generation is about to be written back. This event's seq names the worker.

    What is overwritten is the content of the generation `saved`: going back to that one undoes this.
    """

    environment: str
    generation: int
    saved: int


@event("restore.finished")
class RestoreFinished(Event):
    """`written` and `removed`: file names relative to the environment's folder, those that were the same left out."""

    worker: int
    environment: str
    generation: int
    ok: bool
    written: tuple[str, ...]
    removed: tuple[str, ...]
    duration_ns: int
    error: str

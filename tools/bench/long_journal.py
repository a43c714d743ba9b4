"""A journal of restarts, as long as wanted, that folds: what an orchestrator writes of each."""

from collections.abc import Iterator
from pathlib import Path

from journal.codec import Draft, own_actor
from journal.events import (
    Event,
    Evidence,
    ExitCause,
    GenerationRecorded,
    HealthConfirmed,
    HealthProbed,
    OrchestratorStarted,
    ProcessExited,
    ProcessIntended,
    ProcessSpawned,
    Role,
    StartKind,
    StartPlanned,
    SyncSkipped,
)
from journal.identity import own_identity
from journal.store import Journal

_A_TRANSACTION = 2_000
_FINGERPRINT = "0" * 32 + "-" + "1" * 32


def write_long_journal(folder: Path, count: int) -> Path:
    """A workspace in `folder` with a journal of at least `count` events; the journal's path."""
    metadata = folder / ".metadata"
    metadata.mkdir(parents=True)
    path = metadata / "journal.db"
    with Journal.open(path, own_actor("orchestrator")) as journal:
        waiting: list[Draft] = []
        seq = journal.head()[0]
        while seq < count:
            for event in _life(seq, is_first=seq == 1):
                waiting.append(Draft(event))
                seq += 1
            if len(waiting) > _A_TRANSACTION or seq >= count:
                journal.append(waiting)
                waiting = []
    return path


def _life(seq: int, *, is_first: bool) -> Iterator[Event]:
    """One start to its end with 42, after the event `seq`."""
    me = own_identity()
    if is_first:
        yield OrchestratorStarted(identity=me, release="0", environment="a", arguments=(), manual=True)
        seq += 1
    yield StartPlanned(environment="a", kind=StartKind.RESTART, delay_ns=0, attempt=0, asked=True)
    yield SyncSkipped(environment="a", fingerprint=_FINGERPRINT)
    yield ProcessIntended(
        role=Role.MAIN,
        environment="a",
        generation=None,
        fingerprint=_FINGERPRINT,
        host="127.0.0.1",
        port=8188,
        url="http://127.0.0.1:8188",
        command=("/home/somebody/comfygit/environments/a/.venv/bin/python", "main.py", "--port", "8188"),
        working_directory="/home/somebody/comfygit/environments/a/ComfyUI",
    )
    spawn = seq + 3
    yield ProcessSpawned(spawn=spawn, identity=me)
    for successes in (1, 2, 3):
        yield HealthProbed(spawn=spawn, ok=True, latency_ns=2_000_000, status=200, error="", successes=successes)
    if is_first:
        yield GenerationRecorded(
            environment="a", fingerprint=_FINGERPRINT, evidence=Evidence.PROBED, spawn=spawn, arguments=()
        )
    yield HealthConfirmed(spawn=spawn, generation=_GENERATION)
    yield ProcessExited(spawn=spawn, code=42, signal="", cause=ExitCause.RESTART, log_tail=("bye",) * 5)


_GENERATION = 10
"""The seq of the only one: after `journal.created`, `orchestrator.started` and seven more."""

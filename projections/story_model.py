"""What a story of one switch consists of, as data: made by `projections.story`, shown by whoever wants to."""

from enum import StrEnum

import attrs

from journal.clock import Stamp
from journal.events import LeftBehind
from projections.inventory import Difference


class Ending(StrEnum):
    """How a switch ended; `open` has not yet, `refused` never began."""

    OPEN = "open"
    REFUSED = "refused"
    COMPLETE = "complete"
    ROLLED_BACK = "rolled_back"
    CRITICAL_FAILURE = "critical_failure"
    ABORTED = "aborted"


@attrs.frozen
class Asker:
    """Who wanted it: the way it came in, the process that journaled it, and the one that asked, where that is known."""

    origin: str
    role: str
    pid: int
    host: str
    requester_pid: int | None


@attrs.frozen
class Cause:
    """Why it failed: the event that decided it. `exit` is in words, "" where nothing ended; `log` is below `.metadata`.

    `log_tail` holds the last lines that the failed start printed, also when it was we who ended it for being late.
    """

    seq: int
    event: str
    reason: str
    error: str
    spawn: int | None = None
    exit: str = ""
    code: int | None = None
    signal: str = ""
    log_tail: tuple[str, ...] = ()
    log: str = ""


@attrs.frozen
class Span:
    """One stage; `rolling_back` once per candidate. `seq`: what began it; `duration_ns` is None while it lasts."""

    name: str
    environment: str
    seq: int
    at: Stamp
    duration_ns: int | None = None
    failed: bool = False
    note: str = ""


@attrs.frozen
class Probes:
    """The probes of one start. `typical_ns` (the median) and `slowest_ns` are latencies of those that succeeded."""

    ok: int = 0
    failed: int = 0
    typical_ns: int | None = None
    slowest_ns: int | None = None
    last_error: str = ""


@attrs.frozen
class Start:
    """One ComfyUI that the switch started. `ended` says in words how, "" while it runs; `log` is below `.metadata`.

    `notes` are sentences on how it was started.
    """

    spawn: int
    environment: str
    at: Stamp
    rolling_back: bool
    log: str
    pid: int | None = None
    confirmed: bool = False
    ended: str = ""
    probes: Probes = Probes()
    notes: tuple[str, ...] = ()


@attrs.frozen
class Try:
    """One candidate of the rollback. `failure` is "" for one that came up, or has not yet been decided on."""

    attempt: int
    environment: str
    generation: int | None
    seq: int
    failure: str = ""


@attrs.frozen
class Restored:
    """The content of `generation` was written over what is now generation `saved`: going back to that one undoes it.

    `changed` is what had changed since `generation`, where both inventories are known: most likely what went wrong.
    `ref` is where the manifest repository has it, "" where the journal has. Not `ok` and without an `error`: not over.
    `interrupted`: it was begun more than once, and `written` and `removed` are only what was left to do at last.
    """

    environment: str
    generation: int
    saved: int
    seq: int
    ok: bool
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    error: str = ""
    ref: str = ""
    changed: tuple[Difference, ...] = ()
    interrupted: bool = False


@attrs.frozen
class SentSignal:
    """A signal of ours. `why` is why the process was asked to stop."""

    seq: int
    at: Stamp
    signal: str
    environment: str
    spawn: int
    whole_tree: bool
    why: str


@attrs.frozen
class Silence:
    """Nobody answered: from the stop or exit of the old one to the probe that confirmed its successor.

    `ns` is None as long as it lasts. `at_least`: it had begun before the first event that is known.
    """

    since: Stamp
    ns: int | None
    at_least: bool


@attrs.frozen
class Story:
    """One switch, from who asked for it to what serves.

    `serving` is the environment at its end, "" when none did or it is open; `silence` is None when the old one answered
    all the time. `takeovers` are the `orchestrator.lost` events on the way: a successor went on. `losses` says them in words;
    `left` could not be ended.
    """

    switch: int
    kind: str
    target: str
    source: str
    asked: Asker
    at: Stamp
    ending: Ending
    ended: Stamp | None
    ended_seq: int | None
    duration_ns: int | None
    error: str
    cause: Cause | None
    nothing_stopped: bool
    reason: str = ""
    stages: tuple[Span, ...] = ()
    starts: tuple[Start, ...] = ()
    tries: tuple[Try, ...] = ()
    restores: tuple[Restored, ...] = ()
    signals: tuple[SentSignal, ...] = ()
    losses: tuple[str, ...] = ()
    silence: Silence | None = None
    serving: str = ""
    serving_spawn: int | None = None
    manual: bool = False
    recovery_command: str = ""
    takeovers: tuple[int, ...] = ()
    left: tuple[LeftBehind, ...] = ()

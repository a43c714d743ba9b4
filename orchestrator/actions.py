"""What `decide` may want done, as data. The loop appends the events, then performs the effect; it has no say in either."""

from enum import StrEnum

import attrs

from journal.clock import Stamp
from journal.codec import Draft
from journal.identity import Identity


class Took(StrEnum):
    """What an action has used up of the world: seen once, never again."""

    SIGNAL = "signal"
    PROBE = "probe"
    INBOX = "inbox"
    WORKER = "worker"


@attrs.frozen
class Spawn:
    """Start a ComfyUI, as the `process.intended` of that seq says."""

    spawn: int
    environment: str
    command: tuple[str, ...]
    working_directory: str


@attrs.frozen
class Signal:
    """Send a signal to a process, or to all that descends from it."""

    spawn: int
    identity: Identity
    signal: str
    whole_tree: bool


@attrs.frozen
class Sweep:
    """Kill what a process left behind."""

    spawn: int


@attrs.frozen
class Probe:
    """Ask a ComfyUI whether it is ready; `timeout_ns` from now it has failed. `whose`: look whose socket has answered."""

    spawn: int
    url: str
    port: int
    timeout_ns: int
    whose: bool = True


@attrs.frozen
class StartPreflight:
    """Look at the environment, in the background."""

    worker: int
    environment: str


@attrs.frozen
class StartSync:
    """Sync the environment, in the background."""

    worker: int
    environment: str


@attrs.frozen
class StartCapture:
    """Keep the content of an environment for a generation, in the background; of older ones only those in `kept` stay."""

    worker: int
    environment: str
    generation: int
    kept: tuple[int, ...]


@attrs.frozen
class StartRestore:
    """Write the content of a generation over that of the generation `saved`, in the background."""

    worker: int
    environment: str
    generation: int
    saved: int


@attrs.frozen
class KillWorker:
    """End the worker and all that it started."""

    worker: int


@attrs.frozen
class TakeFile:
    """Remove a foreign file that has been taken in, if it is still the same."""

    name: str
    key: str


@attrs.frozen
class TakeForeignLock:
    """Remove a foreign lock file: it is stale, or has become ours."""


@attrs.frozen
class End:
    """Leave, with this exit status. `why`: what no event tells of."""

    exit_status: int
    why: str = ""


Work = StartPreflight | StartSync | StartCapture | StartRestore
Effect = Spawn | Signal | Sweep | Probe | Work | KillWorker | TakeFile | TakeForeignLock | End


@attrs.frozen
class Act:
    """Append `events` in one transaction, then perform `effect`. `took` has been used up, even with no events at all."""

    events: tuple[Draft, ...] = ()
    effect: Effect | None = None
    took: frozenset[Took] = frozenset()


@attrs.frozen
class Wait:
    """Nothing to do before `until` (None: until something happens)."""

    until: Stamp | None = None


Decision = Act | Wait

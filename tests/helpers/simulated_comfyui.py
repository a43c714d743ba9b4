"""What a simulated ComfyUI, worker or environment does: scripts as data, and the processes that follow them."""

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TypeVar

import attrs

from journal.clock import MS, S, seconds
from journal.events import LeftBehind
from journal.identity import Identity
from projections.generations import content_of

NEVER_NS = 1 << 61
_T = TypeVar("_T")


class Answer(StrEnum):
    """How it answers a probe, once its port is open."""

    READY = "ready"
    ERROR = "error"
    MUTE = "mute"
    FLAPPING = "flapping"


AS_THE_REAL_ONE: Mapping[str, float] = {"SIGINT": 1.9, "SIGTERM": 0.12, "SIGKILL": 0.01}
"""Seconds from a signal to the end."""
DEAF: Mapping[str, float] = {"SIGKILL": 0.01}
"""Only SIGKILL ends it."""
UNKILLABLE: Mapping[str, float] = {}
"""It waits in the kernel, and hears nothing."""


@attrs.frozen
class Script:
    """One start of a ComfyUI; times in seconds from that start. `serves_after_s` is when its port opens.

    `survivors` of its descendants outlive it until they are swept; `unkillable` and `untouchable` are those that nothing
    ends, since they hear nothing or are another user's. `found_after_s`: how long an orchestrator that did
    not start it itself cannot tell whether it is there. `needs_port`: it ends with 1 where somebody else has its port.
    """

    serves_after_s: float = 2.0
    answer: Answer = Answer.READY
    exits_after_s: float = math.inf
    code: int | None = 0
    signal: str = ""
    ends_in_s: Mapping[str, float] = AS_THE_REAL_ONE
    survivors: int = 0
    unkillable: int = 0
    untouchable: int = 0
    found_after_s: float = 0.0
    error: str = ""
    needs_port: bool = False


HEALTHY = Script()
"""Serves two seconds after its start, until somebody stops it."""
DIES_AT_START = Script(serves_after_s=math.inf, exits_after_s=0.5, code=7)
"""As with a broken dependency."""
HANGS = Script(serves_after_s=math.inf)
"""Never opens its port, never ends."""


def leaves_with(code: int, after_s: float = 5.0) -> Script:
    """Healthy, and then ends with this code."""
    return Script(exits_after_s=after_s, code=code)


@attrs.frozen
class Work:
    """What a worker comes to. `dies_in_s`: from being killed to being gone."""

    ok: bool = True
    problem: str = ""
    takes_s: float = 0.2
    dies_in_s: float = 0.01
    changed: bool = False


@attrs.define
class SimulatedEnvironment:
    """One environment on the simulated disk. Of each list the last one is used again and again.

    `fingerprint` is its content, and after a dash what is installed. `refs` holds contents by generation. With one that
    is `poisoned` it dies at its start, whatever its script says.
    """

    name: str
    scripts: list[Script] = attrs.Factory(lambda: [HEALTHY])
    preflights: list[Work] = attrs.Factory(lambda: [Work()])
    syncs: list[Work] = attrs.Factory(lambda: [Work(takes_s=1.0)])
    fingerprint: str = attrs.field(default=attrs.Factory(lambda self: f"content of {self.name}", takes_self=True))
    problem: str = ""
    captures: list[Work] = attrs.Factory(lambda: [Work(takes_s=0.2)])
    restores: list[Work] = attrs.Factory(lambda: [Work(takes_s=0.2)])
    refs: dict[int, str] = attrs.Factory(dict)
    poisoned: set[str] = attrs.Factory(set)

    @property
    def content(self) -> str:
        """What a restore would overwrite."""
        return content_of(self.fingerprint)

    @content.setter
    def content(self, content: str) -> None:
        self.fingerprint = "-".join((content, *self.fingerprint.split("-")[1:]))

    def next_script(self) -> Script:
        """What the next start does."""
        script = _next(self.scripts)
        return DIES_AT_START if self.content in self.poisoned else script

    def next_capture(self) -> Work:
        """What the next capture comes to."""
        return _next(self.captures)

    def next_restore(self) -> Work:
        """What the next restore comes to."""
        return _next(self.restores)

    def next_preflight(self) -> Work:
        """What the next preflight comes to."""
        return _next(self.preflights)

    def next_sync(self) -> Work:
        """What the next sync comes to."""
        return _next(self.syncs)


def _next(items: list[_T]) -> _T:
    return items.pop(0) if len(items) > 1 else items[0]


@attrs.define(eq=False)
class SimulatedProcess:
    """A ComfyUI that was really started, whoever knows of it. `spawn` is None where nobody supervises it.

    `parent` started it, and learns its exit code. `reaped`: so does the parent's guard, after the parent's death.
    `shut_out`: somebody else has taken its port before it came to that.
    """

    identity: Identity
    environment: str
    script: Script
    parent: Identity | None
    started_ns: int
    spawn: int | None = None
    ends_ns: int = NEVER_NS
    code: int | None = None
    signal: str = ""
    survivors: int = 0
    unkillable: int = 0
    untouchable: int = 0
    probed: int = 0
    reaped: bool = True
    shut_out: bool = False
    received: list[str] = attrs.Factory(list)

    def __attrs_post_init__(self) -> None:
        """Follow the script from the start on."""
        self.survivors = self.script.survivors
        self.unkillable, self.untouchable = self.script.unkillable, self.script.untouchable
        if not math.isinf(self.script.exits_after_s):
            self._end_at(self.started_ns + seconds(self.script.exits_after_s), self.script.code, self.script.signal)

    def is_alive(self, now_ns: int) -> bool:
        """Whether it has not ended yet."""
        return now_ns < self.ends_ns

    def has_port(self, now_ns: int) -> bool:
        """Whether it has opened its port and still holds it."""
        if self.shut_out or math.isinf(self.script.serves_after_s) or not self.is_alive(now_ns):
            return False
        return now_ns >= self.started_ns + seconds(self.script.serves_after_s)

    def lose_port(self, now_ns: int) -> None:
        """Somebody else has its port, if it does not have it yet."""
        if not self.has_port(now_ns):
            self.shut_out = True
            if self.script.needs_port and not math.isinf(self.script.serves_after_s):
                self._end_at(max(now_ns, self.started_ns + seconds(self.script.serves_after_s)), 1, "")

    def get_signal(self, name: str, now_ns: int) -> None:
        """End after the scripted time, or not at all. A ComfyUI cleans up after SIGINT and leaves with 0."""
        self.received.append(name)
        if name in self.script.ends_in_s and self.is_alive(now_ns):
            code, signal = (0, "") if name == "SIGINT" else (None, name)
            self._end_at(now_ns + seconds(self.script.ends_in_s[name]), code, signal)

    def end(self, now_ns: int, code: int) -> None:
        """End at once, for a reason of its own."""
        self._end_at(now_ns, code, "")

    def vanish(self, now_ns: int) -> None:
        """End at once, in a way that nobody learns of."""
        self._end_at(now_ns, None, "")
        self.survivors = self.unkillable = self.untouchable = 0

    def leave_none(self) -> None:
        """What outlived it has been killed, if that was possible."""
        self.survivors = 0

    def left_behind(self) -> tuple[LeftBehind, ...]:
        """What outlives it."""
        kinds = {"survivor": self.survivors, "unkillable": self.unkillable, "untouchable": self.untouchable}
        names = [name for name, number in kinds.items() for _ in range(number)]
        return tuple(
            LeftBehind(attrs.evolve(self.identity, pid=90_000 + number), name, name if name == "untouchable" else "")
            for number, name in enumerate(names)
        )

    def answer(self, now_ns: int, patience_ns: int) -> tuple[bool, int, int | None, str]:
        """What a probe gets: ok, after how many nanoseconds, HTTP status, error."""
        if not self.has_port(now_ns):
            return False, MS, None, "connection refused"
        self.probed += 1
        if self.script.answer is Answer.MUTE:
            return False, patience_ns, None, f"no answer within {patience_ns / S:.1f} s"
        if self.script.answer is Answer.ERROR or (self.script.answer is Answer.FLAPPING and self.probed % 3 == 0):
            return False, 5 * MS, 500, "HTTP 500"
        return True, 5 * MS, 200, ""

    def _end_at(self, when_ns: int, code: int | None, signal: str) -> None:
        if when_ns < self.ends_ns:
            self.ends_ns, self.code, self.signal = when_ns, code, signal


def nothing() -> None:
    """Leaves the disk as it is."""


@attrs.define(eq=False)
class SimulatedWorker:
    """A worker that was really started. `finish` is what it does to the disk at its end, unless it was killed before.

    `leave_half` is what it has done to the disk when it is killed.
    """

    worker: int
    identity: Identity
    work: Work
    parent: Identity
    ends_ns: int
    finish: Callable[[], None] = nothing
    planned_ns: int = attrs.field(default=attrs.Factory(lambda self: self.ends_ns, takes_self=True))
    leave_half: Callable[[], None] = nothing

    def end(self) -> None:
        """Its time has come."""
        if self.ends_ns == self.planned_ns and self.work.ok:
            self.finish()

    def is_alive(self, now_ns: int) -> bool:
        """Whether it has not ended yet."""
        return now_ns < self.ends_ns

    def kill(self, now_ns: int) -> None:
        """End soon, or never: then it does nothing more, either."""
        if not math.isinf(self.work.dies_in_s):
            self.end_early(now_ns + seconds(self.work.dies_in_s))
        elif self.ends_ns == self.planned_ns > now_ns:
            self.ends_ns = NEVER_NS
            self.leave_half()

    def end_early(self, when_ns: int) -> None:
        """End then, if that is before its time has come."""
        if when_ns < self.ends_ns:
            was_at_work, self.ends_ns = self.ends_ns == self.planned_ns, when_ns
            if was_at_work:
                self.leave_half()

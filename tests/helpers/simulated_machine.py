"""The simulated machine: clocks, processes, a port and files. All that outlives an orchestrator."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator

import attrs

from journal.clock import MS, Stamp, seconds
from journal.identity import Identity
from orchestrator.world import AskKind, InboxItem
from projections.evolve_supervision import inbox_key
from projections.views import REQUEST
from tests.helpers.simulated_comfyui import SimulatedEnvironment, SimulatedProcess, SimulatedWorker

NOON_NS = 1_772_366_400_000_000_000
"""Where the wall clock stands at the start: 2026-03-01T12:00:00Z."""
COMMAND = ".cmd"


@attrs.frozen
class File:
    """A foreign file; unfinished until `finished_ns`."""

    item: InboxItem
    finished_ns: int

    def seen(self, now_ns: int) -> InboxItem:
        """What there is to be seen of it."""
        if now_ns >= self.finished_ns:
            return self.item
        return attrs.evolve(self.item, kind=AskKind.UNFINISHED, target="", source="", pid=None)


@attrs.define(eq=False)
class SimulatedMachine:
    """Time passes only by `advance`. `started` are ComfyUIs by their spawn, `foreign` those that somebody else started.

    `guarded`: somebody reaps orphans, so that the next orchestrator learns their exit codes. `stranger` describes a
    program that holds the port and is no ComfyUI of this workspace.
    """

    environments: dict[str, SimulatedEnvironment]
    guarded: bool = False
    now_ns: int = 0
    wall_step_ns: int = 0
    boot: int = 1
    booted_ns: int = 0
    started: dict[int, SimulatedProcess] = attrs.Factory(dict)
    foreign: list[SimulatedProcess] = attrs.Factory(list)
    workers: dict[int, SimulatedWorker] = attrs.Factory(dict)
    files: dict[str, File] = attrs.Factory(dict)
    foreign_lock: Stamp | None = None
    stranger: str = ""
    woken: bool = True
    _agenda: list[tuple[int, int, bool, Callable[[], None] | None]] = attrs.Factory(list)
    _numbers: Iterator[int] = attrs.Factory(lambda: itertools.count(1))

    # ------------------------------------------------------------ time

    @property
    def boot_id(self) -> str:
        """The id of the present boot."""
        return f"boot-{self.boot}"

    def now(self) -> Stamp:
        """What the clocks show."""
        return Stamp(NOON_NS + self.now_ns + self.wall_step_ns, self.now_ns - self.booted_ns, self.boot_id)

    def schedule(self, when_ns: int, action: Callable[[], None] | None = None, *, wakes: bool = True) -> None:
        """Have something happen later. Without `wakes` it happens unnoticed."""
        heapq.heappush(self._agenda, (when_ns, next(self._numbers), wakes, action))

    def next_ns(self) -> int | None:
        """When the next thing happens."""
        return self._agenda[0][0] if self._agenda else None

    def advance(self, until_ns: int) -> None:
        """Let time pass to then, and happen what is due."""
        self.now_ns = max(self.now_ns, until_ns)
        while self._agenda and self._agenda[0][0] <= self.now_ns:
            _, _, wakes, action = heapq.heappop(self._agenda)
            if action is not None:
                action()
            self.woken = self.woken or wakes

    # ---------------------------------------------------- environments

    def problem_of(self, environment: str) -> str:
        """What is wrong with its folder; "" when nothing is."""
        found = self.environments.get(environment)
        problem = "there is no such folder" if found is None else found.problem
        return f"environment {environment!r}: {problem}" if problem else ""

    # ------------------------------------------------------- processes

    def new_identity(self) -> Identity:
        """Of a process that starts now."""
        pid = 1000 + next(self._numbers)
        return Identity(pid, (self.now_ns - self.booted_ns) // (10 * MS), self.boot_id)

    def start(self, environment: str, parent: Identity | None) -> SimulatedProcess:
        """Start a ComfyUI as the environment's next script says."""
        script = self.environments[environment].next_script()
        process = SimulatedProcess(self.new_identity(), environment, script, parent, self.now_ns)
        self.schedule(process.ends_ns)
        return process

    def comfyuis(self) -> Iterable[SimulatedProcess]:
        """Every one that was ever started."""
        return (*self.started.values(), *self.foreign)

    def find(self, identity: Identity | None) -> SimulatedProcess | None:
        """The ComfyUI with that identity."""
        return next((process for process in self.comfyuis() if process.identity == identity), None)

    def alive(self) -> list[SimulatedProcess]:
        """The ComfyUIs that run."""
        return [process for process in self.comfyuis() if process.is_alive(self.now_ns)]

    def signal(self, identity: Identity, name: str) -> None:
        """Send a signal; the sender will notice the end."""
        process = self.find(identity)
        if process is not None:
            process.get_signal(name, self.now_ns)
            self.schedule(process.ends_ns)

    def port_holder(self) -> str:
        """Who holds the port, in words; "" when it is free."""
        serving = next((one for one in self.comfyuis() if one.has_port(self.now_ns)), None)
        return self.stranger or (f"pid {serving.identity.pid}" if serving else "")

    def lose_power(self) -> None:
        """Everything ends, and the next boot begins with its own monotonic clock."""
        for process in self.comfyuis():
            process.vanish(self.now_ns)
        for worker in self.workers.values():
            worker.end_early(self.now_ns)
        self.boot += 1
        self.booted_ns = self.now_ns

    # ----------------------------------------------------------- files

    def write(self, name: str, kind: AskKind, *, takes_s: float = 0.0, **fields: str | int | None) -> InboxItem:
        """Write a foreign file, over an older one of that name."""
        number = next(self._numbers)
        mtime_ns = self.now().wall_ns
        key = inbox_key(name, f"{number:064x}", mtime_ns, number)
        item = InboxItem(
            name=name,
            key=key,
            kind=kind,
            sha256=f"{number:064x}",
            mtime_ns=mtime_ns,
            inode=number,
            content=f"file {number}",
            **fields,  # type: ignore[arg-type]
        )
        self.files[name] = File(item, self.now_ns + seconds(takes_s))
        self.schedule(self.now_ns)
        self.schedule(self.now_ns + seconds(takes_s), wakes=False)
        return item

    def inbox(self) -> tuple[InboxItem, ...]:
        """What lies in the inbox, commands first."""
        return tuple(self.files[name].seen(self.now_ns) for name in (COMMAND, REQUEST) if name in self.files)

    def remove(self, name: str, key: str) -> None:
        """Remove a file if it is still that one."""
        if name in self.files and self.files[name].item.key == key:
            del self.files[name]

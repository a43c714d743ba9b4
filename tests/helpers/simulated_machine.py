"""The simulated machine: clocks, processes, a port and files. All that outlives an orchestrator."""

import heapq
import itertools
from collections.abc import Callable, Iterator

import attrs

from journal.clock import MS, Stamp, seconds
from journal.identity import Identity
from orchestrator.world import AskKind, InboxItem
from projections.evolve_supervision import inbox_key
from projections.views import REQUEST
from tests.helpers.simulated_comfyui import NEVER_NS, SimulatedEnvironment, SimulatedProcess, SimulatedWorker

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

    `guarded`: a guard lives, which reaps orphans, so that the next orchestrator learns their exit codes. `stranger` describes
    a program that holds the port and is no ComfyUI of this workspace; it answers probes where `stranger_answers`.
    `honest` has for each spawn whether the last probe of it was answered well, and by itself. `full`: so is the disk.
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
    written: dict[str, InboxItem] = attrs.Factory(dict)
    foreign_lock: Stamp | None = None
    stranger: str = ""
    stranger_answers: bool = True
    honest: dict[int, bool] = attrs.Factory(dict)
    full: bool = False
    woken: bool = True
    _known: dict[Identity, SimulatedProcess] = attrs.Factory(dict)
    _running: list[SimulatedProcess] = attrs.Factory(list)
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

    def start(self, environment: str, parent: Identity | None, spawn: int | None = None) -> SimulatedProcess | str:
        """Start a ComfyUI as the environment's next script says; or why that is not possible."""
        script = self.environments[environment].next_script()
        if script.error:
            return script.error
        process = SimulatedProcess(self.new_identity(), environment, script, parent, self.now_ns, spawn)
        self._known[process.identity] = process
        self._running.append(process)
        if spawn is None:
            self.foreign.append(process)
        else:
            self.started[spawn] = process
        self._wake_at_end(process)
        return process

    def find(self, identity: Identity | None) -> SimulatedProcess | None:
        """The ComfyUI with that identity."""
        return None if identity is None else self._known.get(identity)

    def alive(self) -> list[SimulatedProcess]:
        """The ComfyUIs that run."""
        now_ns = self.now_ns
        if any(process.ends_ns <= now_ns for process in self._running):
            self._running = [process for process in self._running if process.ends_ns > now_ns]
        return list(self._running)

    def signal(self, identity: Identity, name: str) -> None:
        """Send a signal; the sender will notice the end."""
        process = self.find(identity)
        if process is not None:
            process.get_signal(name, self.now_ns)
            self._wake_at_end(process)

    def orphan(self, but: Identity | None = None) -> None:
        """Whoever would reap those whose parent is not `but` is gone: nobody learns their exit codes any more."""
        for process in self._known.values():
            if but is None or process.parent != but:
                process.reaped = False

    def port_holder(self) -> str:
        """Who holds the port, in words; "" when it is free."""
        if self.stranger:
            return self.stranger
        serving = next((one for one in self.alive() if one.has_port(self.now_ns)), None)
        return f"pid {serving.identity.pid}" if serving else ""

    def take_port(self, stranger: str, *, answers: bool = True) -> None:
        """A stranger takes the port from whoever of ours has not opened it yet."""
        self.stranger, self.stranger_answers = stranger, answers
        for process in self.alive():
            process.lose_port(self.now_ns)
            self._wake_at_end(process)

    def leave_port(self) -> None:
        """The stranger is gone."""
        self.stranger = ""

    def _wake_at_end(self, process: SimulatedProcess) -> None:
        if process.ends_ns < NEVER_NS:
            self.schedule(process.ends_ns)

    def lose_power(self) -> None:
        """Everything ends, and the next boot begins with its own monotonic clock."""
        for process in self.alive():
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
        self.put(item, takes_s=takes_s)
        return item

    def copy(self, item: InboxItem) -> InboxItem:
        """The same content in another file, just written."""
        inode, mtime_ns = next(self._numbers), self.now().wall_ns
        key = inbox_key(item.name, item.sha256, mtime_ns, inode)
        return attrs.evolve(item, inode=inode, mtime_ns=mtime_ns, key=key)

    def put(self, item: InboxItem, *, takes_s: float = 0.0) -> None:
        """Have this file lie there."""
        self.written[item.key] = item
        self.files[item.name] = File(item, self.now_ns + seconds(takes_s))
        self.schedule(self.now_ns)
        self.schedule(self.now_ns + seconds(takes_s), wakes=False)

    def inbox(self) -> tuple[InboxItem, ...]:
        """What lies in the inbox, commands first."""
        return tuple(self.files[name].seen(self.now_ns) for name in (COMMAND, REQUEST) if name in self.files)

    def remove(self, name: str, key: str) -> None:
        """Remove a file if it is still that one."""
        if name in self.files and self.files[name].item.key == key:
            del self.files[name]

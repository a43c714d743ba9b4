"""What can happen to a simulated workspace, chosen by chance; and workspaces to which it happens."""

import contextlib
import math
import random
from collections.abc import Callable
from typing import Final

import attrs

from journal.events import Origin
from orchestrator.config import Config
from orchestrator.world import AskKind
from projections.views import REQUEST
from tests.helpers.broken_invariant import must
from tests.helpers.simulated_comfyui import (
    AS_THE_REAL_ONE,
    DEAF,
    HEALTHY,
    UNKILLABLE,
    Answer,
    Script,
    SimulatedEnvironment,
    SimulatedProcess,
    Work,
)
from tests.helpers.simulated_workspace import DiskFullError
from tests.helpers.simulated_world import SimulatedWorld

NAMES = ("a", "b", "c")
HAPPENINGS: Final = {
    "ask_switch": 6,
    "write_request": 5,
    "repeat_request": 2,
    "delete_request": 1,
    "ask_restart": 2,
    "ask_abort": 3,
    "write_command": 2,
    "shut_down": 1,
    "signal_orchestrator": 1,
    "kill_orchestrator": 6,
    "kill_guard": 3,
    "kill_both": 1,
    "end_a_process": 4,
    "hang_a_process": 1,
    "lose_power": 1,
    "fill_the_disk": 2,
    "step_the_clock": 2,
    "take_the_port": 3,
    "vanish": 2,
    "edit": 2,
    "update_and_restart": 5,
    "ask_rollback": 4,
    "start_by_hand": 1,
}
"""Each with how often it happens, compared to the others."""


@attrs.frozen
class Chaos:
    """One history in the making."""

    random: random.Random
    world: SimulatedWorld

    def happen(self) -> str:
        """Let one random thing happen, or nothing; which one. Whoever wants to write to a full disk gets an error."""
        (name,) = self.random.choices(list(HAPPENINGS), list(HAPPENINGS.values()))
        with contextlib.suppress(DiskFullError):
            getattr(self, name)()
        return name

    def ask_switch(self) -> None:
        """By command or from our page, sometimes twice; sometimes to something that is not there."""
        target, origin = self.random.choice((*NAMES, "nowhere")), self.random.choice((Origin.CLI, Origin.PANEL))
        for _ in range(self.random.choice((1, 1, 1, 2))):
            self.world.ask_switch(target, origin=origin)

    def ask_restart(self) -> None:
        """By command."""
        self.world.ask_restart()

    def ask_abort(self) -> None:
        """By command."""
        self.world.ask_abort()

    def ask_rollback(self) -> None:
        """By command, to any generation that is remembered."""
        known = self.world.state.generations
        if known:
            chosen = self.random.choice(known)
            self.world.ask_switch(chosen.environment, generation=chosen.generation)

    def update_and_restart(self) -> None:
        """What people do most: change what serves, and start it again."""
        serving = self.world.state.serving
        self.edit(serving or None)
        self.world.ask_restart()

    def signal_orchestrator(self) -> None:
        """As systemd or a terminal does."""
        self.world.signal_orchestrator(self.random.choice(("SIGTERM", "SIGINT", "SIGHUP")))

    def write_request(self) -> None:
        """As a panel; sometimes with a ComfyUI that then leaves with 43."""
        serving = self.world.state.serving
        source = serving or self.random.choice((*NAMES, ""))
        self.world.write_request(self.random.choice(NAMES), source, takes_s=self.random.choice((0, 0.3, 2.0)))
        main = self.world.machine.find(
            None if self.world.state.main_process is None else self.world.state.main_process.identity
        )
        if main is not None and self.random.random() < 0.7:
            self.world.at(self.random.choice((0.0, 2.0, 6.0)), lambda: self._leave(main))

    def repeat_request(self) -> None:
        """The newest request lies there once more, as the same file or as a copy of it."""
        machine = self.world.machine
        requests = [item for item in machine.written.values() if item.name == REQUEST]
        if not requests:
            return
        item = requests[-1]
        machine.put(item if self.random.random() < 0.5 else machine.copy(item))

    def delete_request(self) -> None:
        """Before it is taken in."""
        self.world.machine.files.pop(REQUEST, None)

    def _leave(self, process: SimulatedProcess, code: int = 43) -> None:
        machine = self.world.machine
        process.end(machine.now_ns, code)
        machine.schedule(machine.now_ns)

    def write_command(self) -> None:
        """As `cg` or a panel."""
        kind = self.random.choice((AskKind.RESTART, AskKind.SHUTDOWN, AskKind.ABORT, AskKind.REJECTED))
        manual = 4711 if kind is AskKind.ABORT and self.random.random() < 0.5 else None
        self.world.write_command(kind, pid=manual)

    def shut_down(self) -> None:
        """By command, with or without an orchestrator alive."""
        self.world.ask_shutdown()

    def _now_or_soon(self, action: Callable[[], None]) -> None:
        """Now, or in the middle of what the orchestrator does next."""
        if self.random.random() < 0.4:
            action()
        else:
            self.world.at_boundary[self.world.boundaries + self.random.randint(1, 12)] = action

    def kill_orchestrator(self) -> None:
        """Its guard, if it has one, starts it again."""
        self._now_or_soon(self.world.kill_orchestrator)

    def kill_guard(self) -> None:
        """The orchestrator goes on alone, or takes its place."""
        self._now_or_soon(self.world.kill_guard)

    def kill_both(self) -> None:
        """Nobody starts another one."""
        self._now_or_soon(self.world.kill_both)

    def end_a_process(self) -> None:
        """A ComfyUI ends for reasons of its own."""
        code = self.random.choice((0, 42, 42, 43, 1, 7))
        self._now_or_soon(lambda: self._end_one(code))

    def _end_one(self, code: int) -> None:
        alive = self.world.machine.alive()
        if alive:
            self._leave(alive[0], code)

    def hang_a_process(self) -> None:
        """A ComfyUI answers nobody any more, and hears no signal but one."""
        for process in self.world.machine.alive():
            process.script = attrs.evolve(process.script, answer=Answer.MUTE, ends_in_s=DEAF)

    def lose_power(self) -> None:
        """The machine goes down."""
        self.world.lose_power()

    def fill_the_disk(self) -> None:
        """Nothing can be appended for a while."""
        machine = self.world.machine
        machine.full = True
        self.world.at(self.random.choice((0.3, 2.5, 30.0)), self._empty_the_disk, wakes=False)

    def _empty_the_disk(self) -> None:
        self.world.machine.full = False

    def step_the_clock(self) -> None:
        """By an hour, either way."""
        self.world.machine.wall_step_ns += self.random.choice((-1, 1)) * 3_600_000_000_000

    def take_the_port(self) -> None:
        """A stranger takes the port when it is free, for a while; a ComfyUI that is about to open it comes too late."""
        machine = self.world.machine
        if not machine.port_holder():
            machine.take_port("pid 4711 (nginx)", answers=self.random.random() < 0.7)
            self.world.at(self.random.choice((1.0, 20.0, 45.0)), machine.leave_port, wakes=False)

    def vanish(self) -> None:
        """An environment's folder goes away, or comes back."""
        environment = self.world[self.random.choice(NAMES)]
        environment.problem = "" if environment.problem else "its folder is gone"

    def edit(self, name: str | None = None) -> None:
        """Somebody changes an environment's content, or what is installed; some edits are bad."""
        environment = self.world[name or self.random.choice(NAMES)]
        if self.random.random() < 0.3:
            environment.fingerprint = f"{environment.content}-{self.random.random()}"
            return
        environment.content = f"edit {self.random.random()}"
        if self.random.random() < 0.4:
            environment.poisoned.add(environment.content)

    def start_by_hand(self) -> None:
        """Somebody starts a ComfyUI without us, where the port is free."""
        name = self.random.choice(NAMES)
        if not self.world.machine.port_holder() and not self.world.machine.alive():
            self.world.machine.start(name, None)


def random_script(chance: random.Random) -> Script:
    """A ComfyUI that may well behave."""
    kind = chance.random()
    exits_after_s, code = math.inf, 0
    if kind < 0.45:
        exits_after_s, code = chance.choice((0.3, 3.0, 6.0, 30.0, 90.0)), chance.choice((0, 1, 7, 42, 42, 43))
    return Script(
        serves_after_s=chance.choice((0.5, 2.0, 9.0, 9.0, math.inf if kind > 0.9 else 1.0)),
        answer=chance.choice((Answer.READY,) * 9 + (Answer.ERROR, Answer.MUTE, Answer.FLAPPING)),
        exits_after_s=exits_after_s,
        code=code,
        ends_in_s=DEAF if chance.random() < 0.1 else UNKILLABLE if chance.random() < 0.03 else AS_THE_REAL_ONE,
        survivors=chance.choice((0, 0, 0, 2)),
        unkillable=int(chance.random() < 0.1),
        untouchable=int(chance.random() < 0.1),
        found_after_s=chance.choice((0.0, 0.0, 0.3)),
        error="no room for another process" if chance.random() < 0.03 else "",
        needs_port=chance.random() < 0.5,
    )


def random_work(chance: random.Random) -> Work:
    """Mostly good."""
    ok = chance.random() < 0.85
    return Work(
        ok,
        "" if ok else "no such package",
        chance.choice((0.0, 0.2, 1.0, 5.0, 700.0)),
        chance.choice((0.01, 0.01, 3.0, math.inf)),
    )


def random_world(chance: random.Random, plain: frozenset[str] = frozenset()) -> SimulatedWorld:
    """Three environments, each with a past and a future of its own; all is well in those that are `plain`."""
    config = Config(
        health_check_timeout_s=12.0,
        probe_interval_s=1.0,
        sync_timeout_s=60.0,
        crash_retry_max=chance.choice((0, 1, 3)),
        crash_retry_delay_s=chance.choice((0.0, 2.0, 10.0)),
        stop_timeout_s=chance.choice((1.0, 10.0)),
    )
    environments = [random_environment(name, chance) for name in NAMES]
    return SimulatedWorld(
        *(SimulatedEnvironment(one.name) if one.name in plain else one for one in environments),
        config=config,
        guarded=chance.random() < 0.6,
        guard_returns=chance.random() < 0.7,
        late_s=chance.choice((0.0, 0.2, 0.2, 0.45)),
    )


def random_environment(name: str, chance: random.Random) -> SimulatedEnvironment:
    """What hangs for ever would never be at rest, so the last sync and the last capture do not."""
    return SimulatedEnvironment(
        name,
        scripts=[random_script(chance) for _ in range(6)],
        preflights=[random_work(chance) for _ in range(4)],
        syncs=[*(random_work(chance) for _ in range(5)), Work(takes_s=1.0)],
        captures=[*(random_work(chance) for _ in range(4)), Work()],
        restores=[random_work(chance) for _ in range(4)],
    )


def come_to_rest(world: SimulatedWorld) -> None:
    """No more faults: whatever was begun comes to its end."""
    for environment in world.machine.environments.values():
        environment.problem = ""
    world.dies_at_boundary = 0
    world.at_boundary.clear()
    world.machine.full = False
    if world.orchestrator is None and (world.state.orchestrator is not None or world.state.job is not None):
        world.run_orchestrator(manual=False)
    world.run_to_rest()
    world.check_replay()
    if world.orchestrator is not None:
        world.invariants.at_rest(world.state)
        _gives_back_the_lock(world)


def _gives_back_the_lock(world: SimulatedWorld) -> None:
    """A page's lock without a request, or from before the last boot, counts for as long as any other program's."""
    left = world.machine.foreign_lock
    if left is not None:
        world.run(world.config.lock_timeout_s + 60.0)
        message = "a page's lock is left: {}, now {}"
        must(world.machine.foreign_lock is not left or world.orchestrator is None, message, left, world.machine.now())


def still_works(world: SimulatedWorld) -> None:
    """After all that has happened, a switch to an environment in which all is well goes through."""
    machine = world.machine
    world.run(0.5)  # what has just ended is noticed
    world.run_to_rest()
    target = next(name for name in NAMES if name != world.state.serving)
    machine.environments[target] = SimulatedEnvironment(target, scripts=[HEALTHY])
    machine.leave_port()
    for process in machine.alive():
        if process.spawn is None or process.spawn in world.invariants.given_up:
            process.vanish(machine.now_ns)
        elif not process.script.ends_in_s:
            process.script = attrs.evolve(process.script, ends_in_s=DEAF)
    machine.schedule(machine.now_ns)
    machine.foreign_lock = None
    machine.files.clear()  # also a command to whoever is started next
    if world.orchestrator is None:
        world.run_orchestrator()
    world.ask_switch(target)
    world.run_until(lambda w: w.state.serving == target and w.state.job is None)

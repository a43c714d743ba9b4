"""Random histories: one seed, one workspace to which everything happens that the simulated machine can do."""

import math
import random
from collections.abc import Callable

import attrs

from journal.events import AbortRequested, Origin, ShutdownRequested
from orchestrator.config import Config
from orchestrator.world import AskKind
from tests.helpers.invariants import BrokenInvariantError, must
from tests.helpers.simulated_comfyui import (
    AS_THE_REAL_ONE,
    DEAF,
    Answer,
    Script,
    SimulatedEnvironment,
    Work,
)
from tests.helpers.simulated_world import SimulatedWorld

NAMES = ("a", "b", "c")


@attrs.frozen
class Chaos:
    """One history in the making."""

    random: random.Random
    world: SimulatedWorld

    def happen(self) -> None:
        """Let one random thing happen, or nothing."""
        happenings: tuple[tuple[int, Callable[[], None]], ...] = (
            (6, self.ask_switch),
            (4, self.write_request),
            (2, self.world.ask_restart),
            (2, self.world.ask_abort),
            (2, self.write_command),
            (1, self.shut_down),
            (1, self.world.signal_orchestrator),
            (6, self.kill_orchestrator),
            (4, self.end_a_process),
            (1, self.lose_power),
            (2, self.step_the_clock),
            (1, self.take_the_port),
            (2, self.vanish),
            (2, self.edit),
            (5, self.update_and_restart),
            (4, self.ask_rollback),
            (1, self.start_by_hand),
        )
        weights = [weight for weight, _ in happenings]
        chosen: Callable[[], None] = self.random.choices([action for _, action in happenings], weights)[0]
        chosen()

    def ask_switch(self) -> None:
        """By command; sometimes to something that is not there."""
        self.world.ask_switch(self.random.choice((*NAMES, "nowhere")))

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

    def _leave(self, process: object, code: int = 43) -> None:
        machine = self.world.machine
        process.end(machine.now_ns, code)  # type: ignore[attr-defined]
        machine.schedule(machine.now_ns)

    def write_command(self) -> None:
        """As `cg` or a panel."""
        kind = self.random.choice((AskKind.RESTART, AskKind.SHUTDOWN, AskKind.ABORT, AskKind.REJECTED))
        manual = 4711 if kind is AskKind.ABORT and self.random.random() < 0.5 else None
        self.world.write_command(kind, pid=manual)

    def shut_down(self) -> None:
        """By command, with or without an orchestrator alive."""
        self.world.ask(ShutdownRequested(origin=Origin.CLI))

    def kill_orchestrator(self) -> None:
        """Now, or in the middle of what it does next."""
        if self.random.random() < 0.5:
            self.world.kill_orchestrator()
        else:
            self.world.dies_at_boundary = self.world.boundaries + self.random.randint(1, 12)

    def end_a_process(self) -> None:
        """A ComfyUI ends for reasons of its own."""
        alive = self.world.machine.alive()
        if alive:
            self._leave(self.random.choice(alive), self.random.choice((0, 42, 42, 43, 1, 7)))

    def lose_power(self) -> None:
        """The machine goes down."""
        self.world.lose_power()

    def step_the_clock(self) -> None:
        """By an hour, either way."""
        self.world.machine.wall_step_ns += self.random.choice((-1, 1)) * 3_600_000_000_000

    def take_the_port(self) -> None:
        """A stranger takes the port when it is free, for a while."""
        machine = self.world.machine
        if machine.port_holder() or machine.alive():
            return
        machine.stranger = "pid 4711 (nginx)"

        def leave() -> None:
            machine.stranger = ""

        self.world.at(self.random.choice((1.0, 20.0, 45.0)), leave, wakes=False)

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
        if not self.world.machine.port_holder() and not self.world.machine.alive():
            self.world.start_foreign(self.random.choice(NAMES))


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
        ends_in_s=DEAF if chance.random() < 0.1 else AS_THE_REAL_ONE,
        survivors=chance.choice((0, 0, 0, 2)),
        found_after_s=chance.choice((0.0, 0.0, 0.3)),
        error="no room for another process" if chance.random() < 0.03 else "",
    )


def random_work(chance: random.Random) -> Work:
    """Mostly good."""
    ok = chance.random() < 0.85
    return Work(
        ok, "" if ok else "no such package", chance.choice((0.0, 0.2, 1.0, 5.0, 700.0)), chance.choice((0.01, 3.0))
    )


def random_world(chance: random.Random) -> SimulatedWorld:
    """Three environments, each with a past and a future of its own."""
    config = Config(
        health_check_timeout_s=12.0,
        probe_interval_s=1.0,
        sync_timeout_s=60.0,
        crash_retry_max=chance.choice((0, 1, 3)),
        crash_retry_delay_s=chance.choice((0.0, 2.0, 10.0)),
        stop_timeout_s=chance.choice((1.0, 10.0)),
    )
    environments = [
        SimulatedEnvironment(
            name,
            scripts=[random_script(chance) for _ in range(6)],
            preflights=[random_work(chance) for _ in range(4)],
            syncs=[random_work(chance) for _ in range(6)],
            captures=[*(random_work(chance) for _ in range(4)), Work()],  # one that hangs for ever is never at rest
            restores=[random_work(chance) for _ in range(4)],
        )
        for name in NAMES
    ]
    return SimulatedWorld(*environments, config=config, guarded=chance.random() < 0.5)


def run_history(seed: int, happenings: int = 12) -> SimulatedWorld:
    """Everything happens, then nothing more: a history that has come to rest, with all invariants checked on the way."""
    chance = random.Random(seed)
    world = random_world(chance)
    chaos = Chaos(chance, world)
    world.run_orchestrator(chance.choice(NAMES))
    for _ in range(happenings):
        world.run(chance.choice((0.0, 0.05, 0.3, 1.0, 3.0, 10.0, 70.0)))
        chaos.happen()
        if world.orchestrator is None and chance.random() < 0.8:
            world.run(chance.choice((0.0, 0.2, 5.0)))
            if world.orchestrator is None:
                world.run_orchestrator(chance.choice(("", "", *NAMES)), manual=chance.random() < 0.5)
    come_to_rest(world)
    return world


def come_to_rest(world: SimulatedWorld) -> None:
    """No more faults: whatever was begun comes to its end."""
    for environment in world.machine.environments.values():
        environment.problem = ""
    world.dies_at_boundary = 0
    if world.orchestrator is None and (world.state.orchestrator is not None or world.state.job is not None):
        world.run_orchestrator(manual=False)
    world.run_to_rest()
    world.check_replay()
    must(world.state.lock is None, "at rest, but locked")
    left = world.machine.foreign_lock
    if world.orchestrator is not None and left is not None and left.boot_id == world.machine.boot_id:
        message = f"a page's lock is left: {left}"
        raise BrokenInvariantError(message)


__all__ = ["AbortRequested", "Chaos", "come_to_rest", "random_script", "random_work", "random_world", "run_history"]

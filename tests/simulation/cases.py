"""One random history as data: replayed exactly from its seed, and made shorter as long as it still fails."""

import random
import re
from collections.abc import Callable, Iterator

import attrs

from tests.helpers.chaos import NAMES, Chaos, come_to_rest, random_world, still_works
from tests.helpers.simulated_workspace import DiskFullError
from tests.helpers.simulated_world import SimulatedWorld

HAPPENINGS = 12
"""How many things happen in one history."""
PAUSES_S = (0.0, 0.05, 0.3, 1.0, 3.0, 10.0, 70.0)


@attrs.frozen
class Case:
    """`seed` decides all of it. Of what happens only the `kept` happens; in the environments in `plain` all is well."""

    seed: int
    kept: tuple[int, ...] = tuple(range(HAPPENINGS))
    plain: frozenset[str] = frozenset()

    @property
    def command(self) -> str:
        """What replays it."""
        command = f"python -m tests.simulation.replay {self.seed}"
        if self.kept != tuple(range(HAPPENINGS)):
            command += f" --only {','.join(map(str, self.kept)) or 'none'}"
        return command + (f" --plain {','.join(sorted(self.plain))}" if self.plain else "")


def play(case: Case, tell: Callable[[str], None] = lambda _: None) -> SimulatedWorld:
    """Everything happens, then nothing more: it comes to rest, and still works. Raises whatever is found on the way."""
    chance = random.Random(case.seed)
    world = random_world(chance, case.plain)
    world.run_orchestrator(chance.choice(NAMES))
    for number in case.kept:
        # each by chances of its own: what is left out changes nothing for the others
        _happen(world, random.Random(f"{case.seed}/{number}"), number, tell)
    come_to_rest(world)
    still_works(world)
    return world


def _happen(world: SimulatedWorld, chance: random.Random, number: int, tell: Callable[[str], None]) -> None:
    world.run(chance.choice(PAUSES_S))
    name = Chaos(chance, world).happen()
    tell(f"{number:3}  after event {world.state.seq}, at {world.machine.now_ns / 1e9:.3f} s: {name}")
    if world.orchestrator is None and chance.random() < 0.8:
        world.run(chance.choice((0.0, 0.2, 5.0)))
        _start_by_a_person(world, chance.choice(("", "", *NAMES)), manual=chance.random() < 0.7)


def _start_by_a_person(world: SimulatedWorld, environment: str, *, manual: bool) -> None:
    """Or by whatever else starts it again, which names no environment."""
    if world.orchestrator is None:
        try:
            world.run_orchestrator(environment if manual else "", manual=manual)
        except DiskFullError:
            return


def failure(case: Case) -> str:
    """How it fails: the kind of error and its first line; "" when it does not."""
    try:
        play(case)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return ""


def shrunk(case: Case) -> Case:
    """The shortest history found that fails in the same way, by leaving things out as long as it does."""
    wanted = _way(failure(case))
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(case):
            if _way(failure(candidate)) == wanted:
                case, smaller = candidate, True
                break
    return case


def _way(failed: str) -> str:
    """The failure without what differs from one history to another."""
    return re.sub(r"\d+(\.\d+)?|'[^']*'", "N", failed)[:60]


def _smaller(case: Case) -> Iterator[Case]:
    """Without many of the things that happen, without one of them; and with another environment in which all is well."""
    size = len(case.kept) // 2
    while size:
        for begin in range(0, len(case.kept), size):
            yield attrs.evolve(case, kept=case.kept[:begin] + case.kept[begin + size :])
        size //= 2
    for name in sorted(set(NAMES) - case.plain):
        yield attrs.evolve(case, plain=case.plain | {name})

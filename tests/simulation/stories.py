"""Switches and what else is asked, as a table of stories: how each begins, what is asked, and what must have come of it.

Times are short: a preflight and a sync take 0.1 s, a ComfyUI ends 0.3 s after it was asked to and serves as soon as it is
started, so that a good switch is over after a second.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from journal.events import Origin
from orchestrator.config import Config
from projections.state import OutcomeState
from tests.helpers.broken_invariant import must
from tests.helpers.simulated_comfyui import DEAF, Answer, Script, SimulatedEnvironment, Work
from tests.helpers.simulated_world import SimulatedWorld

CONFIG: Final = Config(
    probe_interval_s=0.2,
    probe_timeout_s=0.4,
    health_check_timeout_s=1.5,
    preflight_timeout_s=1.0,
    sync_timeout_s=1.0,
    port_free_timeout_s=2.0,
    stop_timeout_s=1.0,
    source_grace_s=0.8,
    source_linger_s=3.0,
    probation_s=4.0,
    calm_after_s=4.0,
    crash_retry_max=1,
    crash_retry_delay_s=0.5,
    status_linger_s=2.0,
)
SOON: Final[Mapping[str, float]] = {"SIGINT": 0.3, "SIGTERM": 0.1, "SIGKILL": 0.01}
QUICK: Final = Script(serves_after_s=0.0, ends_in_s=SOON)
BROKEN: Final = Script(serves_after_s=math.inf, exits_after_s=0.2, code=7)
HANGING: Final = Script(serves_after_s=math.inf, ends_in_s=SOON)
SQUATTER: Final = "pid 4711 (nginx)"
Asked = Callable[[SimulatedWorld], object]
Begun = Callable[[bool], SimulatedWorld]

A, B, C, NOTHING = (frozenset({name}) for name in ("a", "b", "c", ""))
COMPLETE, ROLLED_BACK, CRITICAL = (
    frozenset({state}) for state in (OutcomeState.COMPLETE, OutcomeState.ROLLED_BACK, OutcomeState.CRITICAL_FAILURE)
)
ANY: Final[frozenset[OutcomeState]] = frozenset()


@attrs.frozen
class Story:
    """`begin` is told whether there is a guard. Of `serves` one is left serving in the end, "" for nothing at all.

    `outcomes`: how the newest switch may have ended; empty where that does not matter. `by_hand`: what else may serve then
    where nobody reaps orphans, as it depends on an exit code, or where whoever starts it again takes a wish back.
    `also` has to be true in the end.
    """

    begin: Begun
    ask: Asked
    serves: frozenset[str]
    outcomes: frozenset[OutcomeState] = ANY
    by_hand: frozenset[str] = frozenset()
    also: Callable[[SimulatedWorld], object] = lambda _: True


def environment(name: str, *scripts: Script, **changes: object) -> SimulatedEnvironment:
    """All is well in it, and quick, but for `changes`."""
    work = [Work(takes_s=0.1)]
    made = SimulatedEnvironment(name, list(scripts or (QUICK,)), preflights=list(work), syncs=list(work))
    for field, value in changes.items():
        setattr(made, field, value)
    return made


def quick(code: int, after_s: float, *, signal: str = "") -> Script:
    """Serves at once, and ends by itself."""
    return attrs.evolve(QUICK, exits_after_s=after_s, code=None if signal else code, signal=signal)


def new_world(*environments: SimulatedEnvironment, guarded: bool) -> SimulatedWorld:
    """Nothing runs yet."""
    return SimulatedWorld(*environments, config=CONFIG, guarded=guarded)


def serving(*scripts: Script, target: Callable[[], SimulatedEnvironment] = lambda: environment("b")) -> Begun:
    """`a` serves, with these scripts; `b` is as `target` makes it, `c` is a good one that never served."""

    def begin(guarded: bool) -> SimulatedWorld:
        world = new_world(environment("a", *scripts), target(), environment("c"), guarded=guarded)
        world.run_orchestrator("a")
        world.run_until(lambda w: w.state.serving and w.state.worker is None)
        return world

    return begin


def having_served(
    *names: str, scripts: Mapping[str, tuple[Script, ...]] | None = None, short: frozenset[str] = frozenset()
) -> Begun:
    """All of these have served, the last one still does; 5 s each, which proves them, but for those that did so `short`."""

    def begin(guarded: bool) -> SimulatedWorld:
        made = (environment(name, *(scripts or {}).get(name, ())) for name in sorted({*"abc", *names}))
        world = new_world(*made, guarded=guarded)
        world.run_orchestrator(names[0])
        for name in names:
            if name != names[0]:
                world.ask_switch(name)
            world.run_until(lambda w: w.state.serving and w.state.job is None and w.state.worker is None)
            must(world.state.serving == name, "{} does not serve", name)
            world.run(0.5 if name in short else 5.0)
        return world

    return begin


# ------------------------------------------------------------------- ways


def by_command(world: SimulatedWorld) -> None:
    """Somebody types it."""
    world.ask_switch("b")


def by_file(world: SimulatedWorld) -> None:
    """A page of others writes it, and its ComfyUI leaves with 43."""
    old = world.machine.alive()[0]
    world.write_request("b", "a", takes_s=0.05)
    world.at(0.3, lambda: old.end(world.machine.now_ns, 43))


def by_page(world: SimulatedWorld) -> None:
    """Our page asks; its ComfyUI waits to be stopped."""
    world.ask_switch("b", origin=Origin.PANEL)


def by_a_page_that_stays(world: SimulatedWorld) -> None:
    """A page of others writes it, and its ComfyUI does not leave."""
    world.write_request("b", "a")


WAYS: Final[Mapping[str, Asked]] = {"by command": by_command, "by file": by_file, "by our page": by_page}


def then(ask: Asked, after_s: float, happens: Asked) -> Asked:
    """So many seconds after it was asked for, something else happens."""

    def asked(world: SimulatedWorld) -> None:
        world.at(after_s, lambda: happens(world))
        ask(world)

    return asked


def at_once(*asks: Asked) -> Asked:
    """One after the other, before anybody can do anything about it."""

    def asked(world: SimulatedWorld) -> None:
        for ask in asks:
            ask(world)

    return asked


# ---------------------------------------------------------------- targets


@attrs.frozen
class Target:
    """What `b` is like when it is switched to, and what comes of it."""

    made: Callable[[], SimulatedEnvironment]
    serves: frozenset[str] = A
    outcomes: frozenset[OutcomeState] = ROLLED_BACK
    by_hand: frozenset[str] = frozenset()
    old: tuple[Script, ...] = ()


def scripted(*scripts: Script, serves: frozenset[str] = A, by_hand: frozenset[str] = frozenset()) -> Target:
    """`b` follows these scripts."""
    return Target(
        lambda: environment("b", *scripts), serves, COMPLETE if serves == B else ROLLED_BACK, by_hand or serves
    )


def failing(**works: list[Work]) -> Target:
    """`b` fails before it is started."""
    return Target(lambda: environment("b", **works))


_REFUSED = Work(ok=False, problem="no such package", takes_s=0.1)
_ENDLESS = Work(takes_s=60.0)

TARGETS: Final[Mapping[str, Target]] = {
    "a good target": scripted(QUICK, serves=B),
    "a slow target": scripted(attrs.evolve(QUICK, serves_after_s=0.9), serves=B),
    "one that is found late": scripted(attrs.evolve(QUICK, found_after_s=0.4), serves=B),
    "one that dies at its start": scripted(BROKEN),
    "one that dies of a signal": scripted(quick(0, 0.1, signal="SIGSEGV")),
    "one that ends well at once": scripted(quick(0, 0.1)),
    "one that hangs": scripted(HANGING),
    "one that hangs and is deaf": scripted(attrs.evolve(HANGING, ends_in_s=DEAF)),
    "one that flaps": scripted(attrs.evolve(QUICK, answer=Answer.FLAPPING)),
    "one that answers 500": scripted(attrs.evolve(QUICK, answer=Answer.ERROR)),
    "one that accepts and is mute": scripted(attrs.evolve(QUICK, answer=Answer.MUTE)),
    "one that opens its port and dies": scripted(quick(1, 0.3)),
    "one that asks for 42 once": scripted(quick(42, 0.3), QUICK, serves=B, by_hand=A | B),
    "one that asks for 42 for ever": scripted(quick(42, 0.1)),
    "one that leaves 43 and no request": scripted(quick(43, 0.1)),
    "one that cannot be spawned": scripted(Script(error="no room for another process")),
    "one with a failing sync": failing(syncs=[_REFUSED]),
    "one with an endless sync": failing(syncs=[_ENDLESS]),
    "one with a failing preflight": failing(preflights=[_REFUSED]),
    "one with an endless preflight": failing(preflights=[_ENDLESS]),
    "one that leaves others behind": scripted(attrs.evolve(BROKEN, survivors=2)),
    "an old one that is deaf": Target(
        lambda: environment("b"), B, COMPLETE, old=(attrs.evolve(QUICK, ends_in_s=DEAF),)
    ),
    "an old one that leaves others behind": Target(
        lambda: environment("b"), B, COMPLETE, old=(attrs.evolve(QUICK, survivors=2),)
    ),
    "an old one that dies meanwhile": Target(lambda: environment("b"), B, COMPLETE, old=(quick(7, 0.7), QUICK)),
}


def _switches() -> dict[str, Story]:
    return {
        f"{name}, {way}": Story(
            serving(*target.old, target=target.made), ask, target.serves, target.outcomes, target.by_hand
        )
        for name, target in TARGETS.items()
        for way, ask in WAYS.items()
    }


SWITCHES: Final[Mapping[str, Story]] = _switches()

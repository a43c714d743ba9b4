"""Stories in which something comes in between, or goes wrong for a second time: aborts, ends, crashes, contents, squatters."""

import math
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from orchestrator.world import AskKind
from projections.views import REQUEST
from tests.helpers.simulated_comfyui import DEAF, UNKILLABLE, Script, Work
from tests.helpers.simulated_world import SimulatedWorld
from tests.simulation.stories import (
    ANY,
    BROKEN,
    COMPLETE,
    CRITICAL,
    HANGING,
    NOTHING,
    QUICK,
    ROLLED_BACK,
    SQUATTER,
    A,
    Asked,
    B,
    Begun,
    C,
    Story,
    at_once,
    by_a_page_that_stays,
    by_command,
    by_file,
    by_page,
    environment,
    having_served,
    new_world,
    quick,
    serving,
    then,
)

HOUR_NS: Final = 3_600_000_000_000
GOOD, UPDATE = "content of a", "an update"
_BROKEN_B: Final = serving(target=lambda: environment("b", BROKEN))
_SLOW_B: Final = serving(target=lambda: environment("b", attrs.evolve(QUICK, serves_after_s=0.9)))


def stop_by_file(world: SimulatedWorld) -> None:
    """As `cg` does."""
    world.write_command(AskKind.SHUTDOWN)


def abort_by_file(world: SimulatedWorld) -> None:
    """As a panel does."""
    world.write_command(AskKind.ABORT)


def start_by_hand(world: SimulatedWorld) -> None:
    """As the public panel says that a ComfyUI was started by hand."""
    world.write_command(AskKind.ABORT, pid=4711)


def end_the_session(world: SimulatedWorld) -> None:
    """All of us get a SIGTERM, and ComfyUI is gone before it comes to the orchestrator."""
    for process in world.machine.alive():
        world.machine.signal(process.identity, "SIGTERM")
    world.at(0.15, world.signal_orchestrator)


def lose(name: str) -> Asked:
    """The environment's folder is gone."""

    def happens(world: SimulatedWorld) -> None:
        world[name].problem = "its folder is gone"
        world[name].preflights = [Work(ok=False, problem="its folder is gone", takes_s=0.1)]

    return happens


# ---------------------------------------------------------------- aborts

_WHEN: Final[Mapping[str, float]] = {
    "preparing": 0.05,
    "syncing": 0.15,
    "clearing": 0.3,
    "starting": 0.5,
    "validating": 0.7,
}

ABORTS: Final[Mapping[str, Story]] = {
    **{
        f"an abort while {stage}": Story(serving(), then(by_command, at_s, SimulatedWorld.ask_abort), A, ROLLED_BACK)
        for stage, at_s in _WHEN.items()
    },
    "an abort by file": Story(serving(), then(by_command, 0.3, abort_by_file), A, ROLLED_BACK),
    "an abort of what a page asked": Story(serving(), then(by_page, 0.3, SimulatedWorld.ask_abort), A, ROLLED_BACK),
    "an abort while it goes back": Story(_BROKEN_B, then(by_command, 0.9, SimulatedWorld.ask_abort), A, ROLLED_BACK),
    "two aborts": Story(
        serving(),
        then(then(by_command, 0.15, SimulatedWorld.ask_abort), 0.3, SimulatedWorld.ask_abort),
        A,
        ROLLED_BACK,
    ),
}
_TAKEN_BACK = A | B
"""Whoever starts it by hand wants it to serve, also after somebody has wanted its end."""
ENDS: Final[Mapping[str, Story]] = {
    **{
        f"an end while {stage}": Story(
            serving(), then(by_command, at_s, SimulatedWorld.ask_shutdown), NOTHING, ANY, _TAKEN_BACK
        )
        for stage, at_s in _WHEN.items()
    },
    "an end while it goes back": Story(
        _BROKEN_B, then(by_command, 0.9, SimulatedWorld.ask_shutdown), NOTHING, ANY, _TAKEN_BACK
    ),
    "an end by file": Story(serving(), then(by_command, 0.3, stop_by_file), NOTHING, ANY, _TAKEN_BACK),
    "an end by a signal": Story(
        serving(), then(by_command, 0.3, SimulatedWorld.signal_orchestrator), NOTHING | _TAKEN_BACK
    ),
    "an end of the session in probation": Story(
        serving(), then(by_command, 1.6, end_the_session), NOTHING | _TAKEN_BACK
    ),
    "an end of the session while it goes back": Story(
        having_served("c", "a", scripts={"b": (BROKEN,)}),
        then(by_command, 1.0, end_the_session),
        NOTHING | C | _TAKEN_BACK,
    ),
    "a start by hand": Story(serving(), then(by_command, 0.3, start_by_hand), NOTHING, ANY, _TAKEN_BACK),
}

# --------------------------------------------------------------- crashes


def lose_the_network(world: SimulatedWorld) -> None:
    """No sync succeeds any more."""
    for name in "ab":
        world[name].syncs = [Work(ok=False, problem="no network")]


CRASHES: Final[Mapping[str, Story]] = {
    "a crash in probation": Story(serving(target=lambda: environment("b", quick(7, 2.0))), by_command, A, ROLLED_BACK),
    "a crash in probation, and what served is broken": Story(
        having_served("c", "a", scripts={"a": (QUICK, BROKEN), "b": (quick(7, 2.0),)}), by_command, C, ROLLED_BACK
    ),
    "a crash in probation, and nothing is left": Story(
        serving(QUICK, BROKEN, target=lambda: environment("b", quick(7, 2.0))), by_command, NOTHING, CRITICAL, NOTHING
    ),
    "a broken target, and what served is broken": Story(
        having_served("c", "a", scripts={"a": (QUICK, BROKEN), "b": (BROKEN,)}), by_command, C, ROLLED_BACK
    ),
    "a broken target, and nothing is left": Story(
        serving(QUICK, BROKEN, target=lambda: environment("b", BROKEN)), by_command, NOTHING, CRITICAL, NOTHING
    ),
    "a crash in probation, and another one after it went back": Story(
        having_served("c", "a", scripts={"a": (QUICK, quick(7, 2.0)), "b": (quick(7, 2.0),)}),
        by_command,
        NOTHING,
        ANY,
        A | C,
    ),
    "a broken target, and one that was proven beside one that was not": Story(
        having_served("c", "d", "a", scripts={"a": (QUICK, BROKEN), "b": (BROKEN,)}, short=frozenset("d")),
        by_command,
        C,
        ROLLED_BACK,
    ),
    "a broken target, and four others that are": Story(
        having_served(
            *"fedca", scripts=dict.fromkeys("facde", (QUICK, BROKEN)) | {"b": (BROKEN,)}, short=frozenset("acdef")
        ),
        by_command,
        NOTHING,
        CRITICAL,
        NOTHING,
    ),
    "a target that is proven and fails": Story(
        having_served("b", "a", scripts={"b": (QUICK, BROKEN)}), by_command, A, ROLLED_BACK
    ),
    "a sync that fails where all was well before": Story(
        having_served("b", "a", scripts={"b": (attrs.evolve(QUICK, ends_in_s=DEAF), QUICK)}),
        at_once(lose_the_network, by_command),
        B,
        COMPLETE,
    ),
    "a crash": Story(serving(quick(7, 3.0), QUICK), lambda world: world.run(3.0), A),
    "a crash loop": Story(serving(quick(7, 3.0), BROKEN), lambda world: world.run(3.0), NOTHING),
    "a loop of restarts": Story(serving(quick(42, 0.6)), lambda world: world.run(3.0), NOTHING),
    "a target that vanishes before it is started": Story(
        serving(), then(by_command, 0.3, lose("b")), A, ROLLED_BACK, A | B
    ),
    "what served vanishes, and the target is broken": Story(
        having_served("c", "a", scripts={"b": (BROKEN,)}), then(by_command, 0.3, lose("a")), C, ROLLED_BACK
    ),
    "a target that cannot be spawned once": Story(
        serving(target=lambda: environment("b", attrs.evolve(QUICK, error="no room"), QUICK)), by_command, A | B
    ),
}

# --------------------------------------------------------------- restarts


def leave(code: int) -> Asked:
    """What serves ends with this code."""

    def happens(world: SimulatedWorld) -> None:
        for process in world.machine.alive():
            process.end(world.machine.now_ns, code)
        world.machine.schedule(world.machine.now_ns)

    return happens


RESTARTS: Final[Mapping[str, Story]] = {
    "a restart by command": Story(serving(), SimulatedWorld.ask_restart, A),
    "a restart by file": Story(serving(), lambda world: world.write_command(AskKind.RESTART), A),
    "a restart by 42": Story(serving(), leave(42), A),
    "an end with 0": Story(serving(), leave(0), NOTHING, ANY, A),
    "a restart after a sync that failed": Story(
        serving(attrs.evolve(QUICK, ends_in_s=DEAF), QUICK),
        then(at_once(lose_the_network, SimulatedWorld.ask_restart), 10.0, SimulatedWorld.ask_restart),
        A,
    ),
    "a 43 without a request": Story(serving(), leave(43), A),
    "a survivor of a restart": Story(serving(attrs.evolve(QUICK, survivors=2), QUICK), SimulatedWorld.ask_restart, A),
    "a restart while clearing": Story(serving(), then(by_command, 0.3, SimulatedWorld.ask_restart), B, COMPLETE),
    "a restart while validating": Story(serving(), then(by_command, 0.7, SimulatedWorld.ask_restart), B, COMPLETE),
    "a restart of what does not come up": Story(serving(QUICK, BROKEN), SimulatedWorld.ask_restart, NOTHING),
    "a switch while it restarts": Story(serving(), then(SimulatedWorld.ask_restart, 0.5, by_command), B, COMPLETE),
}

# --------------------------------------------------------------- contents


def update(*, breaks: bool, restart: bool = True) -> Asked:
    """Its content is changed in place, and it is started again."""

    def happens(world: SimulatedWorld) -> None:
        world["a"].content = UPDATE
        if breaks:
            world["a"].poisoned.add(UPDATE)
        if restart:
            world.ask_restart()

    return happens


def updated(guarded: bool) -> SimulatedWorld:
    """`a` serves with another content than before, both are kept."""
    world = having_served("a")(guarded)
    update(breaks=False)(world)
    world.run(6.0)
    return world


def go_back(world: SimulatedWorld) -> None:
    """By command, to the first content of `a`."""
    world.ask_switch("a", generation=world.state.generations[0].generation)


def go_back_in_vain(world: SimulatedWorld) -> None:
    """To a content that is broken by now."""
    world["a"].poisoned.add(GOOD)
    go_back(world)


def _content(content: str) -> Asked:
    return lambda world: world["a"].content == content


CONTENTS: Final[Mapping[str, Story]] = {
    "an update that breaks": Story(having_served("a"), update(breaks=True), A, ROLLED_BACK, also=_content(GOOD)),
    "an update that works": Story(having_served("a"), update(breaks=False), A, also=_content(UPDATE)),
    "back to an older content": Story(updated, go_back, A, COMPLETE, also=_content(GOOD)),
    "back to an older content, in vain": Story(updated, go_back_in_vain, A, ROLLED_BACK, also=_content(UPDATE)),
    "back to an older content, aborted": Story(updated, then(go_back, 0.2, SimulatedWorld.ask_abort), A),
    "a broken target beside an update": Story(
        _BROKEN_B,
        at_once(update(breaks=False, restart=False), by_command),
        A,
        ROLLED_BACK,
        also=_content(UPDATE),
    ),
}

# ------------------------------------------------------------ first switch


def first(*scripts: object, leaves_after_s: float | None, source: Script = QUICK, **changes: object) -> Begun:
    """A ComfyUI that nobody supervises asks for `b`, starts us, and leaves with 43, or not."""

    def begin(guarded: bool) -> SimulatedWorld:
        made = environment("b", *scripts, **changes)  # type: ignore[arg-type]
        world = new_world(environment("a", source), made, environment("c"), guarded=guarded)
        foreign = world.start_foreign("a")
        world.run(5.0)
        if leaves_after_s is not None:
            world.at(leaves_after_s, lambda: foreign.end(world.machine.now_ns, 43))
            world.at(leaves_after_s, lambda: None)
        return world

    return begin


def from_panel(world: SimulatedWorld) -> None:
    """It writes its request, then starts an orchestrator."""
    world.write_request("b", "a", takes_s=0.05)
    world.run_orchestrator("b")


_REFUSED = [Work(ok=False, problem="no main.py", takes_s=0.1)]
FIRST_SWITCHES: Final[Mapping[str, Story]] = {
    "the first switch": Story(first(leaves_after_s=0.6), from_panel, B, COMPLETE),
    "the first switch, its source leaves at once": Story(first(leaves_after_s=0.0), from_panel, B, COMPLETE),
    "the first switch, its source stays": Story(first(leaves_after_s=None), from_panel, B, COMPLETE),
    "the first switch, broken": Story(first(BROKEN, leaves_after_s=0.6), from_panel, A, ROLLED_BACK),
    "the first switch, broken, its source leaves at once": Story(
        first(BROKEN, leaves_after_s=0.0), from_panel, A, ROLLED_BACK
    ),
    "the first switch, broken, its source stays": Story(first(BROKEN, leaves_after_s=None), from_panel, A, ROLLED_BACK),
    "the first switch, refused by its preflight": Story(
        first(leaves_after_s=0.6, preflights=_REFUSED), from_panel, A, ROLLED_BACK
    ),
    "the first switch, refused, and its source stays": Story(
        first(leaves_after_s=None, preflights=_REFUSED), from_panel, NOTHING, ROLLED_BACK
    ),
}

# ----------------------------------------------------------------- doubled


def for_two(world: SimulatedWorld) -> None:
    """One wants `b`, another one `c`."""
    world.ask_switch("b")
    world.ask_switch("c")


def repeat(*, same: bool) -> Asked:
    """The request lies there once more, as the same file or as a copy of it."""

    def happens(world: SimulatedWorld) -> None:
        item = next(item for item in world.machine.written.values() if item.name == REQUEST)
        world.machine.put(item if same else world.machine.copy(item))

    return happens


def written_slowly(world: SimulatedWorld) -> None:
    """Its ComfyUI has left before it is whole."""
    old = world.machine.alive()[0]
    world.write_request("b", "a", takes_s=0.6)
    world.at(0.3, lambda: old.end(world.machine.now_ns, 43))
    world.at(0.3, lambda: None)


def deleted(world: SimulatedWorld) -> None:
    """Before anybody has seen it."""
    world.write_request("b", "a")
    del world.machine.files[REQUEST]


def refused_by_file(world: SimulatedWorld) -> None:
    """It leaves with 43 all the same."""
    world.write_request("nowhere", "a")
    world.at(0.4, lambda: leave(43)(world))


DOUBLED: Final[Mapping[str, Story]] = {
    "the same command twice": Story(serving(), at_once(by_command, by_command), B, COMPLETE),
    "one wants this and one that": Story(serving(), for_two, B, COMPLETE),
    "the same file again": Story(serving(), then(by_file, 0.2, repeat(same=True)), B, COMPLETE),
    "a copy of the file": Story(serving(), then(by_file, 0.2, repeat(same=False)), B),
    "a copy of the file, later": Story(serving(), then(by_file, 1.5, repeat(same=False)), B),
    "a page that stays": Story(serving(), by_a_page_that_stays, B, COMPLETE),
    "a file and a command": Story(serving(), then(by_file, 0.01, by_command), B),
    "a request that is written slowly": Story(serving(), written_slowly, B, COMPLETE),
    "a request that is deleted": Story(serving(), deleted, A),
    "a request for what serves": Story(serving(), lambda world: world.write_request("a", "a"), A),
    "a request for what is not there": Story(serving(), refused_by_file, A),
}

# ------------------------------------------------- squatters, clocks, disks


def squat(*, answers: bool = True, for_s: float | None = None) -> Asked:
    """A stranger takes the port as soon as it is free."""

    def happens(world: SimulatedWorld) -> None:
        if world.machine.port_holder():
            world.at(0.01, lambda: happens(world), wakes=False)
            return
        world.machine.take_port(SQUATTER, answers=answers)
        if for_s is not None:
            world.at(for_s, world.machine.leave_port, wakes=False)

    return happens


def step(hours: int) -> Asked:
    """Somebody sets the clock."""

    def happens(world: SimulatedWorld) -> None:
        world.machine.wall_step_ns += hours * HOUR_NS

    return happens


def fill_the_disk(world: SimulatedWorld) -> None:
    """For a second and a half."""
    world.machine.full = True
    world.at(1.5, lambda: setattr(world.machine, "full", False), wakes=False)


def take_over_by_hand(world: SimulatedWorld) -> None:
    """Both are killed, and somebody runs another one for `b`."""
    world.kill_both()
    world.run_orchestrator("b")


_ENDED_SOMEHOW = A | B | NOTHING
WORLDS: Final[Mapping[str, Story]] = {
    "a squatter takes the port in between": Story(serving(), then(by_command, 0.5, squat()), _ENDED_SOMEHOW),
    "a squatter has the port for a second": Story(_SLOW_B, then(by_command, 0.49, squat(for_s=1.0)), _ENDED_SOMEHOW),
    "a squatter answers in the target's place": Story(_SLOW_B, then(by_command, 0.7, squat()), _ENDED_SOMEHOW),
    "a squatter is mute in the target's place": Story(
        _SLOW_B, then(by_command, 0.7, squat(answers=False)), _ENDED_SOMEHOW
    ),
    "the clock goes back in a sync": Story(serving(), then(by_command, 0.15, step(-1)), B, COMPLETE),
    "the clock goes ahead in a sync": Story(serving(), then(by_command, 0.15, step(1)), B, COMPLETE),
    "the clock goes back while validating": Story(_SLOW_B, then(by_command, 0.7, step(-1)), B, COMPLETE),
    "the clock goes ahead while validating": Story(_SLOW_B, then(by_command, 0.7, step(1)), B, COMPLETE),
    "the disk is full for a while": Story(serving(), then(by_command, 0.3, fill_the_disk), B, COMPLETE),
    "the power fails": Story(serving(), then(by_command, 0.7, SimulatedWorld.lose_power), B, COMPLETE),
    "both die while clearing": Story(serving(), then(by_command, 0.3, SimulatedWorld.kill_both), B, COMPLETE),
    "both die, and another one is started for b": Story(serving(), take_over_by_hand, B, COMPLETE),
}

# ------------------------------------------------- what cannot be ended

_HAUNTED: Final = attrs.evolve(QUICK, unkillable=1, untouchable=1, survivors=1)
_IMMORTAL: Final = attrs.evolve(QUICK, ends_in_s=UNKILLABLE)


def leaves(*names: str) -> Callable[[SimulatedWorld], bool]:
    """Just these are named as left."""
    return lambda world: sorted(left.name for left in world.state.left) == sorted(names)


_BOTH: Final = leaves("unkillable", "untouchable")
UNENDING: Final[Mapping[str, Story]] = {
    "what an old one leaves behind cannot be ended": Story(serving(_HAUNTED), by_command, B, COMPLETE, also=_BOTH),
    "what an old one leaves behind is another user's": Story(
        serving(attrs.evolve(QUICK, untouchable=2)),
        by_file,
        B,
        COMPLETE,
        also=leaves("untouchable", "untouchable"),
    ),
    "what a target leaves behind cannot be ended": Story(
        serving(target=lambda: environment("b", attrs.evolve(BROKEN, unkillable=1))),
        by_page,
        A,
        ROLLED_BACK,
        also=leaves("unkillable"),
    ),
    "what a restart leaves behind cannot be ended": Story(
        serving(_HAUNTED, QUICK), SimulatedWorld.ask_restart, A, also=_BOTH
    ),
    "what an end leaves behind cannot be ended": Story(
        serving(_HAUNTED, QUICK), SimulatedWorld.ask_shutdown, NOTHING, by_hand=A, also=_BOTH
    ),
    "a sync cannot be ended": Story(
        serving(target=lambda: environment("b", syncs=[Work(takes_s=60.0, dies_in_s=math.inf)])),
        by_command,
        A,
        ROLLED_BACK,
    ),
    "a sync cannot be ended, and an end": Story(
        serving(target=lambda: environment("b", syncs=[Work(takes_s=60.0, dies_in_s=math.inf)])),
        then(by_command, 0.4, SimulatedWorld.ask_shutdown),
        NOTHING,
        by_hand=A | B,
    ),
    "an old one cannot be ended": Story(serving(_IMMORTAL), by_command, NOTHING, CRITICAL, also=leaves("python")),
    "an old one cannot be ended, and the power fails": Story(
        serving(_IMMORTAL, QUICK), then(by_command, 12.0, SimulatedWorld.lose_power), B, COMPLETE
    ),
    "a target cannot be ended": Story(
        serving(target=lambda: environment("b", attrs.evolve(HANGING, ends_in_s=UNKILLABLE))),
        by_command,
        A,
        ROLLED_BACK,
        also=leaves("python"),
    ),
    "a restart of what cannot be ended": Story(
        serving(_IMMORTAL), SimulatedWorld.ask_restart, NOTHING, also=leaves("python")
    ),
    "an end of what cannot be ended": Story(serving(_IMMORTAL), SimulatedWorld.signal_orchestrator, NOTHING),
    "a source cannot be ended": Story(
        first(leaves_after_s=None, source=_IMMORTAL), from_panel, NOTHING, CRITICAL, also=leaves("python")
    ),
}

ACCIDENTS: Final[Mapping[str, Story]] = {
    **ABORTS,
    **ENDS,
    **CRASHES,
    **RESTARTS,
    **CONTENTS,
    **FIRST_SWITCHES,
    **DOUBLED,
    **WORLDS,
    **UNENDING,
}

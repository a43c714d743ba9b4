"""`decide(state, world, now, config)`: what to do next. Pure, and the same after a crash as before one.

The order is the policy: whether it is ours to decide, then facts (settle), then the end of supervision, then the open job,
then the quiet time in between. The first rule that has an answer wins. `plan` asks again and again, on the state as it will
be, until there is an effect to perform or nothing more to do: one step of the loop is one transaction.
"""

from collections.abc import Callable
from typing import Final

from journal.clock import Stamp
from journal.codec import Actor, Draft
from orchestrator.actions import Act, Decision, Took, Wait
from orchestrator.config import Config
from orchestrator.deciding import attempting, idling, lingering, settling, stopping, working
from orchestrator.deciding.situation import Situation, foresee, soonest
from orchestrator.world import World
from projections.state import WorkspaceState

Rule = Callable[[Situation], Decision | None]

_RULES: Final[tuple[Rule, ...]] = (
    stopping.replaced,
    settling.signal,
    settling.inbox,
    lingering.claim,
    lingering.foreign_lock,
    settling.processes,
    settling.source,
    working.worker,
    settling.probe,
    stopping.end_supervision,
    lingering.shown,
    attempting.attempt,
    idling.idle,
)

STEPS_MAX: Final = 64
"""Actions without an effect that one plan may hold; more would mean that a rule does not notice its own events."""


class DecisionLoopError(RuntimeError):
    """`decide` kept wanting more without doing anything: a bug in its rules, named by the last events it wanted."""


def decide(state: WorkspaceState, world: World, now: Stamp, config: Config) -> Decision:
    """The one next action, or until when there is none. Reads nothing but its arguments."""
    situation = Situation(state, world, now, config)
    decision: Decision | None = None
    for rule in _RULES:
        decision = rule(situation)
        if decision is not None:
            break
    return decision if isinstance(decision, Act) else soonest(decision, *lingering.reminders(situation))


def plan(state: WorkspaceState, world: World, now: Stamp, config: Config, actor: Actor) -> Decision:
    """All that one step can do: the events of several decisions in a row as one action, up to its first effect."""
    drafts: tuple[Draft, ...] = ()
    took: frozenset[Took] = frozenset()
    for _ in range(STEPS_MAX):
        decision = decide(state, world, now, config)
        if isinstance(decision, Wait):
            return Act(drafts, None, took) if drafts or took else decision
        drafts, took = (*drafts, *decision.events), took | decision.took
        if decision.effect is not None:
            return Act(drafts, decision.effect, took)
        state = foresee(state, decision.events, now, actor)
        world = world.without(decision.took)
    names = ", ".join(draft.event.stored_name for draft in drafts[-6:])
    message = f"at seq {state.seq} decide does not come to rest; it last wanted {names}"
    raise DecisionLoopError(message)

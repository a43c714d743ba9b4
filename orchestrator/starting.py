"""The first events of an orchestrator: who was there before, that we are here, and what we were started for. Pure."""

import attrs

from journal.clock import Stamp
from journal.codec import Draft
from journal.events import GuardLost, GuardStarted, OrchestratorLost, OrchestratorStarted, Origin
from journal.identity import Identity
from orchestrator.config import Config
from orchestrator.deciding.admission import admit
from orchestrator.world import SwitchAsk
from projections.state import Goal, WorkspaceState


@attrs.frozen
class StartOptions:
    """What an orchestrator was started with: "" and None mean, go on with what the journal says. `manual`: by a person.

    `request_waits`: a request lies on disk. It says where to switch to; `environment` does not. `guard`: who starts it
    again when it dies, None where nobody does. `lost`: how the one before us ended, where that is known.
    """

    environment: str = ""
    arguments: tuple[str, ...] | None = None
    manual: bool = True
    request_waits: bool = False
    guard: Identity | None = None
    lost: OrchestratorLost | None = None


def first_events(
    state: WorkspaceState, me: Identity, release: str, options: StartOptions, now: Stamp, config: Config
) -> tuple[Draft, ...]:
    """The events of a start. Where another environment serves or is being switched to, `environment` is a switch."""
    events: list[Draft] = []
    if state.orchestrator is not None:
        unknown = OrchestratorLost(identity=state.orchestrator)
        told = unknown if options.lost is None else options.lost
        events.append(Draft(told if told.identity == state.orchestrator else unknown))
    started = OrchestratorStarted(
        identity=me,
        release=release,
        environment=options.environment,
        arguments=options.arguments,
        manual=options.manual,
    )
    events.append(Draft(started))
    if state.guard not in {None, options.guard}:
        events.append(Draft(GuardLost(identity=state.guard)))
    if options.guard is not None and state.guard != options.guard:
        events.append(Draft(GuardStarted(identity=options.guard)))
    busy = not options.request_waits and (state.job is not None or bool(state.processes))
    if busy and options.environment and options.environment != (state.job.wanted if state.job else state.environment):
        ask = SwitchAsk(target=options.environment, origin=Origin.CLI)
        serving = attrs.evolve(state, goal=Goal.SERVE)
        events.extend(admit(serving, ask, None, now, config, after=len(events)))
    return tuple(events)

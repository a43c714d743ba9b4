"""What every rule gets: state, world, now and configuration; and the small questions that all rules ask."""

from typing import Any, Final

import attrs

from journal.clock import MS, S, Stamp, elapsed_ns, is_over
from journal.codec import Actor, Draft, Recorded
from journal.events import Event, ExitCause
from orchestrator.actions import Act, Decision, Effect, Took, Wait
from orchestrator.config import Config
from orchestrator.endpoint import Endpoint, endpoint_of, full_arguments
from orchestrator.world import ChildFacts, EnvironmentFacts, World
from projections.evolve import evolve
from projections.jobs import JobKind
from projections.state import STARTS_KEPT, Process, WorkspaceState

LOOK_NS: Final = 50 * MS
"""When to look again for something that tells nobody that it has changed."""

BREAKER_WINDOW_NS: Final = 60 * S
"""In this time at most STARTS_KEPT starts are made that nobody asked for."""

ENDS_OF_SESSION: Final = frozenset({"SIGTERM", "SIGINT", "SIGHUP"})
"""Signals that a service manager, a container or a terminal sends to all of us at about the same time."""
END_OF_SESSION_NS: Final = S
"""How long after an exit by one of them, which nobody of us had sent, our own may still be on its way."""


def arguments_of(state: WorkspaceState, config: Config) -> tuple[str, ...]:
    """ComfyUI's arguments as they would be passed now: the last try before the park does without `extra_args`."""
    bare = state.job is not None and state.job.kind is JobKind.BARE
    return full_arguments(config, state.arguments, bare=bare)


def endpoint_for(state: WorkspaceState, config: Config) -> Endpoint:
    """Where ComfyUI would listen with those."""
    return endpoint_of(arguments_of(state, config), config.default_host, config.default_port)


@attrs.frozen
class Situation:
    """One moment to decide on."""

    state: WorkspaceState
    world: World
    now: Stamp
    config: Config

    def over(self, since: Stamp, duration_ns: int) -> bool:
        """Whether `duration_ns` has passed since `since`."""
        return is_over(since, duration_ns, self.now)

    def wait(self, since: Stamp, duration_ns: int) -> Wait:
        """Wait until `duration_ns` will have passed since `since`."""
        left_ns = max(0, duration_ns - elapsed_ns(since, self.now))
        return Wait(Stamp(self.now.wall_ns, self.now.monotonic_ns + left_ns, self.now.boot_id))

    def wait_ns(self, duration_ns: int) -> Wait:
        """Wait `duration_ns` from now."""
        return self.wait(self.now, duration_ns)

    def facts(self, process: Process) -> ChildFacts | None:
        """What the world says of `process`, if it was looked at."""
        return self.world.processes.get(process.spawn)

    def environment(self, name: str) -> EnvironmentFacts | None:
        """What is on disk under that name; None when it was not looked at: look, then decide."""
        return self.world.environments.get(name)

    def look_again(self) -> Wait:
        """For a fact that is missing. What is planned so far is appended first, and the next look is for the state then."""
        return self.wait_ns(LOOK_NS)

    @property
    def arguments(self) -> tuple[str, ...]:
        """ComfyUI's arguments as they would be passed now."""
        return arguments_of(self.state, self.config)

    @property
    def endpoint(self) -> Endpoint:
        """Where ComfyUI will listen."""
        return endpoint_for(self.state, self.config)

    @property
    def starts_are_spent(self) -> bool:
        """Whether another start that nobody asked for would be one too many within a minute."""
        starts = self.state.starts
        return len(starts) >= STARTS_KEPT and not self.over(starts[0], BREAKER_WINDOW_NS)

    @property
    def end_of_session(self) -> Wait | None:
        """Until when the newest exit may turn out to be the end of us all; None when it may not, or not any more.

        Till then nothing is concluded from it that would have to be taken back.
        """
        last = self.state.last_exit
        if last is None or last.cause is not ExitCause.CRASH or last.signal not in ENDS_OF_SESSION:
            return None
        return None if self.over(last.at, END_OF_SESSION_NS) else self.wait(last.at, END_OF_SESSION_NS)

    @property
    def switch(self) -> int | None:
        """The open switch, for the envelope."""
        job = self.state.job
        return job.job if job is not None and job.is_switch else None

    def act(
        self, *events: Event, effect: Effect | None = None, took: Took | None = None, cause: int | None = None
    ) -> Act:
        """An action of `events`, each marked with the open switch."""
        drafts = tuple(Draft(event, switch=self.switch, cause=cause) for event in events)
        return Act(drafts, effect, frozenset() if took is None else frozenset({took}))


def soonest(*waits: Decision | None) -> Wait:
    """The wait that ends first; None and actions are passed over."""
    ends = [wait.until for wait in waits if isinstance(wait, Wait) and wait.until is not None]
    return Wait(min(ends, key=lambda stamp: stamp.monotonic_ns)) if ends else Wait()


def foresee(state: WorkspaceState, drafts: tuple[Draft, ...], now: Stamp, actor: Actor) -> WorkspaceState:
    """The state as it will be once `drafts` have been appended: how one step decides on more than one action."""
    for draft in drafts:
        state = evolve(state, provisional(draft, state.seq + 1, now, actor))
    return state


def provisional(draft: Draft, seq: int, now: Stamp, actor: Actor) -> Recorded:
    """`draft` as the journal would give it back, without an id and a hash."""
    fields: dict[str, Any] = {"seq": seq, "id": "", "at": now, "actor": actor, "hash": b""}
    return Recorded(event=draft.event, switch=draft.switch, cause=draft.cause, **fields)

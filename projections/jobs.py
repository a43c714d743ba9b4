"""The one thing that is being attempted: a plain start, or a switch with its lock. A part of the state."""

from collections.abc import Mapping
from enum import StrEnum

import attrs

from journal.clock import Stamp
from journal.events import Origin
from journal.identity import Identity
from projections.generations import Candidate
from projections.switching import PUBLIC_STAGE, Stage


class JobKind(StrEnum):
    """The first four are plain starts, the others switches: they hold the lock."""

    START = "start"
    RESTART = "restart"
    RETRY = "retry"
    BARE = "bare"
    SWITCH = "switch"
    ROLLBACK = "rollback"
    RECOVER = "recover"


class Verdict(StrEnum):
    """Why a switch will not reach its target."""

    NONE = ""
    FAILED = "failed"
    ABORTED = "aborted"


@attrs.frozen(slots=False)
class Job:
    """The one thing being attempted.

    `served` is what answered when a switch was asked for; `rolling` the candidate being tried, `tried` those given up.
    `restarts` counts exits with 42 before it was healthy, `lost_spawns` starts of which nothing was found.
    `progress` only grows. `content` is what the newest start was started with; `failed` what it has given up on, as
    (environment, content). `saved` maps an environment to the generation that holds what a restore has overwritten there;
    `restoring` and `restored` speak of the present attempt.
    """

    job: int
    kind: JobKind
    environment: str
    source: str
    stage: Stage
    stage_at: Stamp
    requested: Stamp
    delay_ns: int = 0
    attempt: int = 0
    spawn: int | None = None
    served: Candidate | None = None
    generation: int | None = None
    restores: bool = False
    requester: Identity | None = None
    origin: Origin = Origin.SUPERVISOR
    verdict: Verdict = Verdict.NONE
    error: str = ""
    rolling_back: bool = False
    rolling: Candidate | None = None
    tried: tuple[Candidate, ...] = ()
    content: str = ""
    failed: frozenset[tuple[str, str]] = frozenset()
    saved: Mapping[str, int] = attrs.Factory(dict)
    restoring: bool = False
    restored: bool = False
    restarts: int = 0
    lost_spawns: int = 0
    progress: int = 0

    @property
    def is_switch(self) -> bool:
        """Whether it holds the lock."""
        return self.kind in {JobKind.SWITCH, JobKind.ROLLBACK, JobKind.RECOVER}

    @property
    def public_state(self) -> str:
        """What the outside calls its stage."""
        if self.rolling_back:
            return "rolling_back"
        return "recovering" if self.kind in {JobKind.RETRY, JobKind.BARE} else PUBLIC_STAGE[self.stage]

    @property
    def is_given_up(self) -> bool:
        """Whether its target has a verdict and no candidate of a rollback is being tried in its place."""
        return bool(self.verdict) and self.rolling is None

    @property
    def wanted_generation(self) -> int | None:
        """The generation whose content is to be brought back for it; None: it is started as it is on the disk."""
        if self.rolling is not None:
            return self.rolling.generation if self.rolling.restores else None
        return self.generation if self.restores else None

    @property
    def wanted(self) -> str:
        """The environment that is being brought up at this moment."""
        return self.rolling.environment if self.rolling is not None else self.environment

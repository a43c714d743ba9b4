"""What a row of the table is made of: figures of each contestant, and the budget that ours is held to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest rank: of 60 values the 99th percentile is the greatest. Raises ValueError for none."""
    if not values:
        message = "no values"
        raise ValueError(message)
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True)
class Sample:
    """What one contestant did. Without `values`, `note` says why."""

    who: str
    values: tuple[float, ...] = ()
    note: str = ""

    @property
    def p50(self) -> float:
        """The middle one."""
        return quantile(self.values, 0.5)

    @property
    def p99(self) -> float:
        """The one that 99 of 100 do not exceed."""
        return quantile(self.values, 0.99)


@dataclass(frozen=True)
class Budget:
    """At most this, each where given; `at_least`: the greater the better."""

    p50: float | None = None
    p99: float | None = None
    at_least: bool = False

    def is_met(self, p50: float, p99: float) -> bool:
        """Whether figures keep within it."""
        pairs = [(found, wanted) for found, wanted in ((p50, self.p50), (p99, self.p99)) if wanted is not None]
        return all(found >= wanted if self.at_least else found <= wanted for found, wanted in pairs)


@dataclass(frozen=True)
class Row:
    """One thing measured. The first of `floors` is what ours is compared with; `others` are peers.

    `counted`: the values are counts, to be added up, and not durations or sizes.
    """

    key: str
    what: str
    unit: str
    ours: Sample
    floors: tuple[Sample, ...] = ()
    others: tuple[Sample, ...] = ()
    budget: Budget | None = None
    counted: bool = False
    notes: tuple[str, ...] = field(default=())

    def typical(self, sample: Sample) -> float:
        """What stands for the sample: its middle value, or the sum."""
        return sum(sample.values) if self.counted else sample.p50

    def worst(self, sample: Sample) -> float:
        """Its 99th percentile, or the greatest count."""
        return max(sample.values) if self.counted else sample.p99

    @property
    def floor(self) -> Sample | None:
        """What the machine allows."""
        return self.floors[0] if self.floors else None

    @property
    def best_peer(self) -> Sample | None:
        """The one that did best, of those that were measured."""
        measured = [sample for sample in self.others if sample.values]
        better = max if self.budget is not None and self.budget.at_least else min
        return better(measured, key=self.typical) if measured else None

    @property
    def is_met(self) -> bool | None:
        """Whether ours keeps within the budget; None without one, or without figures."""
        if self.budget is None or not self.ours.values:
            return None
        return self.budget.is_met(self.typical(self.ours), self.worst(self.ours))

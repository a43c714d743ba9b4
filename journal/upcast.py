"""How events that an older release stored are lifted to what the classes say today.

A new version is needed when a field is added without a default, renamed, removed, or changes its type or meaning. A
field with a default needs none: older rows lack it and get the default, older releases ignore it.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Stored: TypeAlias = dict[str, Any]
"""The JSON object of one event, as decoded."""
Upcaster: TypeAlias = Callable[[Stored], Stored]
"""One pure step: takes the object of one version, returns that of the next."""
Upcasters: TypeAlias = Mapping[tuple[str, int], Upcaster]

UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""The step away from each older version, by stored name and that version."""


def upcast(stored_name: str, found: int, wanted: int, stored: Stored, steps: Upcasters = UPCASTERS) -> Stored:
    """`stored` lifted from version `found` to `wanted`, step by step. Raises LookupError where a step is missing."""
    for version in range(found, wanted):
        step = steps.get((stored_name, version))
        if step is None:
            message = f"no step from version {version} of {stored_name!r}"
            raise LookupError(message)
        stored = step(stored)
    return stored

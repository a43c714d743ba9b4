"""How an event class gets its stored name and version, and the table of all of them."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, dataclass_transform

import attrs


class Event:
    """What every event class is. `stored_name` and `version` are what a journal holds; the class may be renamed freely."""

    __slots__ = ()
    stored_name: ClassVar[str]
    version: ClassVar[int]
    __attrs_attrs__: ClassVar[tuple[Any, ...]]


_E = TypeVar("_E", bound=Event)

CATALOGUE: dict[str, type[Event]] = {}
"""Stored name to class, in the order of definition. Names are never reused, not even for a removed event."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
def event(stored_name: str, *, version: int = 1) -> Callable[[type[_E]], type[_E]]:
    """Make a frozen, keyword-only attrs class of an event and enter it in the catalogue. Raises ValueError for a name taken."""

    def register(cls: type[_E]) -> type[_E]:
        if stored_name in CATALOGUE:
            message = f"event {stored_name!r} is already in the catalogue, as {CATALOGUE[stored_name].__name__}"
            raise ValueError(message)
        built = attrs.frozen(kw_only=True)(cls)
        built.stored_name, built.version = stored_name, version
        CATALOGUE[stored_name] = built
        return built

    return register

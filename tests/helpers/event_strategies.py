"""Strategies for every event there is, made from the fields of its class."""

import types
import typing
from enum import Enum
from typing import Any

import attrs
from hypothesis import strategies as st

from journal.events import CATALOGUE, Event

TEXT = st.text(st.characters() | st.characters(categories=["Cs"], min_codepoint=0xDC80, max_codepoint=0xDCFF))
"""With the halves of characters by which Python keeps bytes of file names that are not UTF-8."""

PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    str: TEXT,
    bool: st.booleans(),
    types.NoneType: st.none(),
}


def events_of(cls: type[Event]) -> st.SearchStrategy[Event]:
    """Every event that this class can hold."""
    return _instances(cls)


def events() -> st.SearchStrategy[Event]:
    """Every event."""
    return st.sampled_from(list(CATALOGUE.values())).flatmap(events_of)


def _instances(cls: type[Any]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{name: _values(hints[name]) for name in attrs.fields_dict(cls)})


def _values(wanted: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of([_values(argument) for argument in arguments])
    if origin is tuple:
        return st.lists(_values(arguments[0]), max_size=4).map(tuple)
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        return st.sampled_from(wanted)
    return _instances(wanted) if attrs.has(wanted) else PLAIN[wanted]

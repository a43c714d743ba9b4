"""Events to JSON text and back, and the envelope around each.

What is read is checked: a stored value of another type than its field's is an error, never converted. Keys that the
class does not have are ignored: a newer release may have added a field with a default (see `journal.upcast`).
"""

import functools
import json
import operator
import os
import platform
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar, get_args, get_origin

import attrs
import cattrs

from journal.clock import Stamp
from journal.errors import JournalDamaged, JournalTooNew
from journal.events import CATALOGUE, Event
from journal.identity import Identity, own_identity
from journal.upcast import UPCASTERS, Upcasters, upcast

_T = TypeVar("_T")


@attrs.frozen
class Actor:
    """Who appended: what it is for us ("orchestrator", "cli", "control", ...), which process, on which host."""

    role: str
    identity: Identity
    host: str


@attrs.frozen
class Draft:
    """An event to append. `switch` and `cause` are seqs."""

    event: Event
    switch: int | None = None
    cause: int | None = None


@attrs.frozen
class Recorded:
    """An event as the journal holds it. `seq` counts from 1 without gaps, `id` is 32 hex digits, `hash` 32 bytes."""

    seq: int
    id: str
    event: Event
    at: Stamp
    actor: Actor
    switch: int | None
    cause: int | None
    hash: bytes


def own_actor(role: str) -> Actor:
    """The calling process in that role."""
    host = os.uname().nodename if hasattr(os, "uname") else platform.node()
    return Actor(role, own_identity(), host)


def _exactly(wanted: type[_T]) -> Callable[[Any, Any], _T]:
    def structure(value: Any, _: Any) -> _T:
        if type(value) is not wanted:
            message = f"{value!r:.80} is not of type {wanted.__name__}"
            raise TypeError(message)
        return value

    return structure


def _structure_enum(value: Any, wanted: Any) -> Any:
    if type(value) is not str:
        message = f"{value!r:.80} is not a string"
        raise TypeError(message)
    return wanted(value)


def _tuple_hook(wanted: Any, converter: cattrs.Converter) -> Callable[[Any, Any], tuple[Any, ...]]:
    element, _ = get_args(wanted)
    hook = converter.get_structure_hook(element)

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            message = f"{value!r:.80} is not a list"
            raise TypeError(message)
        return tuple([hook(item, element) for item in value])

    return structure


def _is_tuple(wanted: Any) -> bool:
    return get_origin(wanted) is tuple


def _build_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False, forbid_extra_keys=False)
    for plain in (int, str, bool):
        converter.register_structure_hook(plain, _exactly(plain))
    # For the base class: cattrs looks along the bases, where the hook for `str` would come next and let any text in.
    converter.register_structure_hook(StrEnum, _structure_enum)
    converter.register_unstructure_hook(StrEnum, operator.attrgetter("value"))  # plain text in its place has none

    @converter.register_structure_hook_factory(_is_tuple)
    def structure_tuple(wanted: Any, converter: cattrs.Converter) -> Callable[[Any, Any], tuple[Any, ...]]:
        return _tuple_hook(wanted, converter)

    return converter


_CONVERTER = _build_converter()
_STRUCTURE: dict[type, Callable[[Any, Any], Any]] = {}  # filled as types turn up: all of them cost 20 ms at import
_UNSTRUCTURE: dict[type, Callable[[Any], Any]] = {}
_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
_scan_json = json.JSONDecoder().raw_decode
_NOT_THAT = (TypeError, ValueError, KeyError, AttributeError, RecursionError)


def _from_json(text: str) -> Any:
    """As `json.loads` for text without white space around it, in 60 % of its time. Raises ValueError."""
    value, end = _scan_json(text)
    if end != len(text):
        message = f"{text!r:.80} is not JSON"
        raise ValueError(message)
    return value


def _structure(wanted: type[_T], stored: Any) -> _T:
    """Raises one of _NOT_THAT when `stored` is not what `wanted` looks like."""
    hook = _STRUCTURE.get(wanted)
    if hook is None:
        hook = _STRUCTURE[wanted] = _CONVERTER.get_structure_hook(wanted)
    if type(stored) is not dict:
        message = f"{stored!r:.80} is not an object"
        raise TypeError(message)
    return hook(stored, wanted)  # type: ignore[no-any-return]


def _encode(value: Any) -> str:
    hook = _UNSTRUCTURE.get(type(value))
    if hook is None:
        hook = _UNSTRUCTURE[type(value)] = _CONVERTER.get_unstructure_hook(type(value))
    return _to_json(hook(value))


def encode(event: Event) -> str:
    """The event as one line of ASCII JSON, all fields in the order of the class.

    Raises TypeError for an event that would not be read back equal: a field of a wrong type, a class not in the
    catalogue.
    """
    if CATALOGUE.get(event.stored_name) is not type(event):
        message = f"{type(event).__name__} is not in the catalogue"
        raise TypeError(message)
    try:
        data = _encode(event)
        same = _structure(type(event), _from_json(data)) == event
    except _NOT_THAT as exc:
        message = f"{event!r:.200} cannot be stored: {exc}"
        raise TypeError(message) from exc
    if not same:
        message = f"{event!r:.200} would be read back as something else"
        raise TypeError(message)
    return data


def decode(
    stored_name: str,
    version: int,
    data: str | bytes,
    *,
    catalogue: Mapping[str, type[Event]] = CATALOGUE,
    upcasters: Upcasters = UPCASTERS,
) -> Event:
    """The event that was stored so.

    Raises JournalTooNew for a name or version of a later release, JournalDamaged for what no release can have stored.
    """
    if type(stored_name) is not str or type(version) is not int or version < 1:
        what = f"no event is called {stored_name!r:.80} in version {version!r:.80}"
        raise JournalDamaged(None, what)
    cls = catalogue.get(stored_name)
    if cls is None:
        found = f"event {stored_name!r}"
        raise JournalTooNew(found, "no such event")
    if version > cls.version:
        found = f"version {version} of event {stored_name!r}"
        raise JournalTooNew(found, f"version {cls.version}")
    try:
        stored = _from_json(data if isinstance(data, str) else str(data, "ascii"))
        if version != cls.version:
            stored = upcast(stored_name, version, cls.version, stored, upcasters)
        return _structure(cls, stored)
    except (*_NOT_THAT, LookupError) as exc:
        what = f"no {stored_name!r} of version {version}: {_said(exc)}"
        raise JournalDamaged(None, what) from exc


@functools.lru_cache(maxsize=16)
def encode_actor(actor: Actor) -> str:
    """The actor as one line of ASCII JSON."""
    return _encode(actor)


@functools.lru_cache(maxsize=256)
def decode_actor(data: str) -> Actor:
    """The actor that was stored so. Raises JournalDamaged."""
    try:
        return _structure(Actor, _from_json(data))
    except _NOT_THAT as exc:
        what = f"no actor: {_said(exc)}"
        raise JournalDamaged(None, what) from exc


def _said(exc: Exception) -> str:
    return f"key {exc} is missing" if isinstance(exc, KeyError) else str(exc)

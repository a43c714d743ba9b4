#!/usr/bin/env python3
"""Writes docs/events.md from the classes in `journal.events`; with --check only says whether it is up to date.

Run it in the repo's `.venv`: `.venv/bin/python tools/event_catalogue.py`.
"""

import inspect
import itertools
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeGuard

import attrs

from generated_page import write_or_check
from journal import events
from journal.events import CATALOGUE, Event

TARGET = Path(__file__).resolve().parent.parent / "docs" / "events.md"
HEADER = """\
# Events

Made from `journal/events/` by `tools/event_catalogue.py`; change it there.
"""


def main(argv: Sequence[str]) -> int:
    """Write the page, or compare it. 0: written or up to date; 1: --check found it stale; 2: usage."""
    return write_or_check(argv, TARGET, lambda: render(CATALOGUE.values()), "tools/event_catalogue.py")


def render(catalogue: Iterable[type[Event]]) -> str:
    """The whole page as Markdown: an index, a section per theme, what the fields are made of."""
    by_theme = sorted(catalogue, key=_theme)
    themes = {theme: list(group) for theme, group in itertools.groupby(by_theme, key=_theme)}
    index = [f"- [{theme}](#{theme}): {', '.join(_happening(cls) for cls in group)}" for theme, group in themes.items()]
    lines = [HEADER, _prose(events), "", *index, ""]
    for theme, group in themes.items():
        lines += [f"## {theme}", "", *itertools.chain.from_iterable(map(_describe, group))]
    return "\n".join([*lines, *_describe_types(by_theme)]).rstrip() + "\n"


def _theme(cls: type[Event]) -> str:
    return cls.stored_name.partition(".")[0]


def _happening(cls: type[Event]) -> str:
    return cls.stored_name.partition(".")[2]


def _prose(documented: object) -> str:
    return inspect.getdoc(documented) or ""


def _describe(cls: type[Event]) -> Iterator[str]:
    yield from (f"### `{cls.stored_name}` (version {cls.version})", "", _prose(cls), "")
    if fields := fields_of(cls):
        yield from _table(fields)


def fields_of(cls: type) -> tuple["attrs.Attribute[object]", ...]:
    """The fields of an attrs class in their order, their types resolved."""
    fields: tuple[attrs.Attribute[object], ...] = attrs.fields(attrs.resolve_types(cls))
    return fields


def _table(fields: Iterable["attrs.Attribute[object]"]) -> Iterator[str]:
    yield from ("| field | type | default |", "|---|---|---|")
    for field in fields:
        default = "" if field.default is attrs.NOTHING else f"`{field.default!r}` "
        yield f"| `{field.name}` | {_type_name(field.type)} | {default}|"
    yield ""


def _type_name(annotation: object) -> str:
    """An annotation as it was written, linked where it is a type of ours; for a table cell, so without a bare bar."""
    if isinstance(annotation, types.UnionType):
        return " or ".join(_type_name(part) for part in typing.get_args(annotation))
    if annotation is types.NoneType:
        return "None"
    if _is_ours(annotation):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return annotation.__name__ if type(annotation) is type else f"`{annotation}`"


def _is_ours(annotation: object) -> TypeGuard[type]:
    return isinstance(annotation, type) and (issubclass(annotation, StrEnum) or attrs.has(annotation))


def _parts(annotation: object) -> Iterator[object]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from _parts(part)


def _describe_types(catalogue: Iterable[type[Event]]) -> Iterator[str]:
    """The enumerations and data classes that fields are made of."""
    annotations = (field.type for cls in catalogue for field in fields_of(cls))
    found = {part for annotation in annotations for part in _parts(annotation) if _is_ours(part)}
    yield from ("## Types", "")
    for cls in sorted(found, key=lambda cls: cls.__name__):
        yield from (f"### {cls.__name__}", "", _prose(cls), "")
        if issubclass(cls, StrEnum):
            yield from (", ".join(f"`{value.value}`" for value in cls), "")
        else:
            yield from _table(fields_of(cls))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

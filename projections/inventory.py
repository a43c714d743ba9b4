"""Two inventories beside each other. A line of one is kind, name and version, with tabs between them."""

import re
from collections.abc import Iterable

import attrs

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_COMMIT_DIGITS = 10

UNKNOWN = "?"
"""The version of something that is there and does not say which it is."""


@attrs.frozen
class Difference:
    """What differs in one part. A version of "" says that it is not there."""

    kind: str
    name: str
    before: str
    after: str


def compare(before: Iterable[str], after: Iterable[str]) -> tuple[Difference, ...]:
    """What differs from the one inventory to the other, sorted by kind and name. Lines that are none are passed over."""
    old, new = _parts(before), _parts(after)
    both = [(part, old.get(part, ""), new.get(part, "")) for part in sorted(old.keys() | new.keys())]
    return tuple(Difference(kind, name, was, now) for (kind, name), was, now in both if was != now)


def _parts(lines: Iterable[str]) -> dict[tuple[str, str], str]:
    """The version of each part; more than one, as of a package that is installed twice, with commas between them."""
    found: dict[tuple[str, str], str] = {}
    for line in sorted(lines):
        kind, _, rest = line.partition("\t")
        name, tab, version = rest.partition("\t")
        if tab:
            known = found.get((kind, name))
            found[kind, name] = (version or UNKNOWN) if known is None else f"{known}, {version or UNKNOWN}"
    return found


def change_text(change: Difference) -> str:
    """One change in a few printable words: `package idna 3.6 -> 3.7`, `uv.lock`, `node lora added`."""
    name = f"{change.kind} {change.name}".strip()
    if change.kind == "file":
        name = change.name.removeprefix(".cec/")
        return _printable(f"{name} added" if not change.before else name if change.after else f"{name} removed")
    before, after = version_text(change.before), version_text(change.after)
    if change.before and change.after:
        return _printable(f"{name} {before} -> {after}")
    return _printable(f"{name} removed" if change.before else f"{name} {after} added".replace(f" {UNKNOWN} ", " "))


def version_text(version: str) -> str:
    """A version as people read it: of a commit the first digits."""
    return version[:_COMMIT_DIGITS] if _COMMIT.fullmatch(version) else _printable(version)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)

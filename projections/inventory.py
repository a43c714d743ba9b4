"""Two inventories beside each other. A line of one is kind, name and version, with tabs between them."""

from collections.abc import Iterable

import attrs

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

"""`log`: the events as they are stored, chosen and printed."""

import csv
import fnmatch
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from comfygit_journal.errors import UsageError
from comfygit_journal.lines import as_json, cells, document, rendered
from comfygit_journal.opening import now, reading, warn
from comfygit_journal.reading import Reader, Row
from comfygit_journal.tables import print_table
from comfygit_journal.times import TimeUnclearError, parse_time

FOLLOWED_FROM: Final = 10
"""Events that `-f` shows before it waits, unless told."""
_CSV: Final = ("seq", "at", "type", "version", "switch", "cause", "actor_role", "actor_pid", "data")


@attrs.frozen
class LogWish:
    """Which events, and how. `number` None: all; times in nanoseconds since 1970; `types`: globs, any of which fits."""

    number: int | None
    follow: bool
    since_ns: int | None
    until_ns: int | None
    switch: int | None
    types: tuple[str, ...]
    output: str


def wish_of(*, since: str | None, until: str | None, follow: bool, output: str, **rest: Any) -> LogWish:
    """The wish in the words of the command line. Raises UsageError for what does not go together, or is no time."""
    if follow and (until is not None or output in {"json", "table"}):
        other = "--until" if until is not None else f"-o {output}"
        message = f"--follow has no end, so it cannot be combined with {other}"
        raise UsageError(message, "leave one of them out" if until is not None else "use -o jsonl, short or csv")
    since_ns, until_ns = _time("--since", since), _time("--until", until)
    return LogWish(since_ns=since_ns, until_ns=until_ns, follow=follow, output=output, **rest)


def _time(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_time(text, now())
    except TimeUnclearError as exc:
        raise UsageError(f"{option} {exc}", exc.hint) from exc


def log(root: Path | None, wish: LogWish) -> int:
    """Print what is wished for. Raises CommandError when something was in the way of reading."""
    fits = chooser(wish)
    with reading(root) as (_, reader):
        head = reader.head()
        number = FOLLOWED_FROM if wish.follow and wish.number is None else wish.number
        rows = (
            filter(fits, reader.rows(until=head)) if number is None else iter(reader.newest(number, fits, until=head))
        )
        if _print(map(document, rows), wish.output) == 0 and not wish.follow:
            warn("no event fits" if head else "the journal is empty")
        if wish.follow:
            sys.stdout.flush()
            if reader.damage is not None:
                warn(reader.damage.message)
            _follow(reader, head, fits, wish.output)
    return 0


def chooser(wish: LogWish) -> Callable[[Row], bool]:
    """Whether a row is wished for."""
    pattern = re.compile("|".join(map(fnmatch.translate, wish.types))) if wish.types else None
    since_ns = -(1 << 63) if wish.since_ns is None else wish.since_ns
    until_ns = 1 << 63 if wish.until_ns is None else wish.until_ns

    def fits(row: Row) -> bool:
        _, _, name, _, wall_ns, _, _, _, switch, *_ = row
        return (
            (wish.switch is None or switch == wish.switch)
            and (pattern is None or pattern.match(str(name)) is not None)
            and (not isinstance(wall_ns, int) or since_ns <= wall_ns <= until_ns)
        )

    return fits


def _print(documents: Iterable[dict[str, Any]], output: str) -> int:
    """How many there were."""
    count = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal count
        for found in documents:
            count += 1
            yield found

    if output == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_CSV)
        writer.writerows(map(_csv_row, counted()))
    elif output == "table":
        print_table(("seq", "time", "switch", "event", "what it says"), map(cells, counted()))
    else:
        sys.stdout.writelines(f"{line}\n" for line in rendered(counted(), output))
    return count


def _csv_row(found: dict[str, Any]) -> list[Any]:
    actor = found["actor"] if isinstance(found["actor"], dict) else {}
    identity = actor.get("identity")
    role, pid = actor.get("role"), identity.get("pid") if isinstance(identity, dict) else None
    return [*(found[key] for key in _CSV[:6]), role, pid, as_json(found["data"])]


def _follow(reader: Reader, after: int, fits: Callable[[Row], bool], output: str) -> None:
    """Print what is to come, until interrupted."""
    for record in reader.journal.follow(after):
        row = reader.row(record.seq)
        if row is not None and fits(row):
            if output == "csv":
                csv.writer(sys.stdout, lineterminator="\n").writerow(_csv_row(document(row)))
            else:
                sys.stdout.writelines(f"{line}\n" for line in rendered([document(row)], output))
            sys.stdout.flush()

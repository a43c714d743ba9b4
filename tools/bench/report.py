"""The table, for people and for the README, and the document for programs. Pure."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.figures import Budget, Row, Sample

HEADER = ("what", "who", "p50", "p99", "n", "x floor", "x best peer", "budget", "met")
_RIGHT = frozenset({2, 3, 4, 5, 6})


def table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The cells, below those of HEADER: one line per contestant, ours first."""
    return [cells for row in rows for cells in _lines(row)]


def as_text(rows: Sequence[Row]) -> str:
    """In columns, for a terminal."""
    cells = [HEADER, *table(rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    widths[0] = min(widths[0], 44)
    lines = []
    for line in cells:
        if line[0] and line is not HEADER:
            lines.append("")
        if len(line[0]) > widths[0]:
            lines.append(line[0])
            line = ("", *line[1:])  # noqa: PLW2901 - its first cell has a line of its own
        lines.append("  ".join(_set(cell, widths[column], column) for column, cell in enumerate(line)).rstrip())
    return "\n".join([*lines, "", *_notes(rows)])


def as_markdown(rows: Sequence[Row], machine: Mapping[str, object]) -> str:
    """For the README: the same table, with date and machine."""
    head = ["| " + " | ".join(HEADER) + " |", "|" + "|".join("--:" if c in _RIGHT else "---" for c in range(9)) + "|"]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table(rows)]
    return "\n".join([machine_line(machine), "", *head, *lines, "", *(f"- {note}" for note in _notes(rows))]).rstrip()


def machine_line(machine: Mapping[str, object]) -> str:
    """Where and when, in one sentence."""
    peers = machine.get("peers")
    against = ", ".join(f"{name} {version}" for name, version in peers.items()) if isinstance(peers, Mapping) else ""
    return (
        f"{str(machine['date'])[:10]}: {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, {machine['file_system']}, Python {machine['python']}, SQLite {machine['sqlite']}"
        + (f"; against {against}." if against else ".")
    )


def as_document(rows: Sequence[Row], machine: Mapping[str, object]) -> dict[str, Any]:
    """Everything, raw figures included."""
    return {"machine": dict(machine), "rows": [_row_document(row) for row in rows]}


def unmet(rows: Sequence[Row]) -> list[Row]:
    """Those that miss their budget."""
    return [row for row in rows if row.is_met is False]


def _row_document(row: Row) -> dict[str, Any]:
    samples = [row.ours, *row.floors, *row.others]
    return {
        "key": row.key,
        "what": row.what,
        "unit": row.unit,
        "counted": row.counted,
        "budget": None if row.budget is None else dataclasses.asdict(row.budget),
        "met": row.is_met,
        "notes": list(row.notes),
        "ours": row.ours.who,
        "floor": row.floor.who if row.floor else None,
        "samples": [_sample_document(row, sample) for sample in samples],
    }


def _sample_document(row: Row, sample: Sample) -> dict[str, Any]:
    document: dict[str, Any] = {"who": sample.who, "note": sample.note, "n": len(sample.values)}
    if sample.values:
        document |= {"p50": row.typical(sample), "p99": row.worst(sample), "values": list(sample.values)}
    return document


def _lines(row: Row) -> Iterator[tuple[str, ...]]:
    what = f"{row.what}, {row.unit}"
    yield (what, *_figures(row, row.ours), *_ratios(row), _budget(row.budget), _met(row.is_met))
    for sample in (*row.floors, *row.others):
        yield ("", *_figures(row, sample), "", "", "", "")


def _figures(row: Row, sample: Sample) -> tuple[str, str, str, str]:
    if not sample.values:
        return f"{sample.who}: {sample.note}", "", "", ""
    worst = "" if len(sample.values) == 1 else shown(row.worst(sample))
    return sample.who, shown(row.typical(sample)), worst, str(len(sample.values))


def _ratios(row: Row) -> tuple[str, str]:
    return _ratio(row, row.floor), _ratio(row, row.best_peer)


def _ratio(row: Row, to: Sample | None) -> str:
    if to is None or not to.values or not row.ours.values or not row.typical(to):
        return ""
    return f"{row.typical(row.ours) / row.typical(to):.2f}"


def _budget(budget: Budget | None) -> str:
    if budget is None:
        return ""
    parts = [shown(value) for value in (budget.p50, budget.p99) if value is not None]
    return ("at least " if budget.at_least else "") + " / ".join(parts)


def _met(is_met: bool | None) -> str:  # noqa: FBT001 - what it shows
    return "" if is_met is None else "yes" if is_met else "NO"


def shown(value: float) -> str:
    """Three digits that count, or all of a greater number."""
    if value == int(value):
        return f"{value:,.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2  # noqa: PLR2004 - of three
    return f"{value:,.{digits}f}"


def _set(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column in _RIGHT else cell.ljust(width)


def _notes(rows: Sequence[Row]) -> list[str]:
    return [f"{row.key}: {note}" for row in rows for note in row.notes]

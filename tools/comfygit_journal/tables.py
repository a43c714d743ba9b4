"""Tables: drawn by rich on a terminal, in plain columns elsewhere."""

import sys
from collections.abc import Iterable, Sequence

from comfygit_journal.escaping import escaped


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print on stdout; the cells are others' text."""
    cells = [[escaped(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_drawn(headings, cells)
    else:
        sys.stdout.writelines(f"{line}\n" for line in plain_table(headings, cells))


def plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns two spaces apart, the last one as long as it is."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]


def _print_drawn(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # 0.1 s
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1], overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=sys.stdout).print(table)

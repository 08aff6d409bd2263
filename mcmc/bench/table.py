"""The table of the measured rows, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mcmc.bench.measure import Row


def show(rows: Sequence[Row], device: str) -> None:
    """Print one table a part, floors beside what stands on them."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = 160
    for part in dict.fromkeys(row.part for row in rows):
        mine = [row for row in rows if row.part == part]
        measured = [row for row in mine if row.ns is not None]
        floors = list(dict.fromkeys(name for row in measured for name in row.floors))
        rates = list(dict.fromkeys(name for row in measured for name in row.per_second))
        unit = mine[0].unit
        table = Table(title=f"{part}, float32: {device}", title_justify="left", box=None, pad_edge=False)
        table.add_column("")
        titles = [f"ns a {unit}", *(f"floor: {name}" for name in floors), "x largest floor"]
        for title in [*titles, *(f"{name}/s" for name in rates), "compile, s"]:
            table.add_column(title, justify="right")
        for row in measured:
            cells = [row.ns, *(row.floors.get(name) for name in floors), row.over_floor]
            cells += [row.per_second.get(name) for name in rates]
            table.add_row(row.case, *map(number, [*cells, row.compile_seconds]))
        console.print(table, markup=False)
        for row in mine:
            if row.note:
                console.print(f"{row.case}: {row.note}", markup=False)
        console.print()


def number(value: float | None) -> str:
    """Three significant digits; millions and billions as suffixes.

    >>> number(1234567.0), number(0.01234), number(None)
    ('1.23 M', '0.0123', '-')
    """
    if value is None:
        return "-"
    for size, suffix in ((1e9, " G"), (1e6, " M")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

"""A diagnosis on the terminal: the table of parameters and the findings."""

import sys
from typing import Any

MOST_ROWS = 50  # of a table on the screen
COLUMNS = {
    "mean": "mean",
    "sd": "sd",
    "mcse_mean": "MCSE",
    "r_hat": "R-hat",
    "nested_r_hat": "nested R-hat",
    "ess_bulk": "bulk ESS",
    "ess_tail": "tail ESS",
}


def show_verdict(verdict: Any, reference: dict[str, tuple[float, float]] | None = None) -> None:
    """Print the table of parameters and the verdict to stdout, with known means and sds beside ours."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = 120
    columns = {name: title for name, title in COLUMNS.items() if name in verdict.table}
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("parameter", overflow="fold")
    for title in [*columns.values(), *(["reference"] if reference else [])]:
        table.add_column(title, justify="right", no_wrap=True)
    rows = verdict.table
    for name, row in rows.head(MOST_ROWS).iterrows():
        known = reference.get(str(name)) if reference else None
        cells = [_number(column, row[column]) for column in columns]
        table.add_row(str(name), *cells, *([f"{known[0]} ± {known[1]}"] if known else []))
    console.print(table, markup=False)
    if len(rows) > MOST_ROWS:
        console.print(f"and {len(rows) - MOST_ROWS} parameters more")
    console.print()
    console.print(str(verdict), style="green" if verdict.ok else "bold red", markup=False, soft_wrap=True)


def _number(column: str, value: float) -> str:
    if value != value:
        return "-"
    if column.endswith("r_hat"):
        return f"{value:.3f}"
    return f"{value:,.0f}" if column.startswith("ess") else f"{value:#.3g}".rstrip(".")

"""Tables in long form, CSV or Parquet: columns chain and draw, then the parameters, or `parameter` and `value`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.readers.indexed import check_numbers, gathered, spread
from mcmc.readers.layout import is_cell, layout_of, unnamed
from mcmc.readers.limits import Limits, fail, only_read_errors
from mcmc.readers.text import check_table, count_lines, first_lines, is_number, opened, whole_last_line
from mcmc.readers.trees import placed, tree_of
from mcmc.readers.weights import weights_in

if TYPE_CHECKING:
    import xarray

ALSO = {
    ".chain": "chain", "chain__": "chain", "chain_id": "chain", "walker": "chain",
    ".draw": "draw", "draw__": "draw", ".iteration": "draw", "iter__": "draw", "iteration": "draw",
    "variable": "parameter", ".variable": "parameter", ".value": "value",
}  # fmt: skip
"""Names as posterior, tidybayes, ggmcmc, CmdStanPy, MCMCChains and emcee's users write them, in any case."""
OURS = {*ALSO.values()}
ITERATIONS = (".iteration", "iter__", "iteration")
STEPS = ("iter", "step")
"""Draws where a table says its chains; else they count rows, and may tell the chains."""
INDICES = ("", "Unnamed: 0", "rownames")
BATCH = 10_000
LONGEST = 1000


def is_long(lines: list[str]) -> bool:
    """Whether a text begins with a header that names chain and draw."""
    layout = layout_of(lines)
    return layout is not None and {"chain", "draw"} <= set(renamed(list(layout.names)))


def read_csv(paths: list[Path], limits: Limits) -> xarray.DataTree:
    """Read one CSV file with a header."""
    (path,) = paths
    if not whole_last_line(path):
        raise fail(path, "a last line without an end", "whole lines", "Its last number may be cut: remove the line.")
    return tree_from(columns_of(path, limits, long_header), path, limits)


def columns_of(
    path: Path, limits: Limits, header: Callable[[list[str], Path], list[str]], named: list[str] | None = None
) -> dict[str, np.ndarray]:
    """Columns of a table by the names that `header` makes of those in its first line; those named "" are text.

    `named` names the columns of a table without a header.
    """
    lines = first_lines(path)
    layout = layout_of(lines)
    if named is not None:
        if layout is not None:
            found = f"names {named[:8]}, and a header {list(layout.names)[:8]}"
            raise fail(path, found, "one of them", "Leave names out, or use vars.")
        layout = unnamed(lines, named)
    if layout is None:
        raise fail(path, "no header", "names above the numbers", "Add a line of the columns' names.")
    with (
        only_read_errors(path, "CSV file"),
        io.TextIOWrapper(opened(path), encoding="utf-8-sig", newline="") as file,
    ):
        blanks, names = layout.separator == " ", header(list(layout.names), path)
        rows = csv.reader(layout.body(file), strict=True, delimiter=layout.separator, skipinitialspace=blanks)
        check_table(path, count_lines(path), len(names), limits)
        text = _texts(names, layout.row)
        parts = [_batch(batch, names, text, path) for batch in _batches(rows, len(names), path)]
    if not parts:
        raise fail(path, "a header alone", "rows of draws", "Sample first.")
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}


def _texts(names: list[str], row: tuple[str, ...]) -> list[int]:
    """Columns that may hold text: chains, parameters, and what may be the levels of a factor that indexes them."""
    may_be = ("chain", "parameter")
    if "parameter" in names:
        return [i for i, name in enumerate(names) if name not in ("draw", "value")]
    levels = len(row) == len(names) and {"chain", "draw"} <= set(names)
    return [i for i, name in enumerate(names) if name in may_be or (levels and _is_word(row[i]))]


def _is_word(cell: str) -> bool:
    return not is_cell(cell) and not is_number(cell.replace(",", ".", 1)) and cell.strip()[:1].isalpha()


def wide_header(names: list[str], path: Path) -> list[str]:
    """The names of a table with a draw a row."""
    names = renamed(names)
    named = [name for name in names if name]
    if len(set(named)) < len(named) or not named or not are_names(named):
        raise fail(path, f"columns {names[:8]}", "distinct names in its first line", "Name them so.")
    return names


def are_names(names: Iterable[str]) -> bool:
    """Whether none is a number, save those that count unnamed columns: 0, 1, 2, ..."""
    numbers = [name for name in names if is_number(name)]
    return numbers == [str(i) for i in range(len(numbers))]


def renamed(names: list[str]) -> list[str]:
    """Names without blanks, chain, draw, parameter and value by these names; "" for numbers of rows."""
    names = ["" if name.strip() in INDICES else name.strip() for name in names]
    lower = [name.lower() for name in names]
    if any(name in ITERATIONS for name in lower):  # a .draw beside them goes on from chain to chain
        names = ["" if low in (".draw", "draw__", "draw") else name for name, low in zip(names, lower, strict=True)]
        lower = [name.lower() for name in names]
    found = [ALSO.get(low, low if low in OURS else name) for name, low in zip(names, lower, strict=True)]
    if "chain" in found and "draw" not in found and (steps := [low for low in lower if low in STEPS]):
        found[lower.index(steps[0])] = "draw"
    return found


def long_header(names: list[str], path: Path) -> list[str]:
    """The columns of a table in long form, as they are called here; a ReadError where chain or draw is missing."""
    names = renamed(names)
    named = [name for name in names if name]
    if not {"chain", "draw"} <= set(named) or len(set(named)) < len(named) or len(named) < 3:
        expected = "distinct columns chain, draw, and parameters (or parameter and value)"
        raise fail(path, f"columns {names}", expected, "Name them so in its header.")
    if "parameter" in named and "value" not in named:
        raise fail(path, f"columns {names}", "chain, draw, parameter, value", "Name them so in its header.")
    return names


def _batches(rows: Any, width: int, path: Path) -> Iterator[list[tuple[int, list[str]]]]:
    """Numbered rows of the right width, some thousands at a time."""
    batch = []
    for row in rows:
        if not row:
            continue
        if len(row) != width:
            found = f"{len(row)} values"
            raise fail(f"{path}, line {rows.line_num}", found, f"{width}, as in its header", "Mend the line.")
        batch.append((rows.line_num, row))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _batch(batch: list, names: list[str], text: list[int], path: Path) -> list[np.ndarray]:
    """Columns of some rows: text where text may be, numbers elsewhere."""
    columns = []
    for i, name in enumerate(names):
        cells = [row[i] for _, row in batch]
        if i in text or not name:
            columns.append(np.array(cells, dtype=object))
            continue
        try:
            if any("_" in cell or not cell.isascii() for cell in cells):
                raise ValueError("Python reads 1_000 and digits of other scripts; nobody writes draws so")
            columns.append(np.array(cells, dtype=str).astype(np.float64))
        except ValueError:
            columns.append(
                np.array([_number(cell, number, name, path) for (number, _), cell in zip(batch, cells, strict=True)])
            )
    return columns


def _number(cell: str, line: int, name: str, path: Path) -> float:
    flags = {"true": 1.0, "false": 0.0, "na": np.nan}
    if cell.strip().lower() in flags:
        return flags[cell.strip().lower()]
    if is_number(cell):
        return float(cell)
    remedy = "Mend or remove the row."
    if is_number(cell.replace(",", ".", 1)):
        remedy = "Write numbers with a decimal point."
    raise fail(f"{path}, line {line}, {name}", cell[:40], "a number", remedy)


def tree_from(columns: dict[str, np.ndarray], path: Path, limits: Limits) -> xarray.DataTree:
    """Sort rows into (chain, draw): every chain must have every draw, once."""
    columns = gathered(columns) if "parameter" in columns else spread(columns, path, limits)
    check_numbers(columns, path)
    chain, draw = columns["chain"], columns["draw"]
    if "parameter" in columns:
        names, which = np.unique(columns["parameter"].astype(str), return_inverse=True)
        limits.check("variables", len(names), path)
        parts = {}
        for i, name in enumerate(names):
            rows = which == i
            parts[str(name)] = _matrix(chain[rows], draw[rows], columns["value"][rows], f"{path}, {name}")
    else:
        order = _order(chain, draw, path)
        kept = {name: values for name, values in columns.items() if name and name not in ("chain", "draw")}
        remedy = "Resample them; or give it another name, where it is a parameter."
        for name in weights_in(kept):
            if len(set(kept.pop(name).tolist())) > 1:
                raise fail(f"{path}, {name}", "weights beside chain and draw", "draws that count alike", remedy)
        parts = {name: values[order] for name, values in kept.items()}
    return tree_of(placed(parts), path)


def _matrix(chain: np.ndarray, draw: np.ndarray, values: np.ndarray, place: str) -> np.ndarray:
    return values[_order(chain, draw, place)]


def _order(chain: np.ndarray, draw: np.ndarray, place: object) -> np.ndarray:
    """Row numbers `(chain, draw)`."""
    names, which = np.unique(_labels(chain), return_inverse=True)
    draw = np.asarray(draw, dtype=np.float64)
    if not np.isfinite(draw).all():
        raise fail(f"{place}, draw", "a draw without a number", "finite numbers", "Number the draws of each chain.")
    steps, at = np.unique(draw, return_inverse=True)
    cells = which * len(steps) + at
    count = np.bincount(cells, minlength=0) if len(names) * len(steps) <= 4 * len(draw) + 100 else np.zeros(0, int)
    if count.size and (count > 1).any():
        c, d = divmod(int(count.argmax()), len(steps))
        raise fail(
            place, f"chain {names[c]}, draw {steps[d]:g} in {count.max()} rows", "one row each", "Remove copies."
        )
    if count.size != len(names) * len(steps) or (count == 0).any() or len(names) * len(steps) != len(draw):
        found = f"{len(draw)} rows for {len(names)} chains and {len(steps)} distinct draws"
        raise fail(place, found, "every draw once in every chain", "Number draws alike in all chains; leave none out.")
    return np.argsort(cells, kind="stable").reshape(len(names), len(steps))


def _labels(chain: np.ndarray) -> np.ndarray:
    """Chain labels that sort as numbers where they are numbers."""
    try:
        return np.asarray(chain, dtype=np.float64)
    except (TypeError, ValueError):
        return chain.astype(str)

"""Wide tables: a header of parameters, then a draw a row; a file a chain, or so many chains below each other."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.readers import long_form
from mcmc.readers.layout import is_cell, layout_of
from mcmc.readers.limits import Limits, ReadWarning, fail
from mcmc.readers.repeats import check_repeats
from mcmc.readers.text import whole_last_line
from mcmc.readers.trees import placed, shortest, tree_of
from mcmc.readers.weights import drawn_columns, weights_in

if TYPE_CHECKING:
    import xarray

COUNTERS = ("draw", "iter", "step", "")
"""Columns that count rows, besides those that `long_form` knows."""
CHAIN_AND_NAME = re.compile(r"(?:chain:)?(\d+)\.(.+)")


def is_wide(lines: list[str]) -> bool:
    """Whether a text begins with names, maybe in a comment, and then as many numbers."""
    layout = layout_of(lines)
    if layout is None or len(layout.names) != len(layout.row) or not any(layout.names):
        return False
    named = [cell for name, cell in zip(layout.names, layout.row, strict=True) if name]
    return long_form.are_names(layout.names) and all(map(is_cell, named))


def read(
    paths: list[Path], limits: Limits, chains: int | None = None, names: list[str] | None = None
) -> xarray.DataTree:
    """Read a table a chain, or one of `chains` below each other; one with a column `chain` says it by itself.

    `names` are those of tables without a header.
    """
    tables = [_table(path, limits, names) for path in paths]
    if len(paths) == 1:
        return tree_from(tables[0], paths[0], limits, chains)
    if chains not in (None, len(paths)):
        raise fail(paths[0], f"{len(paths)} files", f"{chains} chains, a file each", "Leave chains out.")
    first = tables[0]
    for path, table in zip(paths, tables, strict=True):
        if "chain" in table or list(table) != list(first):
            raise fail(
                path, f"columns {list(table)[:8]}", f"those of {paths[0]}, and no chain", "Give one run's files."
            )
        if (_restarts(table, path) or 1) > 1:
            found = f"iterations that begin anew {_restarts(table, path)} times"
            raise fail(path, found, "one chain in each of several files", "Give this file alone.")
    if weights_in(first):
        return _weighted_chains(tables, paths, limits)
    sizes = [_rows(table) for table in tables]
    for path, size in zip(paths, sizes, strict=True):
        if size != sizes[0]:
            raise fail(path, f"{size} rows", f"{sizes[0]}, as {paths[0]} has", "Leave it out, or cut the others.")
    stacked = {name: np.stack([table[name] for table in tables]) for name in first if name not in _counters(first)}
    return tree_of(placed(stacked), paths[0], ignored=_ignored(first))


def tree_from(table: dict[str, np.ndarray], path: Path, limits: Limits, chains: int | None) -> xarray.DataTree:
    """The draws of one table, a draw a row."""
    rows = _rows(table)
    if "chain" in table:  # rows of a chain in their order
        labels, which = np.unique(table["chain"].astype(str), return_inverse=True)
        if chains not in (None, len(labels)):
            raise fail(path, f"a column chain of {len(labels)}", f"{chains} chains", "Leave chains out.")
        draw = np.empty(rows)
        for i in range(len(labels)):
            draw[which == i] = np.arange((which == i).sum())
        return long_form.tree_from({k: v for k, v in table.items() if k != "draw"} | {"draw": draw}, path, limits)
    if weights_in(table):
        return _weighted(table, path, limits, chains)
    if (aside := side_by_side([name for name in table if name not in _counters(table)])) is not None:
        return _beside(table, aside, path, chains)
    told = _restarts(table, path)
    if chains is None and told is None:
        raise _how_many(table, path)
    count = chains or told or 1
    if (told or 1) > 1 and count != told:
        raise fail(path, f"iterations that begin anew {told} times", f"{count} chains", "Leave chains out.")
    if rows % count or count > rows:
        raise fail(path, f"{rows} rows", f"as many for each of {count} chains", "Correct chains, or mend the file.")
    kept = {k: v.reshape(count, -1) for k, v in table.items() if k not in _counters(table)}
    return tree_of(placed(kept), path, ignored=_ignored(table))


def side_by_side(names: list[str]) -> dict[str, list[str]] | None:
    """Columns by parameter, a chain each, where all are named as R names an array of them: `1.mu`, `chain:1.mu`.

    Example:
        >>> side_by_side(["1.mu", "2.mu"])
        {'mu': ['1.mu', '2.mu']}
    """
    found = [CHAIN_AND_NAME.fullmatch(name) for name in names]
    parts: dict[str, dict[int, str]] = {}
    for match in found:
        if match is None:
            return None
        parts.setdefault(match[2], {})[int(match[1])] = match[0]
    labels = [sorted(columns) for columns in parts.values()]
    if not labels or any(label != labels[0] for label in labels):
        return None
    return {name: [columns[i] for i in sorted(columns)] for name, columns in parts.items()}


def _beside(table: dict[str, np.ndarray], aside: dict[str, list[str]], path: Path, chains: int | None) -> Any:
    count = len(next(iter(aside.values())))
    if chains not in (None, count):
        raise fail(path, f"columns of {count} chains", f"{chains}", "Leave chains out.")
    _restarts(table, path)
    return tree_of(
        placed({name: np.stack([table[column] for column in columns]) for name, columns in aside.items()}),
        path,
        ignored=_ignored(table),
    )


def _weighted(table: dict[str, np.ndarray], path: Path, limits: Limits, chains: int | None) -> xarray.DataTree:
    """A table with a column of weights: what it resamples to is one chain."""
    told = _restarts(table, path)
    if chains not in (None, 1) or (told or 1) > 1:
        found = f"weights, and {max(chains or 1, told or 1)} chains below each other"
        raise fail(path, found, "one chain of rows that count differently", "Give a file a chain.")
    drawn, note, ignored = drawn_columns(table, path, limits)
    if not note and chains is None and told is None:  # whole weights are a chain's
        raise _how_many(table, path)
    kept = {k: v[None] for k, v in drawn.items() if k not in _counters(drawn)}
    ignored = ", ".join(part for part in (_ignored(drawn), ignored) if part)
    return tree_of(placed(kept), path, ignored=ignored, **({"note": note} if note else {}))


def _weighted_chains(tables: list[dict[str, np.ndarray]], paths: list[Path], limits: Limits) -> xarray.DataTree:
    """Tables of a chain each, with weights, cut to equal lengths."""
    drawn, notes, ignored = [], [], ""
    for table, path in zip(tables, paths, strict=True):
        columns, told, ignored = drawn_columns(table, path, limits)
        kept = [name for name in columns if name not in _counters(columns)]
        drawn.append(np.stack([columns[name] for name in kept], axis=1))
        notes += [told] * bool(told)
    parts, note = shortest(drawn, paths)
    if note:
        warnings.warn(f"{paths[0]}: {note}.", ReadWarning, stacklevel=2)
    rows = np.stack(parts)
    note = "; ".join([*notes, *[note] * bool(note)])
    ignored = ", ".join(part for part in (_ignored(columns), ignored) if part)
    return tree_of(placed({k: rows[:, :, i] for i, k in enumerate(kept)}), paths[0], ignored=ignored, note=note)


def _table(path: Path, limits: Limits, names: list[str] | None) -> dict[str, np.ndarray]:
    if not whole_last_line(path):
        raise fail(path, "a last line without an end", "whole lines", "Its last number may be cut: remove the line.")
    table = long_form.columns_of(path, limits, long_form.wide_header, names)
    check_repeats(np.stack([v for k, v in table.items() if v.dtype != object and k not in COUNTERS], axis=1), path)
    return table


def _how_many(table: dict[str, np.ndarray], path: Path) -> Exception:
    remedy = "Say how many chains lie below each other (chains= in Python, --chains in the shell; 1 for one), or "
    remedy += "give a file a chain."
    found = f"{_rows(table)} rows, and not how many chains"
    return fail(path, found, "columns chain and draw, or the number of chains", remedy)


def _rows(table: dict[str, np.ndarray]) -> int:
    return len(next(iter(table.values())))


def _counters(table: dict[str, np.ndarray]) -> list[str]:
    return [name for name in table if name in COUNTERS]


def _ignored(table: dict[str, np.ndarray]) -> str:
    return ", ".join(name or "row numbers" for name in _counters(table))


def _restarts(table: dict[str, np.ndarray], path: Path) -> int | None:
    """How many chains a column of iterations tells, beginning anew for each; None where there is no such column.

    Numbers of rows tell chains where they begin anew, and nothing where they go on.
    """
    counter = next((table[name] for name in ("draw", "iter", "step") if name in table), None)
    told = counter is not None
    numbers = counter if counter is not None else _row_numbers(table)
    if numbers is None:
        return None
    steps = np.diff(numbers)
    starts = np.flatnonzero(~(steps > 0) if told else steps < 0) + 1  # a numbered row may be there twice
    parts = np.split(numbers, starts)
    if any(len(part) != len(parts[0]) or (part != parts[0]).any() for part in parts):
        what, remedy = "iterations", "Sort the rows by chain and iteration."
        if not told:
            what, remedy = "row numbers", "Sort the rows, or leave their numbers out where their order says nothing."
        found = f"{what} that begin anew at rows {(starts[:4] + 1).tolist()}"
        raise fail(path, found, f"the same {what} in every chain", remedy)
    return len(parts) if told or len(parts) > 1 else None


def _row_numbers(table: dict[str, np.ndarray]) -> np.ndarray | None:
    """The numbers of the rows as R and pandas write them; None where there are none, or other labels."""
    try:
        return table[""].astype(np.float64) if "" in table else None
    except ValueError:
        return None

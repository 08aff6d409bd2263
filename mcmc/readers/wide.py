"""Wide tables: a header of parameters, then a draw a row; a file a chain, or so many chains below each other."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcmc.readers import long_form
from mcmc.readers.layout import is_cell, layout_of
from mcmc.readers.limits import Limits, ReadWarning, fail
from mcmc.readers.long_form import WEIGHTS
from mcmc.readers.text import is_number, whole_last_line
from mcmc.readers.trees import placed, tree_of
from mcmc.readers.weights import drawn_rows

if TYPE_CHECKING:
    import xarray

COUNTERS = ("draw", "iter", "step", "")
"""Columns that count rows, besides those that `long_form` knows."""
LEVELS = ("logl", "loglike", "lnlike", "loglikelihood", "log_likelihood")
"""Columns of the log likelihood beside weights."""


def is_wide(lines: list[str]) -> bool:
    """Whether a text begins with names, maybe in a comment, and then as many numbers."""
    layout = layout_of(lines)
    if layout is None or len(layout.names) != len(layout.row) or not any(layout.names):
        return False
    named = [cell for name, cell in zip(layout.names, layout.row, strict=True) if name]
    return not any(map(is_number, layout.names)) and all(map(is_cell, named))


def read(paths: list[Path], limits: Limits, chains: int | None = None) -> xarray.DataTree:
    """Read a table a chain, or one of `chains` below each other; one with a column `chain` says it by itself."""
    tables = [_table(path, limits) for path in paths]
    if len(paths) == 1:
        return _one(tables[0], paths[0], limits, chains)
    if chains not in (None, len(paths)):
        raise fail(paths[0], f"{len(paths)} files", f"{chains} chains, a file each", "Leave chains out.")
    first = tables[0]
    sizes = [len(next(iter(table.values()))) for table in tables]
    for path, table, size in zip(paths, tables, sizes, strict=True):
        if "chain" in table or list(table) != list(first):
            raise fail(
                path, f"columns {list(table)[:8]}", f"those of {paths[0]}, and no chain", "Give one run's files."
            )
        if size != sizes[0]:
            raise fail(path, f"{size} rows", f"{sizes[0]}, as {paths[0]} has", "Leave it out, or cut the others.")
        _restarts(table, path)
    stacked = {name: np.stack([table[name] for table in tables]) for name in first if name not in _counters(first)}
    return tree_of(placed(stacked), paths[0], ignored=_ignored(first))


def _one(table: dict[str, np.ndarray], path: Path, limits: Limits, chains: int | None) -> xarray.DataTree:
    if WEIGHTS & set(table) and "chain" not in table:
        return _weighted(table, path, limits, chains)
    rows = len(next(iter(table.values())))
    if "chain" in table:  # rows of a chain in their order
        labels, which = np.unique(table["chain"].astype(str), return_inverse=True)
        if chains not in (None, len(labels)):
            raise fail(path, f"a column chain of {len(labels)}", f"{chains} chains", "Leave chains out.")
        draw = np.empty(rows)
        for i in range(len(labels)):
            draw[which == i] = np.arange((which == i).sum())
        return long_form.tree_from({k: v for k, v in table.items() if k != "draw"} | {"draw": draw}, path, limits)
    told = _restarts(table, path)
    if chains is None and told is None:
        remedy = "Say how many chains lie below each other (chains= in Python, --chains in the shell; 1 for one), or "
        raise fail(path, f"{rows} rows, and not how many chains", "columns chain and draw, or the number of chains",
                   remedy + "give a file a chain.")  # fmt: skip
    count = chains or told or 1
    if (told or 1) > 1 and count != told:
        raise fail(path, f"iterations that begin anew {told} times", f"{count} chains", "Leave chains out.")
    if rows % count or count > rows:
        raise fail(path, f"{rows} rows", f"as many for each of {count} chains", "Correct chains, or mend the file.")
    kept = {k: v.reshape(count, -1) for k, v in table.items() if k not in _counters(table)}
    return tree_of(placed(kept), path, ignored=_ignored(table))


def _weighted(table: dict[str, np.ndarray], path: Path, limits: Limits, chains: int | None) -> xarray.DataTree:
    """A table with a column of weights: what it resamples to is one chain."""
    (weight,) = WEIGHTS & set(table)
    levels = next((table[name] for name in table if name.lower() in LEVELS), None)
    rows, note = drawn_rows(table.pop(weight), None if levels is None else -levels, f"{path}, {weight}", limits)
    drawn = {("sample_stats/log_lik_total" if k.lower() in LEVELS else k): v[rows] for k, v in table.items()}
    if not note:  # whole weights are a chain's
        return _one(drawn, path, limits, chains)
    warnings.warn(f"{path}: {note}.", ReadWarning, stacklevel=2)
    kept = {k: v[None] for k, v in drawn.items() if k not in _counters(drawn)}
    return tree_of(placed(kept), path, ignored=_ignored(drawn), note=note)


def _table(path: Path, limits: Limits) -> dict[str, np.ndarray]:
    if not whole_last_line(path):
        raise fail(path, "a last line without an end", "whole lines", "Its last number may be cut: remove the line.")
    return long_form.columns_of(path, limits, _header)


def _header(names: list[str], path: Path) -> list[str]:
    names = long_form.renamed(names)
    named = [name for name in names if name]
    if len(set(named)) < len(named) or not named or any(map(is_number, named)):
        raise fail(path, f"columns {names[:8]}", "distinct names in its first line", "Name them so.")
    return names


def _counters(table: dict[str, np.ndarray]) -> list[str]:
    return [name for name in table if name in COUNTERS]


def _ignored(table: dict[str, np.ndarray]) -> str:
    return ", ".join(name or "row numbers" for name in _counters(table))


def _restarts(table: dict[str, np.ndarray], path: Path) -> int | None:
    """How many chains a column of iterations tells, beginning anew for each; None where there is no such column."""
    counter = next((table[name] for name in ("draw", "iter", "step") if name in table), None)
    if counter is None:
        return None
    steps = np.diff(counter)
    starts = np.flatnonzero(~(steps > 0)) + 1
    parts = np.split(counter, starts)
    if any(len(part) != len(parts[0]) or (part != parts[0]).any() for part in parts):
        found = f"iterations that begin anew at rows {(starts[:4] + 1).tolist()}"
        raise fail(path, found, "the same iterations in every chain", "Sort the rows by chain and iteration.")
    return len(parts)

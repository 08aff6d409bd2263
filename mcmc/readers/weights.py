"""Weighted rows as draws: whole weights repeat a row, others resample, and what was done is said."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import numpy as np

from mcmc.readers.column_names import LEVELS, LOG_WEIGHTS, MAYBE_LEVELS, OF_ITS_RUNS, OF_NESTED_SAMPLING, WEIGHTS
from mcmc.readers.limits import Limits, ReadWarning, fail

SORTED = 0.9
"""Share of steps up in density from which rows are in the order of nested sampling: a chain that climbs has fewer."""
EQUAL = 100
"""So many rows of one weight, each denser than the one before it, are in that order too."""


def weights_in(names: Iterable[str]) -> list[str]:
    """Those of some columns that say how much a row counts."""
    return [name for name in names if name.lower() in (*WEIGHTS, *LOG_WEIGHTS)]


def drawn_columns(
    table: Mapping[str, np.ndarray], path: object, limits: Limits
) -> tuple[dict[str, np.ndarray], str, str]:
    """Columns of draws instead of those of weighted rows; a note of how, and what else of nested sampling is ignored.

    `logwt` and the like are logarithms. What was resampled is warned of.
    """
    named = weights_in(table)
    if len(named) > 1:
        raise fail(path, f"columns {named}", "one that says how much a row counts", "Leave the others out.")
    weights = table[named[0]]
    count = len(weights) if weights.ndim == 1 else -1
    lower = {name.lower() for name in table}
    beside = (*OF_NESTED_SAMPLING, *(OF_ITS_RUNS if lower & {"samples", "logvol", "logzerr"} else ()))
    for name, values in table.items():
        if values.shape[:1] != (count,) and name.lower() not in beside:
            raise fail(f"{path}, {name}", f"shape {values.shape}", f"a row for each of {named[0]}", "Leave it out.")
    if named[0].lower() in LOG_WEIGHTS:
        top = weights.max(initial=-np.inf)
        if np.isnan(weights).any() or not np.isfinite(top):
            raise fail(f"{path}, {named[0]}", "log weights that are NaN, +inf or all -inf", "numbers", "Mend them.")
        weights = np.exp(weights - top)
    level = _level(table, named[0], beside)
    order = [name for name in table if name]
    among = named[0].lower() == "weight" and level is None and order.index(named[0]) > 1
    if among and (weights != np.floor(weights)).any():
        remedy = "Name it weights where it says how much a row counts, otherwise where it is a parameter."
        raise fail(path, "a column weight among others", "weights first, or whole ones", remedy)
    rows, note = drawn_rows(weights, None if level is None else -table[level], f"{path}, {named[0]}", limits)
    ignored = [name for name in table if name.lower() in beside]
    kept = {name: values[rows] for name, values in table.items() if name not in (*named, *ignored)}
    if level is not None:
        kept = {("sample_stats/log_lik_total" if name == level else name): values for name, values in kept.items()}
    if note:
        warnings.warn(f"{path}: {note}.", ReadWarning, stacklevel=2)
    return kept, note, ", ".join(ignored)


def _level(table: Mapping[str, np.ndarray], weight: str, beside: tuple[str, ...]) -> str | None:
    """The column of the log likelihood; `logl` is it beside the weights, at the end, or where it rises."""
    names = [name for name in table if name and name.lower() not in beside]
    for place, name in enumerate(names):
        if table[name].ndim != 1:
            continue
        if name.lower() in LEVELS:
            return name
        told = abs(place - names.index(weight)) == 1 or place == len(names) - 1 or "samples" in table
        if name.lower() in MAYBE_LEVELS and (told or _rises(-table[name], SORTED)):
            return name
    return None


def drawn_rows(
    weights: np.ndarray, density: np.ndarray | None, place: object, limits: Limits
) -> tuple[np.ndarray, str]:
    r"""Numbers of the rows that stand for draws, and a note where they are not a chain's.

    Whole weights, as chains have, repeat their row. Others are resampled systematically to as many rows as they are
    worth (Kish),

    .. math:: n = (\sum_i w_i)^2 / \sum_i w_i^2

    in their order, so that a reweighted chain keeps its autocorrelation; rows in the order of nested sampling
    (`density`, minus log density, falls along them) have no chain and are shuffled.
    """
    bad = np.flatnonzero(~((weights >= 0) & (weights < 2**53)))
    if bad.size:
        raise fail(f"{place}, row {bad[0] + 1}", f"weight {weights[bad[0]]:g}", "a finite number from 0", "Mend it.")
    total = weights.sum()
    if not total:
        raise fail(place, "weights that are all 0", "draws", "Sample first.")
    alike = bool((weights == weights[0]).all())
    remedy = "nested sampling has no chain, so that R-hat and ESS don't say what it missed"
    if alike and len(weights) >= EQUAL and _rises(density, 1.0):
        note = f"{len(weights)} rows of one weight, shuffled: they rise in density from row to row; {remedy}"
        return np.random.default_rng(0).permutation(len(weights)), note
    if (weights == np.floor(weights)).all():
        limits.check("elements", int(total), place)
        return np.repeat(np.arange(len(weights)), weights.astype(np.int64)), ""
    if alike:
        return np.arange(len(weights)), ""
    weights = weights / weights.max()  # squares of small ones are 0
    count = max(1, int(weights.sum() ** 2 / np.square(weights).sum()))
    ends = np.cumsum(weights) / weights.sum()
    rows = np.minimum(np.searchsorted(ends, (np.arange(count) + 0.5) / count), len(weights) - 1)
    note = f"{len(weights)} weighted rows resampled to the {count} that they are worth"
    if not _rises(density, SORTED):
        return rows, f"{note}, in their order"
    return np.random.default_rng(0).permutation(rows), f"{note}, shuffled: {remedy}"


def _rises(minus: np.ndarray | None, share: float) -> bool:
    """Whether the density (`minus`: minus its logarithm) rises at so many of the steps, as that of dead points does."""
    if minus is None or len(minus) < 4 or np.isnan(minus).any():
        return False
    return float((minus[1:] <= minus[:-1]).mean()) >= share and minus[-1] < minus[0]

"""Weighted rows as draws: whole weights repeat a row, others resample, and what was done is said."""

from __future__ import annotations

import numpy as np

from mcmc.readers.limits import Limits, fail

SORTED = -0.8
"""Rank correlation of row and minus log density from which rows are in the order of nested sampling."""


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
    if (weights == np.floor(weights)).all():
        limits.check("elements", int(total), place)
        return np.repeat(np.arange(len(weights)), weights.astype(np.int64)), ""
    count = max(1, int(total**2 / np.square(weights).sum()))
    ends = np.cumsum(weights) / total
    rows = np.minimum(np.searchsorted(ends, (np.arange(count) + 0.5) / count), len(weights) - 1)
    note = f"{len(weights)} weighted rows resampled to the {count} that they are worth"
    if density is None or not _falls(density):
        return rows, f"{note}, in their order"
    remedy = "nested sampling has no chain, so that R-hat and ESS don't say what it missed"
    return np.random.default_rng(0).permutation(rows), f"{note}, shuffled: {remedy}"


def _falls(density: np.ndarray) -> bool:
    """Whether minus the log density falls from row to row, as that of dead points does."""
    if len(density) < 4 or not np.isfinite(density).all():
        return False
    ranks = np.argsort(np.argsort(density, kind="stable"))
    return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1]) < SORTED

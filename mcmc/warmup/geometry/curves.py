r"""Bends found from draws and gradients: coordinates that are normal given others, about a mean quadratic in them.

−∂ᵢ log π = P (yᵢ − linear(h) − Σₖ qₖ hₐ h_b): a linear least-squares problem, without noise where the form is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from mcmc.warmup.geometry.conditional_forms import Rows
from mcmc.warmup.geometry.curve_layer import CurveLayer

WORTHWHILE, SHARE, ROWS_EACH = 0.05, 0.3, 3
MOST_PAIRS, ALL_PAIRS_UP_TO, STRONGEST, GAIN, EXACT = 4, 12, 5, 0.7, 1e-9
HOLDS, LIMIT, REDUNDANT = 1e-3, 3.0, 1e-12


def find_curves(rows: Rows, free: np.ndarray) -> CurveLayer | None:
    """The layer of those coordinates in `free` that bends explain most of, none a parent of another."""
    enough = np.sum(rows.train) >= ROWS_EACH * (rows.y.shape[1] + MOST_PAIRS)
    if not enough or not np.isfinite(rows.x).all() or not np.isfinite(rows.score).all():
        return None
    linear = Linear.of(rows)
    found = {}
    for i in free.tolist():
        before = linear.divergence(i, linear.left[:, i], float(linear.coefficients[1 + i, i]))
        if before > WORTHWHILE:
            pairs, after = _pursued(linear, i, before)
            if after < SHARE * before:
                found[i] = (after / before, pairs, _weights(linear, i, pairs))
    chosen = _independent(found)
    return _layer(rows, chosen) if chosen else None


@dataclass(frozen=True)
class Linear:
    """Least squares of all scaled gradients (row, dim) by 1 and positions x: of the rows of `train`, by their
    pseudoinverse `back`; what they leave of all rows.
    """

    x: np.ndarray
    score: np.ndarray
    train: np.ndarray
    columns: np.ndarray
    back: np.ndarray
    coefficients: np.ndarray
    left: np.ndarray

    @classmethod
    def of(cls, rows: Rows) -> Linear:
        """The fit of these rows."""
        columns = np.concatenate([np.ones((len(rows.x), 1)), rows.x], 1)
        back = np.linalg.pinv(columns[rows.train], rcond=1e-12)
        coefficients = back @ rows.score[rows.train]
        left = rows.score - columns @ coefficients
        return cls(rows.x, rows.score, rows.train, columns, back, coefficients, left)

    def divergence(self, i: int, left: np.ndarray, own: float) -> float:
        """Of the law of coordinate i, whose own coefficient this is, on held-out rows."""
        return float(np.mean(left[~self.train] ** 2) / -own) if own < 0 else np.inf


def _pursued(linear: Linear, i: int, before: float) -> tuple[list[tuple[int, int]], float]:
    """Products of two other coordinates, one after the other, that explain most; the divergence that they leave.

    Products are orthogonal to all columns in use, on the rows that fit, so that each has a coefficient of its own.
    """
    x, train, left, own, best = linear.x, linear.train, linear.left[:, i], linear.coefficients[1 + i, i], before
    candidates, pairs = _candidates(x, left, i), []
    a, b = np.array(candidates, int).reshape(-1, 2).T
    products = x[:, a] * x[:, b]
    least = REDUNDANT * np.sum(products[train] ** 2, 0) + 1e-300
    shares = linear.back @ products[train]
    products = products - linear.columns @ shares
    while len(pairs) < min(MOST_PAIRS, len(candidates)) and not best < EXACT * before:
        sizes = np.sum(products[train] ** 2, 0)
        k = int(np.argmax((left[train] @ products[train]) ** 2 / (sizes + least)))
        column, share, weight = products[:, k], shares[:, k], left[train] @ products[train, k] / (sizes[k] + least[k])
        loss = linear.divergence(i, left - weight * column, own - weight * share[1 + i])
        if not loss < GAIN * best:
            break
        best, left, own = loss, left - weight * column, own - weight * share[1 + i]
        pairs.append(candidates[k])
        along = column[train] @ products[train] / (sizes[k] + least[k])
        products, shares = products - np.outer(column, along), shares - np.outer(share, along)
    return pairs, best


def _weights(linear: Linear, i: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    """The weights of 1, of positions and of these products in the mean of coordinate i."""
    train, x = linear.train, linear.x
    columns = np.concatenate([linear.columns, *(x[:, [a]] * x[:, [b]] for a, b in pairs)], 1)
    coefficients = np.linalg.lstsq(columns[train], linear.score[train, i], rcond=1e-12)[0]
    return -coefficients / coefficients[1 + i]


def _candidates(x: np.ndarray, left: np.ndarray, i: int) -> list[tuple[int, int]]:
    """Pairs of coordinates other than i: all of a few; of many the squares, and pairs of what goes with `left`."""
    others = [j for j in range(x.shape[1]) if j != i]
    if len(others) <= ALL_PAIRS_UP_TO:
        return list(combinations_with_replacement(others, 2))
    size = np.abs(left)
    alone = np.abs((size - size.mean()) @ (x**2 - 1))
    top = [j for j in np.argsort(-alone).tolist() if j != i][:STRONGEST]
    return sorted({(j, j) for j in others} | set(combinations_with_replacement(sorted(top), 2)))


def _independent(found: dict) -> dict:
    """Those of which least is left, none a parent of another."""
    chosen, parents = {}, set()
    for i in sorted(found, key=lambda i: found[i][0]):
        needs = {j for pair in found[i][1] for j in pair}
        if i not in parents and not needs & set(chosen):
            chosen[i] = found[i]
            parents |= needs
    return chosen


def _layer(rows: Rows, chosen: dict) -> CurveLayer:
    dim, mid, sd = rows.y.shape[1], rows.mid, rows.sd
    pairs = sorted({pair for _, own, _ in chosen.values() for pair in own})
    parents = sorted({j for pair in pairs for j in pair})
    slopes, bends = np.zeros((dim, len(parents))), np.zeros((dim, len(pairs)))
    for i, (_, own, weights) in chosen.items():
        for j in {j for pair in own for j in pair}:
            slopes[i, parents.index(j)] = weights[1 + j] * sd[i] / sd[j]
        for (a, b), weight in zip(own, weights[1 + dim :], strict=True):
            bends[i, pairs.index((a, b))] = weight * sd[i] / (sd[a] * sd[b])
    places = np.array([[parents.index(j) for j in pair] for pair in pairs])
    holds = all(left < HOLDS for left, _, _ in chosen.values())  # a bend that is about so holds where rows are
    limit = np.full(len(parents), np.inf) if holds else LIMIT * sd[parents]
    return CurveLayer(np.array(parents), mid[parents], places, slopes, bends, limit)

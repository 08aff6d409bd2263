r"""Bends found from draws and gradients: coordinates that are normal given others, about a mean quadratic in them.

−∂ᵢ log π = P (yᵢ − linear(h) − Σₖ qₖ hₐ h_b): a linear least-squares problem, without noise where the form is right.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np

from mcmc.warmup.geometry.conditional_forms import Rows
from mcmc.warmup.geometry.curve_layer import CurveLayer

WORTHWHILE, SHARE, ROWS_EACH = 0.05, 0.3, 3
MOST_PAIRS, ALL_PAIRS_UP_TO, STRONGEST, GAIN, EXACT = 4, 12, 5, 0.7, 1e-9
HOLDS, LIMIT = 1e-3, 3.0


def find_curves(rows: Rows, free: np.ndarray) -> CurveLayer | None:
    """The layer of those coordinates in `free` that bends explain most of, none a parent of another."""
    dim = rows.y.shape[1]
    if np.sum(rows.train) < ROWS_EACH * (dim + MOST_PAIRS):
        return None
    x = rows.x
    plain = np.concatenate([np.ones((len(x), 1)), x], 1)
    found = {}
    for i in free.tolist():
        before, left = _fitted(plain, rows, i)
        if before > WORTHWHILE:
            pairs, bends, after = _pursued(rows, plain, i, left, before)
            if after < SHARE * before:
                found[i] = (after / before, pairs, bends)
    chosen = _independent(found)
    return _layer(rows, chosen) if chosen else None


def _fitted(columns: np.ndarray, rows: Rows, i: int) -> tuple[float, np.ndarray]:
    """The held-out divergence of the law of coordinate i by these columns, and what they leave of its gradient."""
    coefficients = np.linalg.lstsq(columns[rows.train], rows.score[rows.train, i], rcond=1e-12)[0]
    left = rows.score[:, i] - columns @ coefficients
    precision = -coefficients[1 + i]
    return (float(np.mean(left[~rows.train] ** 2) / precision) if precision > 0 else np.inf), left


def _pursued(
    rows: Rows, plain: np.ndarray, i: int, left: np.ndarray, before: float
) -> tuple[list[tuple[int, int]], np.ndarray, float]:
    """Products of two other coordinates, one after the other, that explain what is left; the weights of all columns
    in the mean.
    """
    x, columns, best, pairs = rows.x, plain, before, []
    candidates = _candidates(x, left, i)
    while candidates and len(pairs) < MOST_PAIRS and not best < EXACT * before:
        a, b = np.array(candidates).T
        products = x[:, a] * x[:, b]
        k = _best(columns[rows.train], products[rows.train], left[rows.train])
        tried = np.concatenate([columns, products[:, k : k + 1]], 1)
        loss, rest = _fitted(tried, rows, i)
        if not loss < GAIN * best:
            break
        columns, best, left = tried, loss, rest
        pairs.append(candidates.pop(k))
    coefficients = np.linalg.lstsq(columns[rows.train], rows.score[rows.train, i], rcond=1e-12)[0]
    return pairs, -coefficients / coefficients[1 + i], best


def _candidates(x: np.ndarray, left: np.ndarray, i: int) -> list[tuple[int, int]]:
    """Pairs of coordinates other than i: all of a few; of many the squares, and pairs of what goes with `left`."""
    others = [j for j in range(x.shape[1]) if j != i]
    if len(others) <= ALL_PAIRS_UP_TO:
        return list(combinations_with_replacement(others, 2))
    size = np.abs(left)
    alone = np.abs((size - size.mean()) @ (x**2 - 1))
    top = [j for j in np.argsort(-alone).tolist() if j != i][:STRONGEST]
    return sorted({(j, j) for j in others} | set(combinations_with_replacement(sorted(top), 2)))


def _best(columns: np.ndarray, products: np.ndarray, left: np.ndarray) -> int:
    """The product that would explain most of what the columns leave."""
    q = np.linalg.qr(columns)[0]
    new = products - q @ (q.T @ products)
    return int(np.argmax((left @ new) ** 2 / (np.sum(new**2, 0) + 1e-12 * np.sum(products**2, 0) + 1e-300)))


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

"""Orders, normal scores and quantiles of pooled draws: the rank part of rank-normalised statistics.

Everything takes `(column, n)` pooled draws and works on NumPy and JAX arrays alike. A column is sorted once:
its normal scores, its folded version (a merge of two sorted runs), its median and quantiles all come from
that order.
"""

import sys
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import jax
import numpy as np

FEW = 50_000
"""Draws up to which normal scores are computed without SciPy, where it is not loaded yet."""

MANY = 1 << 13
"""Draws of a column from which sorting by digits is faster than comparing."""


MOST_PASSES = 16
"""Times that neighbours are swapped: two runs that should be one would take as many as there are draws."""


def sort_columns(xp: Any, x: Any) -> tuple[Any, Any]:
    """Return the order of each row of `x` (equal values in any order) and the sorted rows."""
    if xp is np and MANY <= x.shape[-1] < 1 << 31:
        order, ordered = np.empty(x.shape, np.intp), np.empty_like(x)
        for row in range(len(x)):
            order[row] = _order_by_digits(x[row])
            _finish(order[row], np.take(x[row], order[row], out=ordered[row], mode="clip"))
        return order, ordered
    order = xp.argsort(x, axis=-1)
    return order, _along_rows(xp, x, order)


def _order_by_digits(x: np.ndarray) -> np.ndarray:
    """Return the order of `x` but for near neighbours: NumPy sorts 16 bits by counting, so two such sorts do it."""
    digits = _digits(x)
    if digits is None:
        return np.argsort(x)
    first = np.argsort(digits[:, 0], kind="stable").astype(np.int32)
    second = np.argsort(np.take(digits[:, 1], first), kind="stable")
    return np.take(first, second)


@np.errstate(all="ignore")
def _digits(x: np.ndarray) -> np.ndarray | None:
    """Return 32 bits of a rising function of each draw, as two 16-bit digits, the low one first: `(n, 2)`.

    None where the draws reach too far for it, or do not vary.
    """
    sample = x[:: max(1, x.size // 512)]
    centre = np.median(sample)
    reach = x.max() - x.min()
    scale = np.median(np.abs(sample - centre)) or reach
    if not 0 < reach / scale < 1e300:
        return None
    key = x - centre
    key /= scale
    below_one = np.abs(key)
    below_one += 1.5
    key /= below_one  # more digits for the middle than for the tails
    key += 1
    key *= 1 << 31
    return key.astype("<u4").view("<u2").reshape(-1, 2)


def _finish(order: np.ndarray, ordered: np.ndarray) -> None:
    """Sort what is nearly sorted, in place: swap neighbours that are few and near their places, or else merge runs."""
    wrong = np.flatnonzero(ordered[1:] < ordered[:-1])
    passes = 0
    while wrong.size:
        if wrong.size > ordered.size // 256 or passes == MOST_PASSES:
            rest = np.argsort(ordered, kind="stable")
            order[:], ordered[:] = order[rest], ordered[rest]
            return
        passes += 1
        here = wrong[np.diff(wrong, prepend=-2) > 1]
        for row in (order, ordered):
            row[here], row[here + 1] = row[here + 1], row[here]
        near = np.unique(np.concatenate([wrong, here - 1, here + 1]).clip(0, ordered.size - 2))
        wrong = near[ordered[near + 1] < ordered[near]]


def normal_scores(xp: Any, order: Any, ordered: Any) -> Any:
    """Return Blom's normal scores, `Phi^-1((r - 3/8) / (n + 1/4))` with average ranks `r`, in place.

    `order` and `ordered` come from `sort_columns`; the result has their shape.
    """
    scores = _scores_of_sorted_numpy(ordered) if xp is np else _scores_of_sorted_jax(xp, ordered)
    return _scatter(xp, order, scores)


def folded_scores(xp: Any, order: Any, ordered: Any) -> Any:
    """Return the normal scores of `|x - median(x)|` from order and sorted values of `x`; in NumPy these are used up.

    The sorted `x` folds into one falling and one rising run, which a stable sort merges in linear time.
    """
    middle = _middle(ordered)[..., None]
    if xp is not np:
        folded = xp.abs(ordered - middle)
        merge = xp.argsort(folded, axis=-1)
        return normal_scores(xp, xp.take_along_axis(order, merge, -1), xp.take_along_axis(folded, merge, -1))
    ordered -= middle
    np.abs(ordered, out=ordered)
    merge = np.argsort(ordered, axis=-1, kind="stable")
    ordered[:] = _scores_of_sorted_numpy(_along_rows(np, ordered, merge))
    merged = _scatter(np, merge, ordered)
    return _scatter(np, order, merged)


def partly_sorted(xp: Any, x: Any, probs: tuple[float, ...]) -> Any:
    """Return rows ordered as far as `sorted_quantile` at `probs` needs: cheaper than a sort in NumPy."""
    if xp is not np:
        return xp.sort(x, axis=-1)
    n = x.shape[-1]
    below = {min(max(int(np.floor((n - 1) * prob)), 0), n - 1) for prob in probs}
    return np.partition(x, sorted(below | {min(k + 1, n - 1) for k in below}), axis=-1)


def sorted_quantile(ordered: Any, prob: float) -> Any:
    """Return the linearly interpolated quantile of sorted rows, to the last bit as `numpy.quantile` does."""
    n = ordered.shape[-1]
    position = (n - 1) * prob
    below = min(max(int(np.floor(position)), 0), n - 1)
    share = position - below
    low, high = ordered[..., below], ordered[..., min(below + 1, n - 1)]
    # the two branches of numpy's interpolation: equal to it in the last bit, so that `x <= quantile` agrees
    return high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share


def _middle(ordered: Any) -> Any:
    n = ordered.shape[-1]
    return (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2


def _scores_of_sorted_numpy(ordered: np.ndarray) -> np.ndarray:
    """Scores by position: one table for distinct values; equal values share the score of their mean rank."""
    n = ordered.shape[-1]
    table = _scores_of_ranks(n)
    equal = np.flatnonzero(ordered[..., 1:] == ordered[..., :-1])
    if not equal.size:
        return np.broadcast_to(table, ordered.shape)
    equal += equal // (n - 1)  # positions in all rows whose value the next one repeats
    first = np.flatnonzero(np.diff(equal, prepend=-2) > 1)
    start, more = equal[first], np.diff(first, append=equal.size)
    shared = _score(start % n + 1 + more / 2, n)
    scores = np.empty(ordered.shape)
    scores[...] = table
    scores.reshape(-1)[equal] = np.repeat(shared, more)
    scores.reshape(-1)[start + more] = shared
    return scores


@lru_cache(maxsize=2)
def _scores_of_ranks(n: int) -> np.ndarray:
    """Normal scores of the ranks 1, 2, ..., n."""
    scores = _score(np.arange(1.0, n + 1), n)
    scores.flags.writeable = False
    return scores


def _score(rank: np.ndarray, n: int) -> np.ndarray:
    """Normal scores of ranks among `n`, which it overwrites."""
    rank -= 3 / 8
    rank /= n + 1 / 4
    if rank.size > FEW or "scipy.special" in sys.modules:
        from scipy.special import ndtri

        return ndtri(rank, out=rank)
    # to double precision too, and sooner than SciPy is imported
    return np.array(list(map(NormalDist().inv_cdf, rank.tolist())))


def _scores_of_sorted_jax(xp: Any, ordered: Any) -> Any:
    """The same without data-dependent shapes: first and last position among equal values by scans."""
    n = ordered.shape[-1]
    position = xp.broadcast_to(xp.arange(n), ordered.shape)
    differs = ordered[..., 1:] != ordered[..., :-1]
    edge = xp.ones((*ordered.shape[:-1], 1), dtype=bool)
    axis = ordered.ndim - 1
    first = jax.lax.cummax(xp.where(xp.concatenate([edge, differs], -1), position, 0), axis=axis)
    last = jax.lax.cummin(xp.where(xp.concatenate([differs, edge], -1), position, n - 1), axis=axis, reverse=True)
    rank = (first + last).astype(ordered.dtype) / 2 + 1
    return jax.scipy.special.ndtri((rank - 3 / 8) / (n + 1 / 4))


def _along_rows(xp: Any, x: Any, index: Any) -> Any:
    """`take_along_axis`, row by row in NumPy: twice as fast."""
    if xp is not np:
        return xp.take_along_axis(x, index, axis=-1)
    out = np.empty_like(x)
    for row, places, to in zip(x, index, out, strict=True):
        np.take(row, places, out=to, mode="clip")
    return out


def _scatter(xp: Any, order: Any, values: Any) -> Any:
    if xp is not np:
        return xp.put_along_axis(xp.empty_like(values), order, values, axis=-1, inplace=False)
    out = np.empty(order.shape)
    for i, places in enumerate(order):
        out[i, places] = values[i]
    return out

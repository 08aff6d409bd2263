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


def sort_columns(xp: Any, x: Any) -> tuple[Any, Any]:
    """Return the order of each row of `x` and the sorted rows."""
    order = xp.argsort(x, axis=-1)
    return order, xp.take_along_axis(x, order, axis=-1)


def normal_scores(xp: Any, order: Any, ordered: Any) -> Any:
    """Return Blom's normal scores, `Phi^-1((r - 3/8) / (n + 1/4))` with average ranks `r`, in place.

    `order` and `ordered` come from `sort_columns`; the result has their shape.
    """
    scores = _scores_of_sorted_numpy(ordered) if xp is np else _scores_of_sorted_jax(xp, ordered)
    return _scatter(xp, order, scores)


def fold(xp: Any, order: Any, ordered: Any) -> tuple[Any, Any]:
    """Return order and sorted values of `|x - median(x)|`, from those of `x`.

    The sorted `x` folds into one falling and one rising run, which a stable sort merges in linear time.
    """
    folded = xp.abs(ordered - _middle(ordered)[..., None])
    merge = np.argsort(folded, axis=-1, kind="stable") if xp is np else xp.argsort(folded, axis=-1)
    return xp.take_along_axis(order, merge, axis=-1), xp.take_along_axis(folded, merge, axis=-1)


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
    table = _half_rank_scores(n)
    fresh = np.empty(ordered.shape, dtype=bool)
    fresh[..., 0] = True
    np.not_equal(ordered[..., 1:], ordered[..., :-1], out=fresh[..., 1:])
    if fresh.all():
        return np.broadcast_to(table[::2], ordered.shape)
    start = np.flatnonzero(fresh)
    size = np.diff(start, append=fresh.size)
    return np.repeat(table[2 * (start % n) + size - 1], size).reshape(ordered.shape)


@lru_cache(maxsize=4)
def _half_rank_scores(n: int) -> np.ndarray:
    """Normal scores of the ranks 1, 1.5, 2, ..., n: average ranks are multiples of a half."""
    p = (np.arange(2, 2 * n + 1) / 2 - 3 / 8) / (n + 1 / 4)
    if n > FEW or "scipy.special" in sys.modules:
        from scipy.special import ndtri

        scores = ndtri(p)
    else:  # to double precision too, and sooner than SciPy is imported
        scores = np.array([NormalDist().inv_cdf(x) for x in p])
    scores.flags.writeable = False
    return scores


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


def _scatter(xp: Any, order: Any, values: Any) -> Any:
    if xp is np:
        out = np.empty(order.shape)
        np.put_along_axis(out, order, values, axis=-1)
        return out
    return xp.put_along_axis(xp.empty_like(values), order, values, axis=-1, inplace=False)

"""Estimators of R-hat, effective sample size and Monte Carlo standard error for `(column, chain, draw)` arrays.

One formula for both libraries: `xp` is `numpy` or `jax.numpy`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mcmc.diagnostics import variances
from mcmc.diagnostics.autocorrelation import ess_of
from mcmc.diagnostics.ranks import folded_scores, normal_scores, partly_sorted, sort_columns, sorted_quantile


def rhat(xp: Any, x: Any, method: str) -> Any:
    """R-hat of each column by one of the methods of `stats.rhat`; NaN for one chain."""
    if x.shape[1] < 2:
        return xp.full(x.shape[0], xp.nan)
    return _worst_over_scales(xp, x, method, lambda y: variances.rhat_of(xp, *variances.chain_moments(y), y.shape[2]))


def nested_rhat(xp: Any, x: Any, method: str, groups: Any) -> Any:
    """Nested R-hat of each column; `groups` holds the chains of each superchain."""
    members = np.asarray(groups)
    if method != "identity":
        members = variances.split_groups(members)
    return _worst_over_scales(
        xp, x, method, lambda y: variances.nested_rhat_of(xp, *variances.chain_moments(y), members)
    )


def _worst_over_scales(xp: Any, x: Any, method: str, formula: Callable[[Any], Any]) -> Any:
    """Apply `formula` to the draws as `method` wants them: as they are, split, by rank, or folded."""
    if method == "identity":
        return formula(x)
    halves = variances.split(xp, x)
    if method == "split":
        return formula(halves)
    order, ordered = sort_columns(xp, halves.reshape(x.shape[0], -1))

    bulk = None if method == "folded" else formula(normal_scores(xp, order, ordered).reshape(halves.shape))
    if method == "bulk":
        return bulk
    folded = formula(folded_scores(xp, order, ordered).reshape(halves.shape))
    return folded if bulk is None else xp.where(folded > bulk, folded, bulk)


def ess(xp: Any, x: Any, method: str, prob: Any) -> Any:
    """The effective sample size of each column by one of the methods of `stats.ess`."""
    columns = x.shape[0]
    x = xp.ldexp(x, -exponent_of(xp, x)[:, None, None])
    if method == "identity":
        return ess_of(xp, x)
    if method == "mean":
        return ess_of(xp, variances.split(xp, x))
    if method == "sd":
        square = (x - x.mean(axis=(1, 2), keepdims=True)) ** 2
        return ess_of(xp, variances.split(xp, square))
    if method == "bulk":
        halves = variances.split(xp, x)
        scores = normal_scores(xp, *sort_columns(xp, halves.reshape(columns, -1)))
        return ess_of(xp, scores.reshape(halves.shape))
    levels = prob if isinstance(prob, tuple) else (prob,)
    ordered = partly_sorted(xp, x.reshape(columns, -1), levels)
    if method == "local":
        low, high = (sorted_quantile(ordered, p)[:, None, None] for p in levels)
        return ess_of(xp, variances.split(xp, ((low <= x) & (x <= high)).astype(x.dtype)))
    if method == "tail":
        low, high = (ess_of_quantile(xp, x, ordered, p) for p in levels)
        return xp.where(high < low, high, low)
    return ess_of_quantile(xp, x, ordered, levels[0])


def exponent_of(xp: Any, x: Any) -> Any:
    """Powers of two by which to divide columns whose powers would overflow or vanish; 0 for all others."""
    reach = xp.maximum(x.max(axis=(1, 2)), -x.min(axis=(1, 2)))
    large = 1e70 if x.dtype == np.float64 else 1e8
    far = ((reach > large) | (reach < 1 / large)) & xp.isfinite(reach)
    return xp.where(far, xp.frexp(reach)[1], 0)


def ess_of_quantile(xp: Any, x: Any, ordered: Any, prob: float) -> Any:
    """ESS of the share of draws up to the `prob` quantile; `ordered` holds the sorted columns of `x`."""
    quantile = sorted_quantile(ordered, prob)[:, None, None]
    return ess_of(xp, variances.split(xp, (x <= quantile).astype(x.dtype)))


def mcse(xp: Any, x: Any, method: str, prob: float) -> Any:
    """The Monte Carlo standard error of each column's mean, sd or quantile."""
    exponent = exponent_of(xp, x)
    return xp.ldexp(_mcse(xp, xp.ldexp(x, -exponent[:, None, None]), method, prob), exponent)


def _mcse(xp: Any, x: Any, method: str, prob: float) -> Any:
    if method == "mean":
        return x.std(axis=(1, 2), ddof=1) / xp.sqrt(ess(xp, x, "mean", None))
    if method == "sd":
        square = (x - x.mean(axis=(1, 2), keepdims=True)) ** 2
        return mcse_sd_of(xp, square, ess_of(xp, variances.split(xp, square)))
    ordered = xp.sort(x.reshape(x.shape[0], -1), axis=-1)
    return mcse_quantile_of(xp, ordered, ess_of_quantile(xp, x, ordered, prob), prob)


def mcse_quantile_of(xp: Any, ordered: Any, effective: Any, prob: float) -> Any:
    """MCSE of a quantile from sorted columns and the ESS of the share below it: half of a 68 % interval."""
    size = ordered.shape[-1]
    a, b = effective * prob + 1, effective * (1 - prob) + 1
    low, high = (_beta_quantile(xp, p, a, b) * size - 1 for p in (0.1586553, 0.8413447))  # -1 and +1 sd
    low = xp.maximum(xp.floor(low), 0).astype(int)[:, None]
    high = xp.minimum(xp.ceil(high), size - 1).astype(int)[:, None]
    width = xp.take_along_axis(ordered, high, axis=-1) - xp.take_along_axis(ordered, low, axis=-1)
    return width[:, 0] / 2


def mcse_sd_of(xp: Any, square: Any, effective: Any) -> Any:
    """MCSE of the sd from squared deviations `(column, chain, draw)` and their effective sample size."""
    variance = square.mean(axis=(1, 2))
    fourth = (square**2).mean(axis=(1, 2))
    return xp.sqrt((fourth - variance**2) / effective / variance / 4)


def _beta_quantile(xp: Any, prob: float, a: Any, b: Any) -> Any:
    if xp is np:
        from scipy.special import betaincinv

        return betaincinv(a, b, prob)

    def halve(_: int, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = ends
        middle = (low + high) / 2
        above = jax.scipy.special.betainc(a, b, middle) > prob
        return xp.where(above, low, middle), xp.where(above, middle, high)

    steps = 60 if a.dtype == np.float64 else 30
    low, high = jax.lax.fori_loop(0, steps, halve, (xp.zeros_like(a), xp.ones_like(a)))
    return (low + high) / 2


def ess_chain_means(xp: Any, x: Any) -> Any:
    """The effective sample size of each column's mean from the variance of the chain means."""
    return ess_from_chain_means(xp, x.mean(axis=-1), x.var(axis=(1, 2), ddof=1), x.shape[2])


def ess_from_chain_means(xp: Any, mean: Any, variance: Any, draws: float) -> Any:
    """`C variance / var(means)`, from `(column, chain)` means and each column's overall variance."""
    chains = mean.shape[1]
    if chains < 2:
        return xp.full(mean.shape[0], xp.nan)
    size = chains * draws
    effective = chains * variance / mean.var(axis=-1, ddof=1)
    effective = xp.where(variance == 0, 1.0 * size, effective)
    return xp.minimum(effective, size * np.log10(size))

"""ArviZ with our statistics: a module for `arviz.rcParams["stats.module"]`, its official plug-in point.

    import arviz, mcmc.diagnostics.arviz_plugin
    arviz.rcParams["stats.module"] = mcmc.diagnostics.arviz_plugin
    arviz.summary(draws)  # the same numbers, several times as fast, in little memory

ArviZ takes `array_stats` and `dataarray_stats` from such a module. Ours are its own classes, with `ess`, `rhat`,
`mcse` and `eti` of ordinary draws by our code; all else, and every case that we do not have, is ArviZ's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from arviz_stats.base.array import BaseArray
from arviz_stats.base.dataarray import BaseDataArray

from mcmc.diagnostics import stats
from mcmc.diagnostics.arrays import MIN_DRAWS, each_block
from mcmc.diagnostics.ranks import partly_sorted, sorted_quantile

__all__ = ["FastArray", "array_stats", "dataarray_stats", "eti", "rhat"]

RHAT: dict[str, stats.RhatMethod] = {
    "rank": "rank",
    "folded": "folded",
    "z_scale": "bulk",
    "split": "split",
    "identity": "identity",
}
ESS = ("bulk", "tail", "mean", "sd", "median", "quantile", "local", "identity")


class FastArray(BaseArray):
    """ArviZ's statistics of arrays, those of draws vectorised over all columns.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(4, 500, 3))
        >>> bool(np.allclose(FastArray().rhat(x, 0, 1), BaseArray().rhat(x, 0, 1), rtol=1e-12))
        True
    """

    def ess(
        self,
        ary: Any,
        chain_axis: Any = -2,
        draw_axis: int = -1,
        method: Any = "bulk",
        relative: bool = False,
        prob: Any = None,
    ) -> Any:
        """Effective sample size, as ArviZ defines its arguments."""
        draws = None if relative or method not in ESS else _draws(ary, chain_axis, draw_axis)
        if draws is None or (prob is None and method in ("tail", "quantile", "local")):
            return super().ess(ary, chain_axis, draw_axis, method, relative, prob)
        return stats.ess(draws, method, *(() if prob is None else (prob,)))

    def rhat(self, ary: Any, chain_axis: Any = -2, draw_axis: int = -1, method: str = "rank") -> Any:
        """R-hat, as ArviZ defines its arguments."""
        draws = _draws(ary, chain_axis, draw_axis) if method in RHAT else None
        if draws is None:
            return super().rhat(ary, chain_axis, draw_axis, method)
        return stats.rhat(draws, RHAT[method])

    def mcse(
        self,
        ary: Any,
        chain_axis: Any = -2,
        draw_axis: int = -1,
        method: Any = "mean",
        prob: Any = None,
        circular: bool = False,
    ) -> Any:
        """Monte Carlo standard error, as ArviZ defines its arguments."""
        draws = None if circular or method not in stats.MCSE_METHODS else _draws(ary, chain_axis, draw_axis)
        if draws is None or (prob is None) == (method == "quantile"):
            return super().mcse(ary, chain_axis, draw_axis, method, prob, circular)
        return stats.mcse(draws, method, prob)

    def eti(
        self,
        ary: Any,
        prob: float,
        axis: Any = -1,
        method: str = "linear",
        skipna: bool = False,
        weights: Any = None,
    ) -> Any:
        """Equal-tailed interval: NumPy's quantiles to the last bit, a few columns at a time."""
        axes = np.atleast_1d(axis).tolist() if axis is not None else []
        usual = method == "linear" and not skipna and weights is None and np.ndim(prob) == 0 and len(axes) == 2
        draws = _draws(ary, *axes) if usual else None
        if draws is None:
            everything: Any = axis  # ArviZ takes None and sequences too
            return super().eti(ary, prob, axis=everything, method=method, skipna=skipna, weights=weights)
        tail = (1 - prob) / 2
        return _quantiles(draws, (tail, 1 - tail))


def _draws(ary: Any, chain_axis: Any, draw_axis: int) -> np.ndarray | None:
    """The array as `(chain, draw, ...)`; None for what ArviZ is to judge: no chains, few draws, no real numbers."""
    ary = np.asarray(ary)
    if chain_axis is None or ary.dtype.kind not in "biuf" or ary.ndim < 2:
        return None
    draws = np.moveaxis(ary, (chain_axis, draw_axis), (0, 1))
    return draws if draws.shape[1] >= MIN_DRAWS and draws.size else None


def _quantiles(draws: np.ndarray, probs: tuple[float, float]) -> np.ndarray:
    """Quantiles `(..., 2)`; NaN where a draw is NaN."""
    out = np.empty((int(np.prod(draws.shape[2:])), len(probs)))

    def work(part: slice, block: np.ndarray) -> None:
        columns = block.reshape(len(block), -1)
        bad = np.isnan(columns.min(axis=-1))
        ordered = partly_sorted(np, columns, probs)
        out[part] = np.stack([sorted_quantile(ordered, p) for p in probs], axis=-1)
        out[part][bad] = np.nan

    each_block((work, draws))
    return out.reshape(*draws.shape[2:], len(probs))


array_stats = FastArray()
dataarray_stats = BaseDataArray(array_class=array_stats)
eti: Callable[..., Any] = dataarray_stats.eti
rhat: Callable[..., Any] = dataarray_stats.rhat

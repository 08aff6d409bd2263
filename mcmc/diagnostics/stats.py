"""R-hat, effective sample size and Monte Carlo standard error of `(chain, draw, ...)` draws and of trees.

Equal to ArviZ's `array_stats` to rounding, for all trailing dimensions at once, on NumPy and (under `jit`
too) on JAX arrays. A column with a NaN draw gives NaN.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from mcmc.diagnostics import variances
from mcmc.diagnostics.arrays import by_columns, over_tree
from mcmc.diagnostics.autocorrelation import ess_of
from mcmc.diagnostics.ranks import folded_scores, normal_scores, partly_sorted, sort_columns, sorted_quantile

RHAT_METHODS = ("rank", "bulk", "folded", "split", "identity")
ESS_METHODS = ("bulk", "tail", "mean", "sd", "median", "quantile", "local", "identity")
MCSE_METHODS = ("mean", "sd", "median", "quantile")


def rhat(x: Any, method: str = "rank") -> Any:
    r"""Return R-hat, the potential scale reduction: do the chains agree with each other? Good: at most 1.01.

    .. math:: \hat R = \sqrt{\frac{n - 1}{n} + \frac{B}{n W}}

    with `B / n` the variance of the means and `W` the mean of the variances of the chains, each split in two
    halves.

    Args:
        x: draws `(chain, draw, ...)`, NumPy or JAX; or a mapping of such; or a DataTree (its `posterior`) or
            Dataset.
        method: `"rank"`, the larger of the next two; `"bulk"`, of the draws' normal scores; `"folded"`, of
            those of their distance from the median, which sees unequal scales; `"split"`, of the draws
            themselves; `"identity"`, without splitting the chains.

    Returns:
        An array of shape `x.shape[2:]`, or a dict or Dataset of such. NaN for one chain, or where a draw is
        NaN.

    Raises:
        ValueError: fewer than 4 draws, fewer than two axes, or an unknown method.
        TypeError: draws that are not real numbers.

    Source: Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Bayesian Analysis 16(2), arXiv:1903.08008.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(4, 500, 2))
        >>> x[0, :, 1] += 1  # one chain elsewhere
        >>> np.round(rhat(x), 2).tolist()
        [1.0, 1.1]
    """
    _known("method", method, RHAT_METHODS)
    return over_tree(partial(_apply, _rhat, method=method), x)


def ess(x: Any, method: str = "bulk", prob: float | Sequence[float] = (0.05, 0.95)) -> Any:
    r"""Return the effective sample size: how many independent draws would estimate as precisely.

    .. math:: \mathrm{ESS} = \frac{S}{\hat\tau}, \qquad \hat\tau = -1 + 2 \sum_t \hat\rho_t

    over the `S` draws of all chains, the sum cut by Geyer's initial positive and monotone sequences.

    Args:
        x: draws, as in `rhat`.
        method: `"bulk"`, of the draws' normal scores; `"tail"`, the smaller of the two quantiles' in `prob`;
            `"mean"`, `"sd"`, `"median"`, `"quantile"` (at `prob`, one float), of those estimates; `"local"`,
            of the share of draws between the quantiles `prob`; `"identity"`, of the mean without splitting
            the chains.
        prob: for `"tail"` and `"local"` two probabilities (one `p` stands for `p, 1 - p` in `"tail"`); for
            `"quantile"` one.

    Returns:
        An array of shape `x.shape[2:]`, or a dict or Dataset of such. A column without variation counts every
        draw (a constant is known exactly), so judge it together with R-hat.

    Raises:
        ValueError: fewer than 4 draws, fewer than two axes, an unknown method, or `prob` outside (0, 1).
        TypeError: draws that are not real numbers.

    Source: Vehtari et al. (2021), arXiv:1903.08008; Geyer (1992), Statistical Science 7(4).

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(4, 500))
        >>> bool(1500 < ess(x) < 2500)
        True
    """
    _known("method", method, ESS_METHODS)
    return over_tree(partial(_apply, _ess, method=method, prob=_probabilities(method, prob)), x)


def mcse(x: Any, method: str = "mean", prob: float | None = None) -> Any:
    r"""Return the Monte Carlo standard error of an estimate from the draws.

    .. math:: \mathrm{MCSE}_{mean} = \frac{sd(x)}{\sqrt{\mathrm{ESS}_{mean}}}

    Args:
        x: draws, as in `rhat`.
        method: of the `"mean"`, the `"sd"`, the `"median"`, or the `"quantile"` at `prob`.
        prob: the quantile's probability, in (0, 1).

    Returns:
        An array of shape `x.shape[2:]`, or a dict or Dataset of such, in the units of `x`.

    Raises:
        ValueError: fewer than 4 draws, fewer than two axes, an unknown method, or no `prob` for a quantile.
        TypeError: draws that are not real numbers.

    Source: Vehtari et al. (2021), arXiv:1903.08008, section 4.4; for the sd, Kenney and Keeping (1951).

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(4, 2500))
        >>> bool(0.008 < mcse(x) < 0.012)
        True
    """
    _known("method", method, MCSE_METHODS)
    return over_tree(partial(_apply, _mcse, method=method, prob=_probabilities(method, prob)), x)


def nested_rhat(x: Any, superchains: Any = None, method: str = "rank") -> Any:
    r"""Return nested R-hat: do groups of chains that share a start agree? For many short chains.

    .. math:: \hat R_\nu = \sqrt{1 + \hat B_\nu / \hat W_\nu}

    with `B` the variance of the superchains' means and `W` the mean over superchains of the variance within
    chains plus the variance between their chains. A chain need not be long enough to be judged by itself; but
    superchains whose chains do not share a start see nothing.

    Args:
        x: draws, as in `rhat`.
        superchains: one label a chain, in groups of equal size; of a DataTree, `run_state["superchain"]` by
            default.
        method: as in `rhat`.

    Returns:
        An array of shape `x.shape[2:]`, or a dict or Dataset of such. At best `sqrt(1 + 1 / (M N))`, for `M`
        chains of `N` independent draws a superchain.

    Raises:
        ValueError: superchains of unequal size, fewer than two, or not one label a chain; and as in `rhat`.
        TypeError: labels that are traced by JAX: they decide shapes.

    Source: Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari, Gelman (2024), Bayesian Analysis,
    arXiv:2110.13017.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(64, 10))
        >>> bool(nested_rhat(x, superchains=np.arange(64) // 16) < 1.01)
        True
    """
    _known("method", method, RHAT_METHODS)
    labels = _recorded_superchains(x) if superchains is None else superchains

    def one(draws: Any) -> Any:
        groups = variances.superchain_groups(labels, draws.shape[0])
        # tuples, because compiled programs are kept by their static arguments
        return _apply(_nested_rhat, draws, method=method, groups=tuple(map(tuple, groups.tolist())))

    return over_tree(one, x)


def ess_chain_means(x: Any) -> Any:
    r"""Return the effective sample size of the mean from the spread of the chains' means alone.

    .. math:: \mathrm{ESS} = \frac{C \, s^2(x)}{s^2(\bar x_1, \ldots, \bar x_C)}

    Right for chains of any length, also those shorter than their autocorrelation, where a sum of
    autocorrelations can't be: but only as precise as a variance from `C` chains, a relative error of `sqrt(2
    / (C - 1))`.

    Args:
        x: draws, as in `rhat`.

    Returns:
        An array of shape `x.shape[2:]`, or a dict or Dataset of such; at most `S log10(S)`, as in `ess`. NaN
        for one chain.

    Raises:
        ValueError: fewer than 4 draws or fewer than two axes.
        TypeError: draws that are not real numbers.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(1000, 1, 1)).repeat(20, axis=1)  # stuck
        >>> 999 < float(ess_chain_means(x)[0]) < 1001
        True
    """
    return over_tree(partial(_apply, _ess_chain_means), x)


# --- on (column, chain, draw) -----------------------------------------------------------------------------


def _apply(statistic: Callable[..., Any], x: Any, **settings: Any) -> Any:
    if isinstance(x, jax.Array):
        return _compiled(statistic, x, tuple(sorted(settings.items())))
    return by_columns(partial(statistic, **settings), x)


@partial(jax.jit, static_argnums=(0, 2))
def _compiled(statistic: Callable[..., Any], x: Any, settings: tuple) -> Any:
    return by_columns(partial(statistic, **dict(settings)), x)


def _rhat(xp: Any, x: Any, method: str) -> Any:
    if x.shape[1] < 2:
        return xp.full(x.shape[0], xp.nan)
    return _worst_over_scales(xp, x, method, lambda y: variances.rhat_of(xp, *variances.chain_moments(y), y.shape[2]))


def _nested_rhat(xp: Any, x: Any, method: str, groups: Any) -> Any:
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


def _ess(xp: Any, x: Any, method: str, prob: Any) -> Any:
    columns = x.shape[0]
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


def ess_of_quantile(xp: Any, x: Any, ordered: Any, prob: float) -> Any:
    """ESS of the share of draws up to the `prob` quantile; `ordered` holds the sorted columns of `x`."""
    quantile = sorted_quantile(ordered, prob)[:, None, None]
    return ess_of(xp, variances.split(xp, (x <= quantile).astype(x.dtype)))


def _mcse(xp: Any, x: Any, method: str, prob: float) -> Any:
    if method == "mean":
        return x.std(axis=(1, 2), ddof=1) / xp.sqrt(_ess(xp, x, "mean", None))
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


def _ess_chain_means(xp: Any, x: Any) -> Any:
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


# --- arguments --------------------------------------------------------------------------------------------


def _known(name: str, got: str, expected: tuple[str, ...]) -> None:
    if got not in expected:
        raise ValueError(f"{name} is {got!r}; expected one of {', '.join(map(repr, expected))}: choose one of them.")


def _probabilities(method: str, prob: Any) -> Any:
    """Check `prob` for `method`: a float, a sorted pair of them, or None where the method takes none."""
    if method not in ("tail", "local", "quantile"):
        return 0.5 if method == "median" else None
    pair = method != "quantile"
    values = np.asarray(np.nan if prob is None else prob, dtype=float)
    if method == "tail" and values.ndim == 0:
        values = np.array([values, 1 - values])
    if values.shape != ((2,) if pair else ()) or not ((values > 0) & (values < 1)).all():
        expected = "two probabilities in (0, 1)" if pair else "one probability in (0, 1)"
        raise ValueError(f"prob is {prob!r}; expected {expected}: method={method!r} needs it, as prob=...")
    return tuple(sorted(values.tolist())) if pair else float(values)


def _recorded_superchains(x: Any) -> Any:
    """Return the superchains that a tree recorded in its run_state; without them, say what is missing."""
    try:
        return np.asarray(x["run_state"]["superchain"])
    except (KeyError, TypeError, IndexError):
        raise ValueError(
            "superchains is None and x records none in run_state; expected one label a chain: give the "
            "groups of chains that shared a start (independent starts, grouped afterwards, see nothing)."
        ) from None

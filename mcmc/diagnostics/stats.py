"""R-hat, effective sample size and Monte Carlo standard error of `(chain, draw, ...)` draws and of trees.

Equal to ArviZ's `array_stats` to rounding, vectorised over all trailing dimensions, on NumPy and (under `jit`
too) on JAX arrays. A column with a NaN draw gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

import jax
import numpy as np

from mcmc.diagnostics import estimators, variances
from mcmc.diagnostics.arrays import by_columns, over_tree
from mcmc.errors import WrongValue

if TYPE_CHECKING:
    import xarray
    from numpy.typing import ArrayLike

type RhatMethod = Literal["rank", "bulk", "folded", "split", "identity"]
type EssMethod = Literal["bulk", "tail", "mean", "sd", "median", "quantile", "local", "identity"]
type McseMethod = Literal["mean", "sd", "median", "quantile"]

RHAT_METHODS = ("rank", "bulk", "folded", "split", "identity")
ESS_METHODS = ("bulk", "tail", "mean", "sd", "median", "quantile", "local", "identity")
MCSE_METHODS = ("mean", "sd", "median", "quantile")


@overload
def rhat(x: jax.Array, method: RhatMethod = "rank") -> jax.Array: ...
@overload
def rhat(x: Mapping[str, ArrayLike], method: RhatMethod = "rank") -> dict[str, Any]: ...
@overload
def rhat(x: xarray.DataTree | xarray.Dataset, method: RhatMethod = "rank") -> xarray.Dataset: ...
@overload
def rhat(x: ArrayLike, method: RhatMethod = "rank") -> np.ndarray: ...
def rhat(x: ArrayLike | Mapping[str, ArrayLike] | xarray.Dataset | xarray.DataTree, method: RhatMethod = "rank") -> Any:
    r"""Return R-hat, the potential scale reduction: do the chains agree with each other? Good: at most 1.01.

    .. math:: \hat R = \sqrt{\frac{n - 1}{n} + \frac{B}{n W}}

    with `B / n` the variance of the means and `W` the mean of the variances of the chains, each split in two
    halves.

    Args:
        x: draws `(chain, draw, ...)`, NumPy or JAX; or a mapping of such; or a DataTree (its `posterior`) or
            Dataset.
        method: `"rank"`, the larger of the next two; `"bulk"`, of the draws' normal scores; `"folded"`, of
            those of their distance from the median, which detects unequal scales; `"split"`, of the draws
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
    return over_tree(partial(_apply, estimators.rhat, method=method), x)


@overload
def ess(x: jax.Array, method: EssMethod = "bulk", prob: float | Sequence[float] = (0.05, 0.95)) -> jax.Array: ...
@overload
def ess(
    x: Mapping[str, ArrayLike], method: EssMethod = "bulk", prob: float | Sequence[float] = (0.05, 0.95)
) -> dict[str, Any]: ...
@overload
def ess(
    x: xarray.DataTree | xarray.Dataset, method: EssMethod = "bulk", prob: float | Sequence[float] = (0.05, 0.95)
) -> xarray.Dataset: ...
@overload
def ess(x: ArrayLike, method: EssMethod = "bulk", prob: float | Sequence[float] = (0.05, 0.95)) -> np.ndarray: ...
def ess(
    x: ArrayLike | Mapping[str, ArrayLike] | xarray.Dataset | xarray.DataTree,
    method: EssMethod = "bulk",
    prob: float | Sequence[float] = (0.05, 0.95),
) -> Any:
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
    return over_tree(partial(_apply, estimators.ess, method=method, prob=_probabilities(method, prob)), x)


@overload
def mcse(x: jax.Array, method: McseMethod = "mean", prob: float | None = None) -> jax.Array: ...
@overload
def mcse(x: Mapping[str, ArrayLike], method: McseMethod = "mean", prob: float | None = None) -> dict[str, Any]: ...
@overload
def mcse(
    x: xarray.DataTree | xarray.Dataset, method: McseMethod = "mean", prob: float | None = None
) -> xarray.Dataset: ...
@overload
def mcse(x: ArrayLike, method: McseMethod = "mean", prob: float | None = None) -> np.ndarray: ...
def mcse(
    x: ArrayLike | Mapping[str, ArrayLike] | xarray.Dataset | xarray.DataTree,
    method: McseMethod = "mean",
    prob: float | None = None,
) -> Any:
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
    return over_tree(partial(_apply, estimators.mcse, method=method, prob=_probabilities(method, prob)), x)


@overload
def nested_rhat(x: jax.Array, superchains: ArrayLike | None = None, method: RhatMethod = "rank") -> jax.Array: ...
@overload
def nested_rhat(
    x: Mapping[str, ArrayLike], superchains: ArrayLike | None = None, method: RhatMethod = "rank"
) -> dict[str, Any]: ...
@overload
def nested_rhat(
    x: xarray.DataTree | xarray.Dataset, superchains: ArrayLike | None = None, method: RhatMethod = "rank"
) -> xarray.Dataset: ...
@overload
def nested_rhat(x: ArrayLike, superchains: ArrayLike | None = None, method: RhatMethod = "rank") -> np.ndarray: ...
def nested_rhat(
    x: ArrayLike | Mapping[str, ArrayLike] | xarray.Dataset | xarray.DataTree,
    superchains: ArrayLike | None = None,
    method: RhatMethod = "rank",
) -> Any:
    r"""Return nested R-hat: do groups of chains that share a start agree? For many short chains.

    .. math:: \hat R_\nu = \sqrt{1 + \hat B_\nu / \hat W_\nu}

    with `B` the variance of the superchains' means and `W` the mean over superchains of the variance within
    chains plus the variance between their chains. A chain need not be long enough to be judged by itself; but
    superchains whose chains do not share a start show nothing.

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
        return _apply(estimators.nested_rhat, draws, method=method, groups=tuple(map(tuple, groups.tolist())))

    return over_tree(one, x)


@overload
def ess_chain_means(x: jax.Array) -> jax.Array: ...
@overload
def ess_chain_means(x: Mapping[str, ArrayLike]) -> dict[str, Any]: ...
@overload
def ess_chain_means(x: xarray.DataTree | xarray.Dataset) -> xarray.Dataset: ...
@overload
def ess_chain_means(x: ArrayLike) -> np.ndarray: ...
def ess_chain_means(x: ArrayLike | Mapping[str, ArrayLike] | xarray.Dataset | xarray.DataTree) -> Any:
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
    return over_tree(partial(_apply, estimators.ess_chain_means), x)


def _apply(statistic: Callable[..., Any], x: Any, **settings: Any) -> Any:
    if isinstance(x, jax.Array):
        return _compiled(statistic, x, tuple(sorted(settings.items())))
    return by_columns(partial(statistic, **settings), x)


@partial(jax.jit, static_argnums=(0, 2))
def _compiled(statistic: Callable[..., Any], x: Any, settings: tuple) -> Any:
    return by_columns(partial(statistic, **dict(settings)), x)


# --- arguments --------------------------------------------------------------------------------------------


def _known(name: str, got: str, expected: tuple[str, ...]) -> None:
    if got not in expected:
        raise WrongValue.told(
            "x", f"{name} is {got!r}; expected one of {', '.join(map(repr, expected))}: choose one of them."
        )


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
        raise WrongValue.told("x", f"prob is {prob!r}; expected {expected}: method={method!r} needs it, as prob=...")
    return tuple(sorted(values.tolist())) if pair else float(values)


def _recorded_superchains(x: Any) -> Any:
    """Return the superchains that a tree recorded in its run_state; without them, say what is missing."""
    try:
        return np.asarray(x["run_state"]["superchain"])
    except (KeyError, TypeError, IndexError):
        raise WrongValue.told(
            "x",
            "superchains is None and x records none in run_state; expected one label a chain: give the "
            "groups of chains that shared a start (independent starts, grouped afterwards, see nothing).",
        ) from None

"""Multivariate effective sample size, of all parameters jointly: `multivariate_ess(x)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mcmc.diagnostics.arrays import as_draws
from mcmc.diagnostics.inputs import groups_of, posterior_variables
from mcmc.errors import WrongValue

if TYPE_CHECKING:
    import xarray
    from numpy.typing import ArrayLike

BATCHES = 2
"""Batches in all, as a multiple of the parameters, below which their covariance is not estimated."""


def multivariate_ess(
    x: ArrayLike | Mapping[str, ArrayLike] | xarray.Dataset | xarray.DataTree, *, batch: int | None = None
) -> float:
    r"""Return the multivariate effective sample size: how many independent draws place the mean vector as well.

    .. math:: \mathrm{mESS} = S \left( \frac{|\Lambda|}{|\Sigma|} \right)^{1/p}

    over the `S` draws of all chains, with `Lambda` the covariance of the `p` scalar parameters and `Sigma` the
    covariance of the Markov chain central limit theorem, estimated by batch means: the sum over batches of squared
    deviations of their means from the mean of all chains, times the batch length. Batches of chains that disagree
    differ too, so a bad mix lowers it. It counts all directions jointly, also those that no single parameter shows.

    Args:
        x: draws `(chain, draw, ...)`; or a mapping, Dataset or DataTree of such, whose variables are taken together.
            Scalar parameters without variation are left out.
        batch: draws in a batch. None: `n ** 0.6` of the `n` draws of a chain, or fewer where there would not be 10 p
            batches. Batches shorter than some autocorrelation times make it too large, few of them make it noisy: by
            about `sqrt(2 / (p K))` for `K` batches.

    Returns:
        One number, at most `S log10(S)`, as `ess`.

    Raises:
        ValueError: too few draws: fewer than `2 p` batches in all; a batch that is not in `1 ... draws`; a draw that
            is not finite; parameters that are functions of each other; nothing that varies.
        TypeError: draws that are not real numbers.

    Source: Vats, Flegal and Jones (2019), Biometrika 106(2), arXiv:1512.07713; for several chains, Gupta and Vats
    (2020), arXiv:2009.01799.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(4, 2500, 3))
        >>> bool(8_500 < multivariate_ess(x) < 11_500)
        True
    """
    draws = matrix_of(x)
    draws = draws[:, :, draws.min(axis=(0, 1)) < draws.max(axis=(0, 1))]
    chains, n, p = draws.shape
    if not p:
        raise WrongValue("x", "no parameter that varies", "at least one", "Leave constants out.")
    length = min(int(n**0.6), max(1, chains * n // (5 * BATCHES * p))) if batch is None else batch
    if not (isinstance(length, int) and 1 <= length <= n):
        raise WrongValue("batch", batch, f"a whole number from 1 to {n}", "Leave it out.")
    count = n // length
    if chains * count < BATCHES * p:
        found = f"{chains * count} batches of {length} draws for {p} parameters"
        raise WrongValue("x", found, f"at least {BATCHES * p} batches", "Draw more, or leave batch out.")
    scale = draws.std(axis=(0, 1))
    draws = (draws - draws.mean(axis=(0, 1))) / scale
    flat = draws.reshape(-1, p)
    means = draws[:, : count * length].reshape(chains * count, length, p).mean(axis=1)
    means = means - means.mean(axis=0)
    within = flat.T @ flat / (len(flat) - 1)
    limit = length * means.T @ means / (len(means) - 1)
    (sign_a, log_a), (sign_b, log_b) = np.linalg.slogdet(within), np.linalg.slogdet(limit)
    if sign_a <= 0 or sign_b <= 0 or np.linalg.cond(within) > 1e12:
        remedy = "Leave out those that follow from the others (the last of a simplex, half of a correlation matrix)."
        raise WrongValue("x", "parameters that are functions of each other", "free ones", remedy)
    size = chains * n
    return float(min(size * np.exp((log_a - log_b + _log_det_bias(len(means), p)) / p), size * np.log10(size)))


def _log_det_bias(count: int, p: int) -> float:
    """Expected log determinant of the covariance of `count` independent normal `p`-vectors, less the true one."""
    from scipy.special import digamma

    return float(digamma((count - np.arange(1, p + 1)) / 2).sum() + p * np.log(2 / (count - 1)))


def matrix_of(x: Any, min_draws: int = 4) -> np.ndarray:
    """All scalar parameters as one float64 array `(chain, draw, column)`; what is not finite is a ValueError."""
    if isinstance(x, list | np.ndarray | jax.Array):
        arrays = [np.asarray(as_draws(x, min_draws=min_draws))]
    else:
        groups = groups_of({"posterior": x} if isinstance(x, Mapping) and "posterior" not in x else x)
        arrays = [
            np.asarray(as_draws(variable.array.values, variable.name, min_draws))
            for variable in posterior_variables(groups["posterior"])[0]
        ]
    draws = np.concatenate([a.reshape(*a.shape[:2], -1).astype(np.float64) for a in arrays], axis=-1)
    if not np.isfinite(draws).all():
        raise WrongValue("x", "draws that are NaN or infinite", "finite draws", "See mcmc.diagnose for where.")
    return draws

"""R*: convergence by a classifier that predicts which chain a draw is from: `rstar(x)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from mcmc.diagnostics.multivariate import matrix_of
from mcmc.errors import WrongValue, got, how_to_install

if TYPE_CHECKING:
    import xarray
    from numpy.typing import ArrayLike

SHARE = 0.3
"""Share of the draws that the classifier is judged on."""


class Classifier(Protocol):
    """A classifier as scikit-learn has them."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Any:
        """Train on the rows of `X` with the classes `y`."""
        ...

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """The probability of every class for each row."""
        ...


class RStar(NamedTuple):
    """What `rstar` found: 1 is chance, the number of chains is certainty."""

    mean: float
    """R*: how many times better than chance a classifier names the chain of a draw that it was not trained on."""
    low: float
    """Lower end of the interval in which 90 % of the classifier's own uncertainty lies."""
    high: float
    """Its upper end."""

    @property
    def ok(self) -> bool:
        """Whether 1, no better than chance, is within the interval or above it."""
        return self.low <= 1.0


def rstar(
    x: ArrayLike | Mapping[str, ArrayLike] | xarray.Dataset | xarray.DataTree,
    *,
    split: bool = True,
    seed: int = 0,
    samples: int = 1000,
    classifier: Classifier | None = None,
) -> RStar:
    r"""Return R*, which detects any difference between chains in all parameters jointly, by a classifier.

    .. math:: R^* = C \cdot \frac{1}{T} \sum_t 1[\hat c_t = c_t]

    over `T` draws that the classifier was not trained on, `C` chains and the class `c_hat` drawn from the
    probabilities that it gives each draw, many times, so that its uncertainty shows. Near 1: chains are alike.
    Blocks of draws, not single ones, are left out for judging, so that neighbours of a judged draw do not give its
    chain away. It takes a fit, seconds for 10 parameters, and trees find no differences that are small against the
    noise: beside R-hat, not instead of it.

    Args:
        x: draws `(chain, draw, ...)`; or a mapping, Dataset or DataTree of such, whose variables are taken together.
        split: take the halves of each chain as chains, so that a drift shows, and one chain can be judged.
        seed: of the classifier and of the classes drawn from it.
        samples: how often classes are drawn.
        classifier: anything with `fit` and `predict_proba`; None: scikit-learn's random
            forest of 100 trees.

    Returns:
        An `RStar`: `mean`, `low`, `high`, `ok`.

    Raises:
        ImportError: no scikit-learn (the extra `rstar`) and no classifier given.
        ValueError: fewer than 20 draws a chain, one chain without `split`, draws that are not finite.
        TypeError: draws that are not real numbers.

    Source: Lambert and Vehtari (2022), Bayesian Analysis 17(2), arXiv:2003.07900.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(2, 200, 2))
        >>> x[1] += 3
        >>> rstar(x, split=False).mean > 1.8
        True
    """
    draws = matrix_of(x, min_draws=20)
    if split:
        half = draws.shape[1] // 2
        draws = np.concatenate([draws[:, :half], draws[:, -half:]])
    chains, n, p = draws.shape
    if chains < 2:
        raise WrongValue("x", "one chain", "at least two", "Use split=True, or run several chains.")
    if not (isinstance(samples, int) and samples > 0):
        raise WrongValue("samples", samples, "a positive integer", "Leave it out for 1000.")
    rng = np.random.default_rng(seed)
    judged = _judged(n, rng)
    names = np.repeat(np.arange(chains), n).reshape(chains, n)
    model = _default(seed) if classifier is None else classifier
    model.fit(draws[:, ~judged].reshape(-1, p), names[:, ~judged].ravel())
    share = np.asarray(model.predict_proba(draws[:, judged].reshape(-1, p)))
    right = share[np.arange(len(share)), names[:, judged].ravel()]
    found = chains * (rng.random((samples, len(right))) < right).mean(axis=1)
    low, high = np.quantile(found, [0.05, 0.95])
    return RStar(float(found.mean()), float(low), float(high))


def _judged(n: int, rng: np.random.Generator) -> np.ndarray:
    """Which draws are judged: `SHARE` of ten blocks, the same in every chain."""
    blocks = np.arange(n) * 10 // n
    return np.isin(blocks, rng.choice(10, size=round(10 * SHARE), replace=False))


def _default(seed: int) -> Any:
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError:
        remedy = f"Install it: {how_to_install('rstar')}; or give a classifier of your own."
        raise ImportError(got("classifier", None, "scikit-learn, which is not installed", remedy)) from None
    return RandomForestClassifier(n_estimators=100, min_samples_leaf=5, random_state=seed)

"""Pareto k of the tails of draws: from 0.7 on a mean can't be estimated, from 1 on there is none."""

import numpy as np

LIKELY, FAR, LEAST = 0.01, 6.0, 0.005
"""Before a tail is fitted, its farthest draw has this share of the squared deviations, or is so many sds away.

Of many draws it has the least share at least: where k is 0.7, a draw has a tenth of them or more, but a tail that is
a rare second part of the law, not heavy, is fitted by a large k too.
"""

PRIOR_WEIGHT, PRIOR_K = 10, 0.5


def pareto_k(x: np.ndarray, mean: np.ndarray, sd: np.ndarray, effective: np.ndarray) -> np.ndarray:
    r"""Return the larger Pareto k of both tails of each column, or NaN where the tails are plainly thin.

    Beyond a threshold the tail of any law is a generalised Pareto law; its shape k says which moments exist: those of
    an order below 1 / k. Each tail has the 3 S / sqrt(ESS) outermost of S draws, a fifth at most.

    Args:
        x: finite draws `(column, chain, draw)`.
        mean: of the columns.
        sd: of the columns.
        effective: effective draws of the columns' tails; dependent draws need longer ones.

    Source: Vehtari, Simpson, Gelman, Yao, Gabry (2024), Journal of Machine Learning Research 25(72), arXiv:1507.02646;
    the fit by Zhang and Stephens (2009), Technometrics 51(3).

    Example:
        >>> x = np.random.default_rng(0).standard_cauchy(size=(1, 4, 2000))
        >>> bool(0.8 < pareto_k(x, x.mean((1, 2)), x.std((1, 2)), np.array([8000.0]))[0] < 1.2)
        True
    """
    size = x.shape[1] * x.shape[2]
    farthest = np.maximum(x.max(axis=(1, 2)) - mean, mean - x.min(axis=(1, 2)))
    heavy = np.flatnonzero((farthest / sd) ** 2 > max(min(LIKELY * size, FAR**2), LEAST * size))
    k = np.full(len(x), np.nan)
    for i in heavy:
        length = int(np.ceil(min(0.2 * size, 3 * size / np.sqrt(max(effective[i], 1.0)))))
        if length < 5:
            continue
        flat = x[i].ravel()
        k[i] = max(_tail(-flat, length), _tail(flat, length))
    return k


def _tail(x: np.ndarray, length: int) -> float:
    """K of the `length` largest values; -inf where they do not vary."""
    top = np.sort(np.partition(x, len(x) - length - 1)[-length - 1 :])
    excess = top[1:] - top[0]
    if not excess[0] < excess[-1] or excess[int(length / 4 + 0.5) - 1] <= 0:
        return -np.inf
    return generalised_pareto_k(excess)


def generalised_pareto_k(excess: np.ndarray) -> float:
    """Fit a generalised Pareto law to sorted excesses, and return k: the mean of a posterior on a grid."""
    n = len(excess)
    points = 30 + int(np.sqrt(n))
    b = 1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    b = b / (3 * excess[int(n / 4 + 0.5) - 1]) + 1 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(axis=1)
    log_weight = n * (np.log(-b / k) - k - 1)
    weight = np.exp(log_weight - log_weight.max())
    mean_b = (b * weight).sum() / weight.sum()
    return float((n * np.log1p(-mean_b * excess).mean() + PRIOR_WEIGHT * PRIOR_K) / (n + PRIOR_WEIGHT))

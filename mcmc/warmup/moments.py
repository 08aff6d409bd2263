"""Moments of the positions of all chains, and the metric that they give."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

AUTOCORRELATION = 5.0


class Moments(NamedTuple):
    """Count, mean (dim,) and sum of squared deviations, (dim,) or (dim, dim), in float64."""

    count: Any
    mean: Any
    deviations: Any


def empty(factor: np.ndarray) -> Moments:
    """No positions yet, for a metric of the shape of `factor`."""
    return Moments(np.float64(0.0), np.zeros(factor.shape[:1]), np.zeros(factor.shape))


def add(moments: Moments, positions: np.ndarray) -> Moments:
    """Merge positions (n, dim) (Chan, Golub & LeVeque 1983)."""
    positions = np.asarray(positions, np.float64)
    if not np.isfinite(positions).all():  # no covariance comes of it: see `factor_of`
        return moments._replace(mean=moments.mean + np.nan)
    n = positions.shape[0]
    total = moments.count + n
    mean = positions.mean(0)
    centred, shift = positions - mean, mean - moments.mean
    weight = moments.count * n / total
    if moments.deviations.ndim == 1:
        increment = np.sum(centred**2, 0) + weight * shift**2
    else:
        increment = centred.T @ centred + weight * np.outer(shift, shift)
    return Moments(total, moments.mean + shift * (n / total), moments.deviations + increment)


def factor_of(moments: Moments, fallback: np.ndarray) -> np.ndarray:
    r"""The factor of the shrunk pooled covariance w S + (1 − w) diag S, w = m/(m + dim), m = count/5.

    Draws of a chain are correlated, so a fifth of them counts. Where it is no covariance (a coordinate that did
    not move, a number that is not finite), the fallback stays.
    """
    dim = moments.mean.shape[0]
    covariance = moments.deviations / max(float(moments.count) - 1.0, 1.0)
    variances = covariance if covariance.ndim == 1 else np.diag(covariance)
    if not (np.isfinite(moments.mean).all() and np.isfinite(covariance).all() and (variances > 0).all()):
        return fallback
    scale = np.sqrt(variances)
    if covariance.ndim == 1:
        return scale.astype(fallback.dtype)
    effective = float(moments.count) / AUTOCORRELATION
    correlation = covariance / np.outer(scale, scale) * (effective / (effective + dim))
    np.fill_diagonal(correlation, 1.0)
    try:
        return (scale[:, None] * np.linalg.cholesky(correlation)).astype(fallback.dtype)
    except np.linalg.LinAlgError:
        return fallback

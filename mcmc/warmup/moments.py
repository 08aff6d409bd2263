"""Moments of the positions of all chains, and the metric that they give."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

AUTOCORRELATION = 5.0


class Moments(NamedTuple):
    """Count, mean (dim,) and sum of squared deviations, (dim,) or (dim, dim)."""

    count: Any
    mean: Any
    deviations: Any


def empty(factor: np.ndarray) -> Moments:
    """No positions yet, for a metric of the shape of `factor`; on the host."""
    return Moments(np.zeros((), factor.dtype), np.zeros(factor.shape[:1], factor.dtype), np.zeros_like(factor))


def add(moments: Moments, positions: jax.Array) -> Moments:
    """Merge the positions (chain, dim) of one iteration (Chan, Golub & LeVeque 1983)."""
    n = positions.shape[0]
    total = moments.count + n
    mean = jnp.mean(positions, 0)
    centred, shift = positions - mean, mean - moments.mean
    weight = moments.count * n / total
    if moments.deviations.ndim == 1:
        increment = jnp.sum(centred**2, 0) + weight * shift**2
    else:
        increment = centred.T @ centred + weight * jnp.outer(shift, shift)
    return Moments(total, moments.mean + shift * (n / total), moments.deviations + increment)


def factor_of(moments: Moments, fallback: np.ndarray) -> np.ndarray:
    r"""The factor of the shrunk pooled covariance w S + (1 − w) diag S, w = m/(m + dim), m = count/5; on the host.

    Draws of a chain are correlated, so a fifth of them counts. Where it is no covariance (a coordinate that did
    not move, a number that is not finite), the fallback stays.
    """
    deviations, dim = np.asarray(moments.deviations, float), moments.mean.shape[0]
    covariance = deviations / max(float(moments.count) - 1.0, 1.0)
    variances = covariance if covariance.ndim == 1 else np.diag(covariance)
    if not (np.isfinite(covariance).all() and (variances > 0).all()):
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

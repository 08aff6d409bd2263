"""Moments of the positions of all chains, and the metric that they give."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

AUTOCORRELATION = 5.0


class Moments(NamedTuple):
    """Count, mean (dim,) and sum of squared deviations, (dim,) or (dim, dim)."""

    count: jax.Array
    mean: jax.Array
    deviations: jax.Array


def empty(factor: Any, xp: Any = jnp) -> Moments:
    """No positions yet, for a metric of the shape of `factor`; `xp` is NumPy on the host."""
    return Moments(xp.zeros((), factor.dtype), xp.zeros(factor.shape[:1], factor.dtype), xp.zeros_like(factor))


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


def factor_of(moments: Moments, fallback: jax.Array) -> jax.Array:
    r"""The factor of the shrunk pooled covariance w S + (1 − w) diag S, w = m/(m + dim), m = count/5.

    Draws of a chain are correlated, so a fifth of them counts. Where it is no covariance (a coordinate that did
    not move, a number that is not finite), the fallback stays.
    """
    dim = moments.mean.shape[0]
    covariance = moments.deviations / jnp.maximum(moments.count - 1.0, 1.0)
    if covariance.ndim == 1:
        factor = jnp.sqrt(covariance)
        good = jnp.all(jnp.isfinite(factor) & (factor > 0))
        return jnp.where(good, factor, fallback)
    effective = moments.count / AUTOCORRELATION
    weight = effective / (effective + dim)
    variances = jnp.diag(covariance)
    shrunk = weight * covariance + (1.0 - weight) * jnp.diag(variances)
    scale = jnp.sqrt(variances)
    correlation = shrunk / jnp.outer(scale, scale)
    factor = scale[:, None] * jnp.linalg.cholesky(correlation)
    good = jnp.all(jnp.isfinite(factor)) & jnp.all(variances > 0)
    return jnp.where(good, factor, fallback)

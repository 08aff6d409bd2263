"""The metric: an estimate of the target's covariance, kept as a factor F with covariance F Fᵀ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import got


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Metric:
    """A covariance F Fᵀ by its factor: (dim,) standard deviations, or a (dim, dim) lower triangle."""

    factor: Any

    @property
    def covariance(self) -> jax.Array:
        """The covariance: variances (dim,), or a (dim, dim) matrix."""
        return self.factor**2 if self.factor.ndim == 1 else self.factor @ self.factor.T

    def scale(self, z: jax.Array) -> jax.Array:
        """F z: a standard normal vector to one with this covariance."""
        return self.factor * z if self.factor.ndim == 1 else self.factor @ z

    def scale_gradient(self, g: jax.Array) -> jax.Array:
        """Fᵀ g: a gradient in the position to one in the whitened position."""
        return self.factor * g if self.factor.ndim == 1 else self.factor.T @ g


def as_metric(metric: Any, position: jax.Array) -> Metric:
    """A user's covariance (None, scalar, vector or matrix) as a Metric, also inside jit."""
    if isinstance(metric, Metric):
        return metric
    covariance = jnp.asarray(1.0 if metric is None else metric, position.dtype)
    if covariance.ndim < 2:
        return Metric(jnp.broadcast_to(jnp.sqrt(covariance), position.shape))
    return Metric(jnp.linalg.cholesky(covariance))


def on_host(metric: Any, dim: int) -> Metric:
    """A user's covariance as a Metric of NumPy arrays, before anything is compiled."""
    if isinstance(metric, Metric):
        return Metric(np.asarray(metric.factor))
    covariance = np.asarray(1.0 if metric is None else metric, float)
    if covariance.ndim < 2:
        return Metric(np.broadcast_to(np.sqrt(covariance), (dim,)))
    return Metric(np.linalg.cholesky(covariance))


def check_metric(metric: Any, dim: int) -> None:
    """Raise ValueError unless a concrete metric is a covariance for `dim` coordinates."""
    if metric is None or isinstance(metric, Metric):
        return
    covariance = np.asarray(metric, float)
    expected = f"a positive number, {dim} positive variances, or a ({dim}, {dim}) positive definite matrix"
    remedy = f"It is the target's covariance in unconstrained space, {dim} coordinates."
    good = covariance.shape in ((), (dim,), (dim, dim)) and bool(np.all(np.isfinite(covariance)))
    if good and covariance.ndim < 2:
        good = bool(np.all(covariance > 0))
    elif good:
        symmetric = np.allclose(covariance, covariance.T, rtol=1e-6, atol=0)
        good = symmetric and bool(np.linalg.eigvalsh(covariance)[0] > 0)
    if not good:
        raise ValueError(got("metric", metric, expected, remedy))

"""The metric: an estimate of the target's covariance, kept as a factor F with covariance C = F Fᵀ.

Gradient kernels draw momenta p ~ N(0, C⁻¹), in which a leapfrog step costs one product: dx = C p dt, dp = ∇log π dt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import got

SMALL = 24


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Metric:
    """A covariance F Fᵀ by its factor: (dim,) standard deviations, or a (dim, dim) lower triangle.

    A triangle comes with what kernels would otherwise compute in every step: see `dense`.
    """

    factor: Any
    covariance: Any = None
    inverse: Any = None

    def scale(self, z: jax.Array) -> jax.Array:
        """F z: a standard normal vector to one with this covariance."""
        return self.factor * z if self.factor.ndim == 1 else product(self.factor, z)

    def scale_gradient(self, g: jax.Array) -> jax.Array:
        """Fᵀ g: a gradient in the position, or a momentum, to one in the whitened position."""
        return self.factor * g if self.factor.ndim == 1 else product(self.factor.T, g)

    def momentum(self, z: jax.Array) -> jax.Array:
        """F⁻ᵀ z: a standard normal vector to a momentum, whose covariance is C⁻¹."""
        return z / self.factor if self.factor.ndim == 1 else product(self.inverse.T, z)

    def velocity(self, p: jax.Array) -> jax.Array:
        """C p: how the position moves with this momentum."""
        return self.factor**2 * p if self.factor.ndim == 1 else product(self.covariance, p)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRank:
    """A covariance S (I + U (Λ − I) Uᵀ) S: deviations S (dim,), directions U (dim, rank), variances Λ (rank,)."""

    factor: Any
    directions: Any
    variances: Any

    def _stretch(self, z: jax.Array, power: float) -> jax.Array:
        along = (self.variances**power - 1) * product(self.directions.T, z)
        return z + product(self.directions, along)

    def scale(self, z: jax.Array) -> jax.Array:
        """F z, F = S (I + U (√Λ − I) Uᵀ)."""
        return self.factor * self._stretch(z, 0.5)

    def scale_gradient(self, g: jax.Array) -> jax.Array:
        """Fᵀ g."""
        return self._stretch(self.factor * g, 0.5)

    def momentum(self, z: jax.Array) -> jax.Array:
        """F⁻ᵀ z."""
        return self._stretch(z, -0.5) / self.factor

    def velocity(self, p: jax.Array) -> jax.Array:
        """C p."""
        return self.factor * self._stretch(self.factor * p, 1.0)


def dense(factor: Any) -> Metric:
    """The metric of a lower triangle F, with F Fᵀ and F⁻¹; NumPy arrays for NumPy arrays."""
    xp = np if isinstance(factor, np.ndarray) else jnp
    return Metric(factor, factor @ factor.T, xp.linalg.inv(factor))


def product(a: jax.Array, x: jax.Array) -> jax.Array:
    """A x. Small ones as sums, which fuse with what is around them, where a matrix product is a call of its own."""
    return jnp.sum(a * x, -1) if a.shape[-1] <= SMALL else a @ x


def as_metric(metric: Any, position: jax.Array) -> Any:
    """A user's covariance (None, scalar, vector or matrix) as a metric, also inside jit."""
    if isinstance(metric, Metric | LowRank):
        return metric
    covariance = jnp.asarray(1.0 if metric is None else metric, position.dtype)
    if covariance.ndim < 2:
        return Metric(jnp.broadcast_to(jnp.sqrt(covariance), position.shape))
    return dense(jnp.linalg.cholesky(covariance))


def on_host(metric: Any, dim: int) -> Any:
    """A user's covariance as a metric of NumPy arrays, before anything is compiled."""
    if isinstance(metric, Metric | LowRank):
        metric = jax.tree.map(np.asarray, metric)
        return dense(metric.factor) if isinstance(metric, Metric) and metric.factor.ndim == 2 else metric
    covariance = np.asarray(1.0 if metric is None else metric, float)
    if covariance.ndim < 2:
        return Metric(np.broadcast_to(np.sqrt(covariance), (dim,)))
    return dense(np.linalg.cholesky(covariance))


def check_metric(metric: Any, dim: int) -> None:
    """Raise ValueError unless a concrete metric is a covariance for `dim` coordinates."""
    if metric is None or isinstance(metric, Metric | LowRank):
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

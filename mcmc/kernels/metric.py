"""The metric: an estimate of the target's covariance, kept as a factor F with covariance C = F Fᵀ.

Gradient kernels work with whitened momenta u ~ N(0, I): dy = F u dt, du = Fᵀ ∇log π dt, energy |u|²/2. Any F gives
the same law, however badly it is conditioned: neither C nor an inverse is ever formed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import WrongValue

SMALL = 24
DIRECTION, LEAPFROG = 0.4, 4.0  # nanoseconds a coordinate
FEWEST = 8  # directions that are applied, if any; then twice as many
SYMMETRIC = 1e-6  # the most that two correlations which should be equal may differ


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Metric:
    """A covariance F Fᵀ by its factor: (dim,) standard deviations, or a (dim, dim) lower triangle."""

    factor: Any

    def scale(self, z: jax.Array) -> jax.Array:
        """F z: a standard normal vector to one with this covariance."""
        return self.factor * z if self.factor.ndim == 1 else product(self.factor, z)

    def scale_gradient(self, g: jax.Array) -> jax.Array:
        """Fᵀ g: a gradient in the position to one in the whitened position."""
        return self.factor * g if self.factor.ndim == 1 else product(self.factor.T, g)

    def row(self, i: jax.Array, z: jax.Array) -> jax.Array:
        """Fᵀ eᵢ (dim,), as z in whitened coordinates: the normal of where coordinate i is constant."""
        if self.factor.ndim == 1:
            return jnp.where(jnp.arange(z.shape[-1]) == i, self.factor, 0.0)
        return jnp.asarray(self.factor)[i]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRank:
    """A covariance S (I + U (Λ − I) Uᵀ) S: deviations S (dim,), directions U (dim, rank), variances Λ (rank,).

    Directions of variance 1 at the end cost nothing: of many the first 8, 16, 32, ... are applied that hold all others,
    so that one compiled program serves any number of directions, none included.
    """

    factor: Any
    directions: Any
    variances: Any

    def _stretch(self, z: jax.Array) -> jax.Array:
        extra = jnp.sqrt(self.variances) - 1
        rank = extra.shape[0]
        if rank <= FEWEST:
            return self._along(rank, extra, z)
        counts = [0, *itertools.takewhile(lambda n: n < rank, (FEWEST * 2**k for k in itertools.count())), rank]
        used = jnp.max(jnp.where(extra != 0, jnp.arange(1, rank + 1), 0))
        branches = [partial(self._along, n, extra) for n in counts]
        return jax.lax.switch(jnp.searchsorted(jnp.array(counts), used), branches, z)

    def _along(self, n: int, extra: jax.Array, z: jax.Array) -> jax.Array:
        """z stretched along the first n directions."""
        some = jnp.asarray(self.directions)[:, :n]
        return z + product(some, extra[:n] * product(some.T, z)) if n else z

    def scale(self, z: jax.Array) -> jax.Array:
        """F z, F = S (I + U (√Λ − I) Uᵀ)."""
        return self.factor * self._stretch(z)

    def scale_gradient(self, g: jax.Array) -> jax.Array:
        """Fᵀ g."""
        return self._stretch(self.factor * g)


def affordable(metric: LowRank, cost: float) -> Metric | LowRank:
    """A metric still to be tuned with so many directions that applying them costs a third of a gradient at most.

    `cost` is that of a gradient, in seconds. A direction is two products with a position, before and after a step.
    """
    dim, most = metric.directions.shape
    one = 1e-9 * DIRECTION * dim
    rank = int(min(most, (cost + 1e-9 * LEAPFROG * dim) / 3 / one))
    if rank < 1:
        return Metric(metric.factor)
    return LowRank(metric.factor, metric.directions[:, :rank], metric.variances[:rank])


def product(a: jax.Array, x: jax.Array) -> jax.Array:
    """A x. Small ones as sums, which fuse with what is around them, where a matrix product is a call of its own."""
    return jnp.sum(a * x, -1) if a.shape[-1] <= SMALL else a @ x


def cholesky(covariance: Any) -> Any:
    """The lower triangle L with L Lᵀ the covariance, by way of the correlations: right whatever the units."""
    xp = np if isinstance(covariance, np.ndarray) else jnp
    deviations = xp.sqrt(xp.diagonal(covariance))[:, None]
    return deviations * xp.linalg.cholesky(covariance / deviations / deviations.T)


def as_metric(metric: Any, position: jax.Array) -> Any:
    """A user's covariance (None, scalar, vector or matrix) as a metric, also inside jit."""
    if isinstance(metric, Metric | LowRank):
        return metric
    covariance = jnp.asarray(1.0 if metric is None else metric, position.dtype)
    if covariance.ndim < 2:
        return Metric(jnp.broadcast_to(jnp.sqrt(covariance), position.shape))
    return Metric(cholesky(covariance))


def on_host(metric: Any, dim: int) -> Any:
    """A user's covariance as a metric of NumPy arrays, before anything is compiled."""
    if isinstance(metric, Metric | LowRank):
        return jax.tree.map(np.asarray, metric)
    covariance = np.asarray(1.0 if metric is None else metric, float)
    if covariance.ndim < 2:
        return Metric(np.broadcast_to(np.sqrt(covariance), (dim,)))
    return Metric(cholesky(covariance))


def check_metric(metric: Any, dim: int) -> None:
    """Raise ValueError unless a concrete metric is a covariance for `dim` coordinates, in whatever units."""
    if metric is None or isinstance(metric, Metric | LowRank):
        return
    covariance = np.asarray(metric, float)
    variances = np.diagonal(covariance) if covariance.ndim == 2 else covariance
    good = covariance.shape in ((), (dim,), (dim, dim)) and bool(np.all(np.isfinite(covariance)))
    good = good and bool(np.all(variances > 0)) and (covariance.ndim < 2 or _positive_definite(covariance))
    if not good:
        expected = f"a positive number, {dim} positive variances, or a ({dim}, {dim}) positive definite matrix"
        remedy = f"It is the target's covariance in unconstrained space, {dim} coordinates."
        raise WrongValue("metric", metric, expected, remedy)


def _positive_definite(covariance: np.ndarray) -> bool:
    """Whether a matrix of positive variances is symmetric and positive definite, judged by its correlations."""
    deviations = np.sqrt(np.diagonal(covariance))[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        correlations = covariance / deviations / deviations.T
        symmetric = np.allclose(correlations, correlations.T, rtol=0, atol=SYMMETRIC)
    if not (symmetric and np.all(np.isfinite(correlations))):
        return False
    return bool(np.linalg.eigvalsh(correlations)[0] > len(covariance) * np.finfo(float).eps)

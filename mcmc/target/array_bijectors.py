"""Bijectors of vectors and matrices: ordered, simplex, Cholesky factors, correlations, covariances."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mcmc.target.bijectors import Support, close

# --- vectors ------------------------------------------------------------------------------------------


class Ordered(Support):
    """Increasing vectors; see `ordered`."""

    name = "ordered"
    event = 1

    def _forward(self, y, p):
        steps = jnp.concatenate([y[..., :1], jnp.exp(y[..., 1:])], axis=-1)
        return jnp.cumsum(steps, axis=-1), y[..., 1:]

    def _inverse(self, x, p):
        return jnp.concatenate([x[..., :1], jnp.log(jnp.diff(x, axis=-1))], axis=-1)

    def _holds(self, x, p):
        return jnp.all(jnp.isfinite(x), axis=-1) & jnp.all(x[..., 1:] > x[..., :-1], axis=-1)


class PositiveOrdered(Ordered):
    """Increasing vectors of positive numbers; see `positive_ordered`."""

    name = "positive_ordered"

    def _forward(self, y, p):
        return jnp.cumsum(jnp.exp(y), axis=-1), y

    def _inverse(self, x, p):
        return jnp.log(jnp.diff(x, axis=-1, prepend=jnp.zeros_like(x[..., :1])))

    def _holds(self, x, p):
        return super()._holds(x, p) & (x[..., 0] > 0)


class Simplex(Support):
    """Vectors of k positive numbers that sum to one; see `simplex`."""

    name = "simplex"
    reach = "bounded"
    event = 1

    @property
    def position_shape(self):
        """The shape of the unconstrained array: one entry fewer in the last axis."""
        return (*self.batch, self.k - 1)

    def _basis(self, dtype: Any) -> tuple[Array, Array]:  # column j of Helmert's V: j times 1/norm, then -j/norm
        j = np.arange(1.0, self.k)
        return jnp.asarray(j, dtype), jnp.asarray(np.sqrt(j * (j + 1)), dtype)

    def _forward(self, y, p):
        j, norm = self._basis(y.dtype)
        after = lax.cumsum(y / norm, axis=y.ndim - 1, reverse=True)
        zero = jnp.zeros_like(y[..., :1])
        logits = jnp.concatenate([after, zero], -1) - jnp.concatenate([zero, y * (j / norm)], -1)
        log_x = jax.nn.log_softmax(logits, axis=-1)
        return jax.nn.softmax(logits, axis=-1), jnp.sum(log_x, axis=-1) + 0.5 * math.log(self.k)

    def _inverse(self, x, p):
        j, norm = self._basis(x.dtype)
        log_x = jnp.log(x)
        return (jnp.cumsum(log_x, axis=-1)[..., :-1] - j * log_x[..., 1:]) / norm

    def _holds(self, x, p):
        return jnp.all(x > 0, axis=-1) & close(jnp.sum(x, axis=-1), 1)


# --- matrices -----------------------------------------------------------------------------------------


class CholeskyFactorCorr(Support):
    """Cholesky factors of correlation matrices; see `cholesky_factor_corr`."""

    name = "cholesky_factor_corr"
    reach = "bounded"
    event = 2

    @property
    def position_shape(self):
        """The shape of the unconstrained array: the strictly lower triangle, row by row."""
        return (*self.batch, self.k * (self.k - 1) // 2)

    def _factor(self, y: Array) -> tuple[Array, Array, Array]:
        """The factor, the log of its diagonal, and log|det dL/dy|."""
        packed = _log_sech2(y)  # log(1 - z^2) of z = tanh(y)
        z, log_rest = _lower_triangle(jnp.tanh(y), self.k, -1), _lower_triangle(packed, self.k, -1)
        earlier = jnp.asarray(np.triu(np.full((self.k, self.k), 0.5), 1), y.dtype)
        log_room = jnp.matmul(log_rest, earlier, precision="highest")  # what earlier columns leave of a row's norm
        log_diagonal = jnp.diagonal(log_room, axis1=-2, axis2=-1)
        eye, below = jnp.asarray(np.eye(self.k, dtype=bool)), jnp.asarray(np.tri(self.k, k=-1, dtype=bool))
        log_jacobian = jnp.sum(packed, axis=-1) + jnp.sum(jnp.where(below, log_room, 0), axis=(-2, -1))
        return jnp.where(eye, 1, z) * jnp.exp(log_room), log_diagonal, log_jacobian

    def _forward(self, y, p):
        factor, _, log_jacobian = self._factor(y)
        return factor, log_jacobian

    def _inverse(self, x, p):
        right = lax.cumsum(x * x, axis=x.ndim - 1, reverse=True)  # the room left, without a cancellation
        rows, columns = np.tril_indices(self.k, -1)
        return jnp.arcsinh(x[..., rows, columns] / jnp.sqrt(right[..., rows, columns + 1]))

    def _holds(self, x, p):
        triangular = jnp.all(jnp.triu(x, 1) == 0, axis=(-2, -1))
        diagonal = jnp.diagonal(x, axis1=-2, axis2=-1)
        return triangular & jnp.all(close(jnp.sum(x * x, axis=-1), 1) & (diagonal > 0), axis=-1)


class CorrMatrix(CholeskyFactorCorr):
    """Correlation matrices; see `corr_matrix`."""

    name = "corr_matrix"
    reach = "bounded"

    def _forward(self, y, p):
        factor, log_diagonal, log_jacobian = self._factor(y)
        powers = jnp.arange(self.k - 1, -1, -1, dtype=y.dtype)
        eye = jnp.asarray(np.eye(self.k, dtype=bool))
        return jnp.where(eye, 1, _gram(factor)), log_jacobian + jnp.sum(powers * log_diagonal, axis=-1)

    def _inverse(self, x, p):
        return super()._inverse(jnp.linalg.cholesky(x), p)

    def _holds(self, x, p):
        return _positive_definite(x) & jnp.all(close(jnp.diagonal(x, axis1=-2, axis2=-1), 1), axis=-1)


class CovMatrix(Support):
    """Covariance matrices; see `cov_matrix`."""

    name = "cov_matrix"
    event = 2

    @property
    def position_shape(self):
        """The shape of the unconstrained array: the lower triangle, row by row."""
        return (*self.batch, self.k * (self.k + 1) // 2)

    def _forward(self, y, p):
        log_diagonal = y[..., np.cumsum(np.arange(1, self.k + 1)) - 1]
        eye = jnp.asarray(np.eye(self.k, dtype=bool))
        factor = jnp.where(eye, jnp.exp(log_diagonal)[..., None], _lower_triangle(y, self.k, 0))
        powers = jnp.arange(self.k + 1, 1, -1, dtype=y.dtype)
        return _gram(factor), jnp.sum(math.log(2) + powers * log_diagonal, axis=-1)

    def _inverse(self, x, p):
        factor = jnp.linalg.cholesky(x)
        rows, columns = np.tril_indices(self.k)
        diagonal = jnp.where(rows == columns, factor[..., rows, columns], 1)
        return jnp.where(rows == columns, jnp.log(diagonal), factor[..., rows, columns])

    def _holds(self, x, p):
        return _positive_definite(x)


@jax.custom_jvp
def _log_sech2(y: Array) -> Array:
    """log(1 − tanh² y), however large y is."""
    return 2 * (math.log(2) - jnp.logaddexp(y, -y))


@_log_sech2.defjvp
def _log_sech2_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return _log_sech2(primals[0]), -2 * jnp.tanh(primals[0]) * tangents[0]


def _lower_triangle(y: Array, k: int, offset: int) -> Array:
    """Rows of a lower triangle (below the diagonal for offset -1) as a matrix with zeros elsewhere."""
    return jnp.zeros((*y.shape[:-1], k, k), y.dtype).at[(..., *np.tril_indices(k, offset))].set(y)


def _gram(factor: Array) -> Array:
    product = jnp.matmul(factor, jnp.swapaxes(factor, -1, -2), precision="highest")
    return 0.5 * (product + jnp.swapaxes(product, -1, -2))


def _positive_definite(x: Array) -> Array:
    scale = jnp.max(jnp.abs(x), axis=(-2, -1), keepdims=True)
    symmetric = jnp.all(close(x, jnp.swapaxes(x, -1, -2), scale), axis=(-2, -1))
    diagonal = jnp.diagonal(jnp.linalg.cholesky(x), axis1=-2, axis2=-1)
    return symmetric & jnp.all(jnp.isfinite(diagonal) & (diagonal > 0), axis=-1)

"""Bijectors of zero-sum arrays, Cholesky factors of covariances, and real numbers with a location and a scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from mcmc.target.bijectors import Bounded, Support, show


@dataclass(frozen=True, repr=False)
class ZeroSum(Support):
    """Arrays whose sums along each of the last `axes` axes are zero: x = V y along each, log-Jacobian 0.

    V is Helmert's orthonormal basis of the vectors that sum to zero, so that lengths are kept. Shapes: x is
    (*batch, n1, ...), y is (*batch, n1 - 1, ...).
    """

    axes: int = 1

    name = "zero_sum"
    event = 1

    @property
    def position_shape(self) -> tuple[int, ...]:
        """The shape of the unconstrained array: one entry fewer in each of the last axes."""
        first = len(self.shape) - self.axes
        return (*self.shape[:first], *(n - 1 for n in self.shape[first:]))

    def _forward(self, y, p):
        x = y
        for axis in range(-self.axes, 0):
            x = jnp.moveaxis(_spread(jnp.moveaxis(x, axis, -1)), -1, axis)
        return x, jnp.zeros_like(y)

    def _inverse(self, x, p):
        for axis in range(-self.axes, 0):
            x = jnp.moveaxis(_gather(jnp.moveaxis(x, axis, -1)), -1, axis)
        return x

    def _holds(self, x, p):
        scale = math.sqrt(float(jnp.finfo(x.dtype).eps)) * (1 + jnp.max(jnp.abs(x)))
        sums = [jnp.all(jnp.abs(jnp.sum(x, axis)) <= scale) for axis in range(-self.axes, 0)]
        return jnp.all(jnp.stack(sums)) & jnp.all(jnp.isfinite(x))

    def _arguments(self):
        return [str(self.k)] if self.axes == 1 else [f"axes={self.axes}", f"shape={self.shape}"]

    @property
    def batch(self) -> tuple[int, ...]:
        """The leading axes; nothing repeats where several axes sum to zero together."""
        return self.shape[:-1] if self.axes == 1 else ()


def _basis(n: int, dtype: np.dtype) -> tuple[Array, Array]:
    j = np.arange(1.0, n)
    return jnp.asarray(j, dtype), jnp.asarray(np.sqrt(j * (j + 1)), dtype)


def _spread(y: Array) -> Array:
    j, norm = _basis(y.shape[-1] + 1, y.dtype)
    after = lax.cumsum(y / norm, axis=y.ndim - 1, reverse=True)
    zero = jnp.zeros_like(y[..., :1])
    return jnp.concatenate([after, zero], -1) - jnp.concatenate([zero, y * (j / norm)], -1)


def _gather(x: Array) -> Array:
    j, norm = _basis(x.shape[-1], x.dtype)
    return (jnp.cumsum(x, axis=-1)[..., :-1] - j * x[..., 1:]) / norm


class PackedCholesky(Support):
    """Lower triangles with a positive diagonal, packed row by row into a vector: x_ii = exp(y_ii), else x = y.

    The log-Jacobian is the sum of y_ii. Shapes: x and y are both (*batch, k (k + 1) / 2).
    """

    name = "packed_cholesky"
    event = 1

    def _diagonal(self) -> np.ndarray:
        k = (math.isqrt(8 * self.shape[-1] + 1) - 1) // 2
        return np.isin(np.arange(self.shape[-1]), np.cumsum(np.arange(1, k + 1)) - 1)

    def _forward(self, y, p):
        diagonal = self._diagonal()
        return jnp.where(diagonal, jnp.exp(jnp.where(diagonal, y, 0)), y), jnp.where(diagonal, y, 0)

    def _inverse(self, x, p):
        diagonal = self._diagonal()
        return jnp.where(diagonal, jnp.log(jnp.where(diagonal, x, 1)), x)

    def _holds(self, x, p):
        return jnp.isfinite(x) & (~self._diagonal() | (x > 0))


class LowerCholesky(Support):
    """Lower triangular matrices with a positive diagonal: `PackedCholesky` unpacked, with its log-Jacobian.

    Shapes: x is (*batch, k, k), y is (*batch, k (k + 1) / 2), row by row.
    """

    name = "cholesky_factor_cov"
    event = 2

    @property
    def position_shape(self) -> tuple[int, ...]:
        """The shape of the unconstrained array: the lower triangle, row by row."""
        return (*self.batch, self.k * (self.k + 1) // 2)

    def _forward(self, y, p):
        packed, terms = PackedCholesky(self.position_shape)._forward(y, p)
        x = jnp.zeros((*self.batch, self.k, self.k), y.dtype).at[(..., *np.tril_indices(self.k))].set(packed)
        return x, terms

    def _inverse(self, x, p):
        return PackedCholesky(self.position_shape)._inverse(x[(..., *np.tril_indices(self.k))], p)

    def _holds(self, x, p):
        inside = PackedCholesky(self.position_shape)._holds(x[(..., *np.tril_indices(self.k))], p)
        return jnp.all(inside) & jnp.all(jnp.triu(x, 1) == 0)


class Affine(Bounded):
    """Real numbers x = a + b y with b > 0; see `real`."""

    name = "real"

    def _forward(self, y, p):
        scale = self._end("b", p, y.dtype)
        return self._end("a", p, y.dtype) + scale * y, jnp.log(scale)

    def _inverse(self, x, p):
        return (x - self._end("a", p, x.dtype)) / self._end("b", p, x.dtype)

    def _arguments(self):
        return [f"loc={show(self.a)}", f"scale={show(self.b)}"]

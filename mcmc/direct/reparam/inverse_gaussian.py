"""Inverse Gaussian draws with exact gradients in both parameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import POSITIVE, prepare, two_sided
from mcmc.direct.reparam.normal_tail import excess
from mcmc.random import draws as random


def inverse_gaussian(
    key: jax.Array,
    mean: ArrayLike,
    concentration: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Inverse Gaussian (Wald) draws: p(x) ∝ x^(−3/2) exp(−concentration (x − mean)² / (2 mean² x)).

    The variance is mean³ / concentration. `jax.random.wald` (of concentration 1 where it has none) differentiates
    through the choice between two roots: dE[x]/dmean comes out as 1.20 for 1. Here the gradient is that of the
    distribution function, in closed form by Mills' ratio.

    Args:
        key: one JAX key, of any implementation.
        mean: positive.
        concentration: positive; with `mean`, arrays that broadcast.
        shape: the full shape of the result; None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: an argument that is not positive, or a shape that doesn't fit. Where values are traced the draw
            is NaN instead.

    Source: Michael, Schucany & Haas 1976, Generating random variates using transformations with multiple roots.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> mean = lambda m: reparam.inverse_gaussian(jax.random.key(0), m, 2.0, shape=(100_000,)).mean()
        >>> bool(abs(jax.grad(mean)(1.0) - 1) < 0.02)
        True
    """
    call = prepare(key, shape, dtype, mean=(mean, POSITIVE), concentration=(concentration, POSITIVE))
    return call.draw(_inverse_gaussian)


def _inverse_gaussian(key: jax.Array, shape: tuple, dtype: Any, mean: jax.Array, concentration: jax.Array) -> jax.Array:
    mean, concentration = jnp.broadcast_to(mean, shape), jnp.broadcast_to(concentration, shape)
    return _with_gradient(lax.stop_gradient(_roots(key, shape, dtype, mean, concentration)), mean, concentration)


def _roots(key: jax.Array, shape: tuple, dtype: Any, mean: jax.Array, concentration: jax.Array) -> jax.Array:
    """Of the two roots of concentration (x − mean)² / (mean² x) = z², one by chance."""
    z = random.normal(key, shape, dtype)
    u, _ = two_sided(key, shape, dtype, stream=1)
    w = z * z * mean / concentration
    below = 1 / (1 + w / 2 + jnp.sqrt(w + w * w / 4))  # the smaller root over the mean; their product is 1
    return lax.optimization_barrier(mean * jnp.where(u * (1 + below) < 1, below, 1 / below))


@jax.custom_jvp
def _with_gradient(x: jax.Array, mean: jax.Array, concentration: jax.Array) -> jax.Array:
    return x


@_with_gradient.defjvp
def _with_gradient_jvp(primals: tuple, tangents: tuple) -> tuple:
    """−(∂F/∂θ) / p, with h the hazard of the normal at r (x/mean + 1), r = √(concentration / x), and g = h − t."""
    x, mean, concentration = primals
    x = _with_gradient(x, mean, concentration)
    r = jnp.sqrt(concentration / x)
    t = r * (x / mean + 1)
    g = excess(t)
    by_mean = 2 * r * (x / mean) ** 2 / (t + g)
    by_concentration = (r * (1 - x / mean) + g) * x / (concentration * (t + g))
    return x, tangents[0] + by_mean * tangents[1] + by_concentration * tangents[2]

"""Reparameterised draws in closed form: locations and scales of fixed noise, and quantiles.

The noise does not depend on the parameters, so JAX differentiates the draw itself. `jax.random` has some of these
without parameters; here uniforms can be neither 0 nor 1 and both tails reach 2⁻³³ (2⁻⁵⁴ in float64).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import (
    FINITE,
    NON_NEGATIVE,
    POSITIVE,
    above,
    exponential_noise,
    prepare,
    same_value,
    two_sided,
)
from mcmc.random import draws as random


def uniform(
    key: jax.Array,
    low: ArrayLike = 0.0,
    high: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Uniform draws strictly between two ends: x = (1 − u) low + u high.

    `jax.random.uniform` can return the lower end, exactly 0 once in 2²³ float32 draws.

    Args:
        key: one JAX key, of any implementation.
        low: the lower end; with `high`, arrays that broadcast.
        high: the upper end, above `low`.
        shape: the full shape of the result; None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: an argument that is not finite, `low` not below `high`, or a shape that doesn't fit. Where
            values are traced the draw is NaN instead.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> x = reparam.uniform(jax.random.key(0), 2.0, 3.0, shape=(5,))
        >>> bool(((2 < x) & (x < 3)).all())
        True
    """
    return prepare(key, shape, dtype, low=(low, FINITE), high=(high, above("low", low))).draw(_uniform)


def _uniform(key: jax.Array, shape: tuple, dtype: Any, low: jax.Array, high: jax.Array) -> jax.Array:
    u, q = two_sided(key, shape, dtype)
    x = lax.optimization_barrier(q * low) + lax.optimization_barrier(u * high)  # not fused, so that bits stay
    return same_value(x, jnp.clip(x, jnp.nextafter(low, high), jnp.nextafter(high, low)))


def normal(
    key: jax.Array,
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Normal draws: x = loc + scale z, the reparameterisation of a variational autoencoder.

    Args:
        key: one JAX key, of any implementation.
        loc: the mean.
        scale: the standard deviation, not negative.
        shape: the full shape of the result; None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: an argument that is not finite, a negative scale, or a shape that doesn't fit. Where values are
            traced the draw is NaN instead.

    Source: Kingma & Welling 2014, Auto-encoding variational Bayes.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> x = reparam.normal(jax.random.key(0), 1.0, 0.5, shape=(10_000,))
        >>> bool(abs(x.mean() - 1.0) < 0.02)
        True
        >>> float(jax.grad(lambda m: reparam.normal(jax.random.key(0), m, 0.5))(1.0))
        1.0
    """
    return prepare(key, shape, dtype, loc=(loc, FINITE), scale=(scale, NON_NEGATIVE)).draw(_normal)


def _normal(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, scale: jax.Array) -> jax.Array:
    return loc + scale * random.normal(key, shape, dtype)


def lognormal(
    key: jax.Array,
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Lognormal draws: log x ~ N(loc, scale²).

    Args, errors and the rest as in `normal`, of which these are the exponentials.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> bool(reparam.lognormal(jax.random.key(0), -2.0, 0.5) > 0)
        True
    """
    return prepare(key, shape, dtype, loc=(loc, FINITE), scale=(scale, NON_NEGATIVE)).draw(_lognormal)


def _lognormal(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, scale: jax.Array) -> jax.Array:
    return jnp.exp(_normal(key, shape, dtype, loc, scale))


def exponential(
    key: jax.Array, rate: ArrayLike = 1.0, *, shape: tuple[int, ...] | None = None, dtype: DTypeLike | None = None
) -> jax.Array:
    """Exponential draws: p(x) = rate exp(−rate x).

    Args, errors and the rest as in `normal`; `rate` is positive.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> bool(reparam.exponential(jax.random.key(0), 3.0) > 0)
        True
    """
    return prepare(key, shape, dtype, rate=(rate, POSITIVE)).draw(_exponential)


def _exponential(key: jax.Array, shape: tuple, dtype: Any, rate: jax.Array) -> jax.Array:
    return exponential_noise(key, shape, dtype) * (1 / rate)


def laplace(
    key: jax.Array,
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Laplace draws: p(x) = exp(−|x − loc| / scale) / (2 scale).

    Args, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.laplace(jax.random.key(0), shape=(2, 3)).shape
        (2, 3)
    """
    return prepare(key, shape, dtype, loc=(loc, FINITE), scale=(scale, NON_NEGATIVE)).draw(_laplace)


def _laplace(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, scale: jax.Array) -> jax.Array:
    u, q = two_sided(key, shape, dtype)
    return loc + scale * jnp.where(u < q, jnp.log(2 * u), -jnp.log(2 * q))


def logistic(
    key: jax.Array,
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Logistic draws: F(x) = 1 / (1 + exp(−(x − loc) / scale)).

    Args, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.logistic(jax.random.key(0), shape=(2, 3)).shape
        (2, 3)
    """
    return prepare(key, shape, dtype, loc=(loc, FINITE), scale=(scale, NON_NEGATIVE)).draw(_logistic)


def _logistic(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, scale: jax.Array) -> jax.Array:
    u, q = two_sided(key, shape, dtype)
    return loc + scale * jnp.where(u < q, jnp.log(u) - jnp.log1p(-u), jnp.log1p(-q) - jnp.log(q))


def gumbel(
    key: jax.Array,
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Gumbel draws: F(x) = exp(−exp(−(x − loc) / scale)).

    `jax.random.gumbel` in its default mode reaches 2⁻²³ of the upper tail in float32; this reaches 2⁻³³.

    Args, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.gumbel(jax.random.key(0), shape=(2, 3)).shape
        (2, 3)
    """
    return prepare(key, shape, dtype, loc=(loc, FINITE), scale=(scale, NON_NEGATIVE)).draw(_gumbel)


def _gumbel(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, scale: jax.Array) -> jax.Array:
    return loc - scale * jnp.log(exponential_noise(key, shape, dtype))


def cauchy(
    key: jax.Array,
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Cauchy draws: p(x) = 1 / (π scale (1 + ((x − loc) / scale)²)).

    Args, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.cauchy(jax.random.key(0), shape=(2, 3)).shape
        (2, 3)
    """
    return prepare(key, shape, dtype, loc=(loc, FINITE), scale=(scale, NON_NEGATIVE)).draw(_cauchy)


def _cauchy(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, scale: jax.Array) -> jax.Array:
    return loc + scale * cauchy_noise(key, shape, dtype)


def cauchy_noise(key: jax.Array, shape: tuple, dtype: Any, *, stream: int = 0) -> jax.Array:
    """Standard Cauchy draws, precise in the tails."""
    u, q = two_sided(key, shape, dtype, stream=stream)
    near = jnp.minimum(u, q)
    size = jnp.where(near < 0.25, 1 / jnp.tan(np.pi * jnp.minimum(near, 0.25)), jnp.tan(np.pi * (0.5 - near)))
    return jnp.where(u < q, -size, size)


def weibull(
    key: jax.Array,
    concentration: ArrayLike,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Weibull draws: F(x) = 1 − exp(−(x / scale)^concentration).

    Args, errors and the rest as in `normal`; both parameters are positive.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> bool(reparam.weibull(jax.random.key(0), 1.5, 2.0) > 0)
        True
    """
    return prepare(key, shape, dtype, concentration=(concentration, POSITIVE), scale=(scale, POSITIVE)).draw(_weibull)


def _weibull(key: jax.Array, shape: tuple, dtype: Any, concentration: jax.Array, scale: jax.Array) -> jax.Array:
    return scale * jnp.exp(jnp.log(exponential_noise(key, shape, dtype)) * (1 / concentration))


def pareto(
    key: jax.Array,
    concentration: ArrayLike,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Pareto draws, from `scale` upwards: F(x) = 1 − (scale / x)^concentration.

    Args, errors and the rest as in `normal`; both parameters are positive.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> bool(reparam.pareto(jax.random.key(0), 1.5, 2.0) >= 2)
        True
    """
    return prepare(key, shape, dtype, concentration=(concentration, POSITIVE), scale=(scale, POSITIVE)).draw(_pareto)


def _pareto(key: jax.Array, shape: tuple, dtype: Any, concentration: jax.Array, scale: jax.Array) -> jax.Array:
    return scale * jnp.exp(exponential_noise(key, shape, dtype) * (1 / concentration))

"""More laws of one number, reparameterised: half laws, bounded ones, and those with heavier or lighter tails.

Each draw is a function of noise that does not depend on the parameters, or of a gamma draw with its exact gradient.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import (
    FINITE,
    NON_NEGATIVE,
    POSITIVE,
    Condition,
    above,
    exponential_noise,
    prepare,
    real_array,
    two_sided,
)
from mcmc.direct.reparam.basic import cauchy, normal
from mcmc.direct.reparam.gamma import loggamma, student_t

FLAT, STEEP = 0.03, 10.0  # of a shape parameter: below the one a series is as good, above the other a limit


def _between(low: str, low_value: Any, high: str, high_value: Any) -> Condition:
    a, b = (real_array(n, v) for n, v in ((low, low_value), (high, high_value)))
    holds = lambda x: (x >= a) & (x <= b)  # noqa: E731
    return Condition(holds, f"numbers from {low} to {high}", "Move the mode, or widen the interval.")


def half_normal(
    key: jax.Array,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Half-normal draws: |x|, x ~ N(0, scale²).

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.half_normal(jax.random.key(0), 2.0, shape=(5,)).shape
        (5,)
    """
    return jnp.abs(normal(key, 0.0, scale, shape=shape, dtype=dtype))


def half_cauchy(
    key: jax.Array,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Half-Cauchy draws: |x|, x Cauchy about 0.

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.half_cauchy(jax.random.key(0), 2.0, shape=(5,)).shape
        (5,)
    """
    return jnp.abs(cauchy(key, 0.0, scale, shape=shape, dtype=dtype))


def half_student_t(
    key: jax.Array,
    df: ArrayLike,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Half-t draws: |x|, x Student's t about 0.

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.half_student_t(jax.random.key(0), 3.0, 2.0, shape=(5,)).shape
        (5,)
    """
    return jnp.abs(student_t(key, df, 0.0, scale, shape=shape, dtype=dtype))


def horseshoe(
    key: jax.Array,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Horseshoe draws: x = scale z c, z normal and c half-Cauchy (Carvalho, Polson & Scott 2010).

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.horseshoe(jax.random.key(0), 0.1, shape=(5,)).shape
        (5,)
    """
    return prepare(key, shape, dtype, scale=(scale, NON_NEGATIVE)).draw(_horseshoe)


def fisher_snedecor(
    key: jax.Array,
    df1: ArrayLike,
    df2: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """F draws: the ratio of two chi-squares, each over its degrees of freedom.

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.fisher_snedecor(jax.random.key(0), 3.0, 5.0, shape=(5,)).shape
        (5,)
    """
    return prepare(key, shape, dtype, df1=(df1, POSITIVE), df2=(df2, POSITIVE)).draw(_fisher_snedecor)


def kumaraswamy(
    key: jax.Array,
    concentration1: ArrayLike,
    concentration0: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Kumaraswamy draws on (0, 1): F(x) = 1 − (1 − x^a)^b.

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.kumaraswamy(jax.random.key(0), 2.0, 3.0, shape=(5,)).shape
        (5,)
    """
    a, b = (concentration1, POSITIVE), (concentration0, POSITIVE)
    return prepare(key, shape, dtype, concentration1=a, concentration0=b).draw(_kumaraswamy)


def generalized_pareto(
    key: jax.Array,
    concentration: ArrayLike,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Generalised Pareto draws: F(x) = 1 − (1 + ξ x / scale)^(−1/ξ), exponential at ξ = 0, bounded below it.

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.generalized_pareto(jax.random.key(0), 0.3, shape=(5,)).shape
        (5,)
    """
    call = prepare(key, shape, dtype, concentration=(concentration, FINITE), scale=(scale, POSITIVE))
    return call.draw(_generalized_pareto)


def generalized_normal(
    key: jax.Array,
    loc: ArrayLike,
    scale: ArrayLike,
    power: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Generalised normal draws: density proportional to exp(−|x − loc|^power / scale^power).

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.generalized_normal(jax.random.key(0), 0.0, 1.0, 4.0, shape=(5,)).shape
        (5,)
    """
    at = {"loc": (loc, FINITE), "scale": (scale, NON_NEGATIVE), "power": (power, POSITIVE)}
    return prepare(key, shape, dtype, **at).draw(_generalized_normal)


def triangular(
    key: jax.Array,
    low: ArrayLike,
    mode: ArrayLike,
    high: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Triangular draws: density rising from `low` to `mode`, falling to `high`.

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.triangular(jax.random.key(0), 0.0, 0.3, 1.0, shape=(5,)).shape
        (5,)
    """
    inside = _between("low", low, "high", high)
    at = {"low": (low, FINITE), "mode": (mode, inside), "high": (high, above("low", low))}
    return prepare(key, shape, dtype, **at).draw(_triangular)


def logit_normal(
    key: jax.Array,
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Logit-normal draws on (0, 1): the logistic function of N(loc, scale²).

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.logit_normal(jax.random.key(0), 0.0, 2.0, shape=(5,)).shape
        (5,)
    """
    return jax.nn.sigmoid(normal(key, loc, scale, shape=shape, dtype=dtype))


def continuous_bernoulli(
    key: jax.Array,
    logits: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Continuous Bernoulli draws on (0, 1): density proportional to exp(logits x) (Loaiza-Ganem & Cunningham 2019).

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.continuous_bernoulli(jax.random.key(0), 1.5, shape=(5,)).shape
        (5,)
    """
    return prepare(key, shape, dtype, logits=(logits, FINITE)).draw(_continuous_bernoulli)


def relaxed_bernoulli(
    key: jax.Array,
    logits: ArrayLike,
    temperature: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Relaxed Bernoulli draws on (0, 1): the logistic function of (logits + logistic noise) / temperature.

    Arguments, errors and the rest as in `normal`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.relaxed_bernoulli(jax.random.key(0), 0.0, 0.5, shape=(5,)).shape
        (5,)
    """
    at = {"logits": (logits, FINITE), "temperature": (temperature, POSITIVE)}
    return prepare(key, shape, dtype, **at).draw(_relaxed_bernoulli)


# --- compiled bodies --------------------------------------------------------------------------------------


def _horseshoe(key: jax.Array, shape: tuple, dtype: Any, scale: jax.Array) -> jax.Array:
    one, other = jax.random.split(key)
    return normal(one, 0.0, scale, shape=shape, dtype=dtype) * half_cauchy(other, shape=shape, dtype=dtype)


def _fisher_snedecor(key: jax.Array, shape: tuple, dtype: Any, df1: jax.Array, df2: jax.Array) -> jax.Array:
    keys = jax.random.split(key)
    above, below = (loggamma(k, df / 2, shape=shape, dtype=dtype) for k, df in zip(keys, (df1, df2), strict=True))
    return jnp.exp(above - below) * (df2 / df1)


def _kumaraswamy(key: jax.Array, shape: tuple, dtype: Any, a: jax.Array, b: jax.Array) -> jax.Array:
    e = exponential_noise(key, shape, dtype)
    return jnp.exp(jnp.log(-jnp.expm1(-e / b)) / a)


def _generalized_pareto(key: jax.Array, shape: tuple, dtype: Any, xi: jax.Array, scale: jax.Array) -> jax.Array:
    e = exponential_noise(key, shape, dtype)
    flat = jnp.abs(xi * e) < FLAT
    safe = jnp.where(flat, 1.0, xi)
    bend = xi * e
    near = e * (1 + bend / 2 * (1 + bend / 3 * (1 + bend / 4)))
    return scale * jnp.where(flat, near, jnp.expm1(safe * e) / safe)


def _generalized_normal(
    key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, scale: jax.Array, power: jax.Array
) -> jax.Array:
    one, other = jax.random.split(key)
    size = jnp.exp(loggamma(one, 1 / power, shape=shape, dtype=dtype) / power)
    return loc + scale * jnp.where(jax.random.bernoulli(other, 0.5, shape), size, -size)


def _triangular(
    key: jax.Array, shape: tuple, dtype: Any, low: jax.Array, mode: jax.Array, high: jax.Array
) -> jax.Array:
    u, q = two_sided(key, shape, dtype)
    width, left = high - low, u * (high - low) < mode - low
    rising = low + jnp.sqrt(jnp.where(left, u * width * (mode - low), 1.0))
    falling = high - jnp.sqrt(jnp.where(left, 1.0, q * width * (high - mode)))
    return jnp.where(left, rising, falling)


def _continuous_bernoulli(key: jax.Array, shape: tuple, dtype: Any, logits: jax.Array) -> jax.Array:
    u, q = two_sided(key, shape, dtype)
    size, up = jnp.abs(logits), logits >= 0
    flat, steep = size < FLAT, size > STEEP
    toward, away = jnp.where(up, u, q), jnp.where(up, q, u)  # of the end that the density rises towards
    mild = jnp.where(flat | steep, 1.0, size)
    x = jnp.log1p(toward * jnp.expm1(mild)) / mild
    large = jnp.where(steep, size, STEEP)
    x = jnp.where(steep, 1 + jnp.log(toward + away * jnp.exp(-large)) / large, x)
    v, skew, t = u * q, 1 - 2 * u, logits  # log E exp(t B), B ~ Bernoulli(u), over t: by its cumulants
    near = u + t * v * (1 / 2 + t * (skew / 6 + t * ((1 - 6 * v) / 24 + t * skew * (1 - 12 * v) / 120)))
    return jnp.where(flat, near, jnp.where(up, x, 1 - x))


def _relaxed_bernoulli(key: jax.Array, shape: tuple, dtype: Any, logits: jax.Array, t: jax.Array) -> jax.Array:
    u, q = two_sided(key, shape, dtype)
    return jax.nn.sigmoid((logits + jnp.log(u) - jnp.log(q)) / t)

"""Truncated normal draws with exact gradients, however far in a tail the interval lies."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtr, ndtri
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import FINITE, POSITIVE, Condition, above, prepare, same_value, two_sided
from mcmc.direct.reparam.normal_tail import excess, hazard, nodes

EDGE = -0.25  # an interval that starts above it (in standard deviations) is measured from its start


def truncated_normal(
    key: jax.Array,
    loc: ArrayLike,
    scale: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Normal draws given that low ≤ x ≤ high, by inversion: F(x) = u, also where the interval's mass underflows.

    In a tail the draw is its distance from the near end, found from the integrated hazard, and so are the
    gradients in all four parameters. `jax.random.truncated_normal` returns the end point in float32 on [6, 7] and
    on [8, ∞).

    Args:
        key: one JAX key, of any implementation.
        loc: the mean of the normal that is truncated.
        scale: its standard deviation, positive.
        low: the lower end, −∞ allowed; an end of the draws, not of the standardised ones.
        high: the upper end, ∞ allowed, above `low`.
        shape: the full shape of the result; None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: an argument outside its range, `low` not below `high`, or a shape that doesn't fit. Where values
            are traced the draw is NaN instead.

    Source: the gradient is that of Figurnov, Mohamed & Mnih 2018, Implicit reparameterization gradients.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> x = reparam.truncated_normal(jax.random.key(0), 0.0, 1.0, 6.0, 7.0, shape=(10_000,))
        >>> bool(abs(x.mean() - 6.158) < 0.01) and bool(x.max() < 7)
        True
    """
    below = Condition(lambda x: x < np.inf, "numbers below infinity", "Leave out the truncation instead.")
    ends = {"low": (low, below), "high": (high, above("low", low))}
    return prepare(key, shape, dtype, loc=(loc, FINITE), scale=(scale, POSITIVE), **ends).draw(_truncated)


def _truncated(
    key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, scale: jax.Array, low: jax.Array, high: jax.Array
) -> jax.Array:
    u, q = two_sided(key, shape, dtype)
    far = 100 * scale  # an infinite end is replaced by one as good: no mass lies beyond
    low = jnp.where(low == -jnp.inf, lax.stop_gradient(jnp.minimum(loc, high) - far), low)
    high = jnp.where(high == jnp.inf, lax.stop_gradient(jnp.maximum(loc, low) + far), high)
    flip = (low - loc) + (high - loc) < 0  # so that the end nearer to the mode comes first
    u, q = jnp.where(flip, q, u), jnp.where(flip, u, q)
    start, end = jnp.where(flip, loc - high, low - loc), jnp.where(flip, loc - low, high - loc)
    tail = start > EDGE * scale
    distance = _beyond(u, q, jnp.where(tail, start, 0.0), scale, high - low)
    z = _between(u, q, jnp.where(tail, -1.0, start / scale), jnp.where(tail, 1.0, end / scale))
    in_tail = jnp.where(flip, high - distance, low + distance)
    x = jnp.where(tail, in_tail, loc + scale * jnp.where(flip, -z, z))
    return same_value(x, jnp.clip(x, low, high))


def _reach(a: jax.Array) -> jax.Array:
    """The distance beyond a ≥ EDGE where the rest of the mass is below the smallest number."""
    e = 1400.0 if a.dtype == jnp.float64 else 170.0
    return e / (a + jnp.sqrt(a * a + e))


# --- in a tail: the distance d beyond a, of width w, with H(d) = log S(a) − log S(a + d) ----------------


def _integrated_hazard(a: jax.Array, d: jax.Array) -> jax.Array:
    """H(d), by quadrature of the hazard where the difference of logarithms would cancel."""
    t, weights = _rule(a.dtype, 6, 4)
    short = jnp.minimum(d, 0.5)
    near = jnp.sum(weights * hazard(a[..., None] + short[..., None] * t), -1) * short
    return jnp.where(d < 0.5, near, d * (a + d / 2) + jnp.log(hazard(a + d) / hazard(a)))


def _solve(u: jax.Array, q: jax.Array, a: jax.Array, w: jax.Array) -> jax.Array:
    """d with H(d) = −log(1 − u (1 − exp(−H(w)))), by Newton's method from above, where H is convex."""
    total = _integrated_hazard(a, w)
    y = jnp.where(u < 0.5, -jnp.log1p(u * jnp.expm1(-total)), -jnp.log(q + u * jnp.exp(-total)))
    start = jnp.fmin(y / hazard(a), 2 * y / (a + jnp.sqrt(a * a + 2 * y)))
    a = jnp.broadcast_to(a, start.shape)

    def improve(_: Any, d: jax.Array) -> jax.Array:
        return jnp.clip(d - (_integrated_hazard(a, d) - y) / hazard(a + d), 0.0, w)

    return lax.fori_loop(0, 5 if a.dtype == jnp.float64 else 4, improve, start)


@jax.custom_jvp
def _beyond(u: jax.Array, q: jax.Array, start: jax.Array, scale: jax.Array, width: jax.Array) -> jax.Array:
    """How far a draw lies beyond the end at loc + start, of an interval of this width."""
    a = start / scale
    return scale * _solve(u, q, a, jnp.minimum(width / scale, _reach(a)))


@_beyond.defjvp
def _beyond_jvp(primals: tuple, tangents: tuple) -> tuple:
    """Derivatives of F in a location or scale are F (1 − F) times a difference of means left and right of the draw.

    So nothing cancels: with m, s the means of t and t² beyond a, ∂d/∂a is minus a product of positive factors.
    """
    u, q, start, scale, width = primals
    distance = _beyond(u, q, start, scale, width)
    a, d = start / scale, distance / scale
    w = jnp.minimum(width / scale, _reach(a))
    mass, mean, square = _moments(a, d)
    more, square_more = _moments(a + d, w - d)[1:]
    apart = d - mean + more
    squares_apart = d * d - square + 2 * d * more + square_more
    factor = q * mass * jnp.exp(d * (a + d / 2))
    beyond = (width - distance) / scale
    by_width = u * jnp.exp(-beyond * (a + d + beyond / 2))
    by_scale = factor * (2 * a * apart + squares_apart)
    return distance, -factor * apart * tangents[2] + by_scale * tangents[3] + by_width * tangents[4]


def _moments(a: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """∫ exp(−a t − t²/2) dt over (0, w), and the means of t and t² under it."""
    a, w = jnp.broadcast_arrays(a, w)
    fall = w * (a + w / 2)
    t, weights = _rule(a.dtype, 12, 7)
    gentle = fall < 1
    short = jnp.where(gentle, w, 0.5)[..., None] * t
    level = weights * jnp.exp(-short * (a[..., None] + short / 2))
    sums = [jnp.sum(level * short**n, -1) for n in range(3)]
    long, rest = jnp.where(gentle, 1.0, w), jnp.exp(-fall)
    at_a, at_b = 1 / hazard(a), rest / hazard(a + long)
    mass = at_a - at_b
    mean = (excess(a) * at_a - at_b * (excess(a + long) + long)) / mass
    square = 1 - long * rest / mass - a * mean
    near = (w * sums[0], sums[1] / sums[0], sums[2] / sums[0])
    return jnp.where(gentle, near[0], mass), jnp.where(gentle, near[1], mean), jnp.where(gentle, near[2], square)


def _rule(dtype: Any, wide: int, narrow: int) -> tuple[np.ndarray, np.ndarray]:
    t, weights = nodes(wide if dtype == jnp.float64 else narrow)
    return t.astype(dtype), weights.astype(dtype)


# --- about the mode -----------------------------------------------------------------------------------


@jax.custom_jvp
def _between(u: jax.Array, q: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """z with Φ(z) = (1 − u) Φ(a) + u Φ(b), from the tail that is smaller; a is below EDGE."""
    left, right = ndtr(a), ndtr(-b)
    mass = ndtr(b) - left
    below, above = left + u * mass, right + q * mass
    z = jnp.where(below < above, ndtri(jnp.minimum(below, 0.5)), -ndtri(jnp.minimum(above, 0.5)))
    return jnp.clip(z, a, b)


@_between.defjvp
def _between_jvp(primals: tuple, tangents: tuple) -> tuple:
    u, q, a, b = primals
    z = _between(u, q, a, b)
    by_a = q * jnp.exp((z - a) * (z + a) / 2)
    by_b = u * jnp.exp((z - b) * (z + b) / 2)
    return z, by_a * tangents[2] + by_b * tangents[3]

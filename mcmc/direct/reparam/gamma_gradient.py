"""The implicit gradient of a gamma draw, d log x / d concentration, without cancellation anywhere.

With p and F the density and distribution function of Gamma(a, 1) and ψ = digamma, F(x) = u gives

    d log x / da = −(∂F/∂a) / (x p(x)) = ∫ p(t) (ψ(a) − log t) dt / (x p(x))    over 0 < t < x,

or minus the same over t > x. Of the two integrals the one whose integrand has one sign is taken (log x < ψ(a): the
first), by Gauss-Legendre in v = |log(t / x)|. For small a and x it is a power series of which all terms but perhaps
the first are positive.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.direct.reparam.normal_tail import nodes


def log_gradient(a: jax.Array, x: jax.Array, log_x: jax.Array) -> jax.Array:
    """d log x / da of a draw x of Gamma(a, 1): from log x where x is small, where it may underflow."""
    series = (a < 1) & (log_x < 0)
    left = ~series & (_excess(jnp.where(a < 1, 1.0, a), x) < 0) & (a >= 1)
    small = _series(jnp.where(series, a, 0.5), jnp.where(series, log_x, -1.0))
    below = _left(jnp.where(left, a, 2.0), jnp.where(left, x, 1.0))
    right = ~series & ~left
    above = _right(jnp.where(right, a, 1.0), jnp.where(right, x, 2.0))
    return jnp.where(series, small, jnp.where(left, below, above))


def _series(a: jax.Array, log_x: jax.Array) -> jax.Array:
    """Σ xⁿ (ψ(a + n + 1) − log x) / (a (a + 1)ₙ), for x ≤ 1."""
    x = jnp.exp(log_x)
    offset = lax.digamma(a + 1) - log_x
    term, total = jnp.ones_like(x), offset
    for n in range(1, 20 if a.dtype == jnp.float64 else 12):
        term = term * x / (a + n)
        offset = offset + 1 / (a + n)
        total = total + term * offset
    return total / a


def _left(a: jax.Array, x: jax.Array) -> jax.Array:
    """∫ exp(−a v + x (1 − exp(−v))) (ψ(a) − log x + v) dv, for log x < ψ(a) and a ≥ 1."""
    depth, t, weights = _rule(a.dtype)
    linear = 2 * (a - x) - depth  # the exponent is at most −(a − x) v − x v² / (2 + v)
    root = jnp.sqrt(linear * linear + 8 * a * depth)
    end = jnp.where(linear > 0, 4 * depth / (jnp.abs(linear) + root), (root - linear) / (2 * a))
    a, x, end = a[..., None], x[..., None], lax.stop_gradient(end)[..., None]
    v = end * t
    return jnp.sum(weights * end * jnp.exp((x - a) * v - x * _bend(-v)) * (v - _excess(a, x)), -1)


def _right(a: jax.Array, x: jax.Array) -> jax.Array:
    """∫ exp(a v − x (exp(v) − 1)) (log x − ψ(a) + v) dv, for log x > ψ(a)."""
    depth, t, weights = _rule(a.dtype)
    excess = x - a
    end = 2 * depth / (excess + jnp.sqrt(excess * excess + 2 * x * depth))  # from exp(v) − 1 − v > v²/2
    for _ in range(2):
        end = jnp.minimum(end, jnp.log1p((depth + a * end) / x))
    a, x, end = a[..., None], x[..., None], lax.stop_gradient(end)[..., None]
    v = end * t
    return jnp.sum(weights * end * jnp.exp((a - x) * v - x * _bend(v)) * (v + _excess(a, x)), -1)


def _rule(dtype: jnp.dtype) -> tuple[float, np.ndarray, np.ndarray]:
    """How far an exponent falls before the integrals are cut off; nodes and weights."""
    depth, n = (38.0, 32) if dtype == jnp.float64 else (20.0, 16)
    t, weights = nodes(n)
    return depth, t.astype(dtype), weights.astype(dtype)


def _excess(a: jax.Array, x: jax.Array) -> jax.Array:
    """Log x − ψ(a), for large a from x/a, where the logarithms would cancel."""
    large = a > 20
    b = jnp.where(large, a, 20.0)
    s = 1 / (b * b)
    asymptotic = (0.5 + (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s / 132)))) / b) / b
    near = jnp.log1p((x - b) / b) + asymptotic
    return jnp.where(large, near, jnp.log(x) - lax.digamma(jnp.where(large, 1.0, a)))


def _bend(v: jax.Array) -> jax.Array:
    """exp(v) − 1 − v."""
    near = jnp.abs(v) < 0.5
    s = jnp.where(near, v, 0.0)
    sum_ = jnp.ones_like(s)
    for k in range(14 if v.dtype == jnp.float64 else 8, 2, -1):
        sum_ = 1 + s / k * sum_
    return jnp.where(near, s * s / 2 * sum_, jnp.expm1(v) - v)

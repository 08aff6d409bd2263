"""Von Mises draws with exact gradients, from a concentration of 0 to any size."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import FINITE, NON_NEGATIVE, exponential_noise, prepare
from mcmc.direct.reparam.basic import cauchy_noise
from mcmc.direct.reparam.normal_tail import nodes


def von_mises(
    key: jax.Array,
    loc: ArrayLike,
    concentration: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Von Mises draws, angles in [−π, π]: p(x) ∝ exp(concentration cos(x − loc)).

    The gradient in the concentration is that of the distribution function of x − loc, by quadrature. The gradient
    in `loc` is 1: exact for functions of the direction (sin, cos); the angle as a number jumps where it wraps.

    Args:
        key: one JAX key, of any implementation.
        loc: the mean direction.
        concentration: not negative; 0 is uniform, large ones have a variance of 1/concentration.
        shape: the full shape of the result; None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: an argument that is not finite, a negative concentration, or a shape that doesn't fit. Where
            values are traced the draw is NaN instead.

    Source: Best & Fisher 1979, Efficient simulation of the von Mises distribution; Figurnov, Mohamed & Mnih 2018.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> x = reparam.von_mises(jax.random.key(0), 3.0, 1e6, shape=(1000,))
        >>> bool(jnp.all(jnp.abs(jnp.sin(x - 3.0)) < 0.01))
        True
    """
    call = prepare(key, shape, dtype, loc=(loc, FINITE), concentration=(concentration, NON_NEGATIVE))
    return call.draw(_von_mises)


def _von_mises(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, concentration: jax.Array) -> jax.Array:
    k = jnp.broadcast_to(concentration, shape)
    safe = lax.stop_gradient(jnp.where((k >= 0) & (k < np.inf), k, 1.0))  # or the rejection would not end
    x = loc + _with_gradient(_best_fisher(key, shape, dtype, safe), k)
    return x - lax.stop_gradient(2 * np.pi * jnp.round(x / (2 * np.pi)))


def _best_fisher(key: jax.Array, shape: tuple, dtype: Any, k: jax.Array) -> jax.Array:
    """By rejection from a wrapped Cauchy, x = 2 atan(τ c), in terms that no concentration cancels.

    With m = (1 + 1/(√(1 + 4k²) + 2k)) / 2 the best τ² is m / (m + 2k), and a proposal with s = sin²(x/2) is
    accepted with probability exp(−2ks + log(1 + 2ks/m) + 1 − m + log m).
    """
    m = (1 + 1 / (jnp.sqrt(1 + 4 * k * k) + 2 * k)) / 2
    width = jnp.sqrt(m / (m + 2 * k))

    def propose(state: tuple) -> tuple:
        i, t, accepted = state
        one = jax.random.fold_in(key, i)
        to = width * cauchy_noise(one, shape, dtype)
        s = 1 / (1 + 1 / (to * to))
        log_ratio = jnp.log1p(2 * k * s / m) - 2 * k * s + (1 - m) + jnp.log(m)
        ok = -exponential_noise(one, shape, dtype, stream=1) < log_ratio
        return i + 1, jnp.where(accepted, t, to), accepted | ok

    start = (jnp.uint32(0), jnp.zeros(shape, dtype), jnp.zeros(shape, bool))
    _, t, _ = lax.while_loop(lambda state: ~jnp.all(state[2]), propose, start)
    return lax.optimization_barrier(2 * jnp.arctan(t))


@jax.custom_jvp
def _with_gradient(x: jax.Array, k: jax.Array) -> jax.Array:
    return x


@_with_gradient.defjvp
def _with_gradient_jvp(primals: tuple, tangents: tuple) -> tuple:
    """dx/dk = −∫ (cos t − A) exp(k (cos t − cos x)) dt over (0, x), or the same over (x, π), with A = E[cos].

    Of the two the one whose integrand keeps its sign.
    """
    x, k = primals
    x = _with_gradient(x, k)
    angle = jnp.abs(x)
    rest = _mean_versine(k)
    inner = 2 * jnp.sin(angle / 2) ** 2 <= rest
    toward = _integral(k, jnp.where(inner, angle, 0.0), jnp.where(inner, -angle, 0.0), rest)
    outer = jnp.where(inner, 1.0, angle)
    away = _integral(k, outer, _fall(k, outer) - outer, rest)
    return x, tangents[0] + jnp.sign(x) * jnp.where(inner, toward, away) * tangents[1]


def _integral(k: jax.Array, x: jax.Array, length: jax.Array, rest: jax.Array) -> jax.Array:
    """∫ (cos t − A) exp(k (cos t − cos x)) dt from x to x + length."""
    v, weights = _rule(x.dtype)
    k, x, length, rest = k[..., None], x[..., None], length[..., None], rest[..., None]
    step = length * v
    level = jnp.exp(-2 * k * jnp.sin(x + step / 2) * jnp.sin(step / 2))
    return jnp.sum(weights * length * level * (rest - 2 * jnp.sin((x + step) / 2) ** 2), -1)


def _mean_versine(k: jax.Array) -> jax.Array:
    """1 − A = E[1 − cos t]."""
    v, weights = _rule(k.dtype)
    s = jnp.sin(_fall(k, jnp.zeros_like(k))[..., None] * v / 2) ** 2
    level = weights * jnp.exp(-2 * k[..., None] * s)
    return jnp.sum(level * 2 * s, -1) / jnp.sum(level, -1)


def _fall(k: jax.Array, x: jax.Array) -> jax.Array:
    """The angle beyond x where the density has all but vanished, at most π."""
    s = jnp.sin(x / 2) ** 2 + (20.0 if k.dtype == jnp.float32 else 38.0) / jnp.maximum(2 * k, 1.0)
    return lax.stop_gradient(2 * jnp.arcsin(jnp.sqrt(jnp.minimum(s, 1.0))))


def _rule(dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    v, weights = nodes(16 if dtype == jnp.float32 else 36)
    return v.astype(dtype), weights.astype(dtype)

"""Poisson draws of any rate: counts of exponential times, and transformed rejection where the rate is not small."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import Condition, exponential_noise, prepare, two_sided
from mcmc.direct.reparam.implicit import discrete
from mcmc.errors import WrongValue

MOST = {"int32": 2**31 - 2**20, "int64": 2**53}  # more than twenty standard deviations below what the type holds
SMALL = 10.0  # rates below which exponential times are counted
SERIES = 0.1  # deviations, relative to the rate, below which a series is more precise


def poisson(
    key: jax.Array, rate: ArrayLike, *, shape: tuple[int, ...] | None = None, dtype: DTypeLike | None = None
) -> jax.Array:
    """Poisson draws (−1 where a traced `rate` is bad), that refuse to be differentiated.

    Log probabilities are taken relative to the mode, so that huge rates lose no digits: `jax.random.poisson` gives
    2147483647 at 1e12.

    Args:
        key: one JAX key, of any implementation.
        rate: the mean, not negative; at most 2.146e9 for int32 draws, 9e15 for int64.
        shape: the full shape of the result; None: that of `rate`.
        dtype: int32 or int64; None: JAX's default, int64 where 64 bits are enabled.

    Raises:
        ValueError: a rate or a dtype out of its range, or a shape that doesn't fit.
        TypeError: a gradient in `rate` is asked for, see `discrete`.

    Source: Hörmann 1993, The transformed rejection method for generating Poisson random variables (PTRS).

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.poisson(jax.random.key(0), 3.0, shape=(5,)).shape
        (5,)
    """
    wide = jnp.result_type(int) == jnp.int64
    kind = jnp.dtype(dtype or jnp.result_type(int))
    if str(kind) not in MOST or (kind == jnp.int64 and not wide):
        remedy = "Call it inside `with jax.enable_x64(True):` for int64."
        raise WrongValue("dtype", str(kind), "int32 or int64" if wide else "int32 here", remedy)
    most = MOST[str(kind)]
    limit = Condition(
        lambda x: (x >= 0) & (x <= most),
        f"numbers from 0 to {most}, for draws that {kind} holds",
        "Of larger rates take int64 draws inside `with jax.enable_x64(True):`, or reparam.normal of that mean and "
        "variance.",
    )
    call = prepare(key, shape, None, rate=(rate, limit))
    real = jnp.float64 if kind == jnp.int64 else jnp.float32
    held = lax.stop_gradient(jnp.asarray(call.values[0], real))
    drawn = _draw(call.key, held, call.shape, kind)
    return discrete(drawn if call.valid is None else jnp.where(call.valid, drawn, -1), call.values[0])


@partial(jax.jit, static_argnames=("shape", "kind"))
def _draw(key: jax.Array, rate: jax.Array, shape: tuple, kind: Any) -> jax.Array:
    rate = jnp.broadcast_to(rate, shape)
    rate = jnp.where((rate >= 0) & (rate <= MOST[str(kind)]), rate, 0.0)
    small = rate < SMALL
    few = _counted(jax.random.fold_in(key, 0), jnp.where(small, rate, 0.0), kind)
    return jnp.where(small, few, _rejected(jax.random.fold_in(key, 1), jnp.where(small, SMALL, rate), ~small, kind))


def _counted(key: jax.Array, rate: jax.Array, kind: Any) -> jax.Array:
    """How many exponential times end before `rate`."""

    def wait(state: tuple) -> tuple:
        i, time, count = state
        time = time + exponential_noise(jax.random.fold_in(key, i), rate.shape, rate.dtype)
        return i + 1, time, count + (time < rate).astype(kind)

    start = (jnp.uint32(0), jnp.zeros_like(rate), jnp.zeros(rate.shape, kind))
    return lax.while_loop(lambda state: jnp.any(state[1] < rate), wait, start)[2]


def _rejected(key: jax.Array, rate: jax.Array, wanted: jax.Array, kind: Any) -> jax.Array:
    """The whole part of the rate, and an integer that is added: exact however large the rate is."""
    whole = jnp.floor(rate)
    part, b = rate - whole, 0.931 + 2.53 * jnp.sqrt(rate)
    a = -0.059 + 0.02483 * b
    log_scale = jnp.log(1.1239 + 1.1328 / (b - 3.4))

    def propose(state: tuple) -> tuple:
        i, more, accepted = state
        one = jax.random.fold_in(key, i)
        u, q = two_sided(one, rate.shape, rate.dtype)
        v, _ = two_sided(one, rate.shape, rate.dtype, stream=1)
        near = jnp.minimum(u, q)
        to = jnp.floor((2 * a / near + b) * jnp.where(u < q, near - 0.5, 0.5 - near) + part + 0.43)
        inside = (to >= -whole) & (to < 2 * rate + 1e6)
        log_ratio = log_prob(rate, jnp.where(inside, to - part, 0.0))
        ok = inside & (jnp.log(v) + log_scale - jnp.log(a / (near * near) + b) <= log_ratio)
        return i + 1, jnp.where(accepted, more, jnp.where(ok, to, 0.0)), accepted | ok

    start = (jnp.uint32(0), jnp.zeros_like(rate), ~wanted)
    _, more, _ = lax.while_loop(lambda state: ~jnp.all(state[2]), propose, start)
    return whole.astype(kind) + more.astype(kind)


def log_prob(rate: jax.Array, deviation: jax.Array) -> jax.Array:
    """Log Poisson probability of k = rate + deviation, by Stirling's series about k (Loader 2000)."""
    x = deviation / rate
    near = jnp.abs(x) < SERIES
    s, sum_ = jnp.where(near, x, 0.0), jnp.zeros_like(x)
    for n in range(14, 1, -1):
        sum_ = 1 / (n * (n - 1)) - s * sum_
    far = jnp.where(near, 0.0, jnp.maximum(x, -1.0))
    bend = jnp.where(near, s * s * sum_, (1 + far) * jnp.log1p(jnp.maximum(far, -1 + 1e-7)) - far)
    k = jnp.maximum(rate + deviation, 0.5)
    few = jnp.minimum(k, 10.0)
    exact = lax.lgamma(few + 1) - (few + 0.5) * jnp.log(few) + few - 0.5 * math.log(2 * math.pi)
    r = 1 / jnp.maximum(k, 10.0)
    rest = jnp.where(k < 10, exact, r * (1 / 12 - r * r * (1 / 360 - r * r * (1 / 1260 - r * r / 1680))))
    zero = rate + deviation < 0.5
    return jnp.where(zero, -rate, -rate * bend - 0.5 * jnp.log(2 * np.pi * k) - rest)

"""Directions in any number of dimensions: power spherical and von Mises–Fisher, with exact gradients.

A draw is x = cos θ μ + sin θ v, v uniform among the directions at right angles to μ. Its gradient in the
concentration is that of the angle θ; in μ that of the rotation which takes μ to its neighbour by the shortest way.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import (
    NON_NEGATIVE,
    Call,
    Condition,
    both,
    check,
    common_shape,
    exponential_noise,
    float_dtype,
    full_shape,
    real_array,
    same_value,
    single_key,
)
from mcmc.direct.reparam.gamma import gamma_parts
from mcmc.direct.reparam.normal_tail import nodes
from mcmc.errors import WrongValue
from mcmc.random import draws as random

UNIT = 1e-3  # how far from 1 the length of a direction may be
HALVINGS = 40
UNIT_LENGTH = Condition(
    lambda x: abs((x * x).sum(-1) - 1) < 2 * UNIT, "vectors of length 1", "Divide it by jnp.linalg.norm."
)


def power_spherical(
    key: jax.Array,
    mean_direction: ArrayLike,
    concentration: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Power spherical draws, unit vectors of d numbers: p(x) ∝ (1 + μᵀx)^concentration.

    The cosine is 2 z − 1 with z ~ Beta((d − 1)/2 + concentration, (d − 1)/2), whose gradient is exact: no rejection.

    Args:
        key: one JAX key, of any implementation.
        mean_direction: μ, (..., d) of length 1, with d at least 2.
        concentration: not negative; 0 is uniform.
        shape: the batch shape, to which d is added: (n,) gives (n, d); None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: a direction that has not length 1, a negative concentration, or a shape that doesn't fit. Where
            values are traced the draw is NaN instead.

    Source: De Cao & Aziz 2020, The power spherical distribution.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> x = reparam.power_spherical(jax.random.key(0), jnp.array([0.0, 0.0, 1.0]), 10.0, shape=(50_000,))
        >>> round(float(x[:, 2].mean()), 2)  # concentration / (concentration + d - 1)
        0.83
    """
    return _prepare(key, mean_direction, concentration, shape, dtype).draw(_power_spherical)


def von_mises_fisher(
    key: jax.Array,
    mean_direction: ArrayLike,
    concentration: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Von Mises–Fisher draws, unit vectors of d numbers: p(x) ∝ exp(concentration μᵀx).

    The angle to μ comes from Wood's rejection; its gradient in the concentration is that of its distribution function,
    by quadrature.

    Arguments, errors and the rest as in `power_spherical`.

    Source: Wood 1994, Simulation of the von Mises Fisher distribution; Figurnov, Mohamed & Mnih 2018.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> x = reparam.von_mises_fisher(jax.random.key(0), jnp.array([0.0, 0.0, 1.0]), 10.0, shape=(50_000,))
        >>> round(float(x[:, 2].mean()), 1)  # coth(10) - 1/10
        0.9
    """
    return _prepare(key, mean_direction, concentration, shape, dtype).draw(_von_mises_fisher)


def _prepare(key: Any, mean_direction: Any, concentration: Any, shape: Any, dtype: Any) -> Call:
    mean = real_array("mean_direction", mean_direction)
    concentration = real_array("concentration", concentration)
    sizes = np.shape(mean)
    if not sizes or sizes[-1] < 2:
        remedy = "A direction in the plane has two numbers; for angles take reparam.von_mises."
        raise WrongValue("mean_direction", f"shape {sizes}", "shape (..., d), d at least 2", remedy)
    batch = common_shape(mean_direction=sizes[:-1], concentration=np.shape(concentration))
    valid = check("mean_direction", mean, UNIT_LENGTH)
    valid = both(valid, check("concentration", concentration, NON_NEGATIVE))
    valid = None if valid is None else valid[..., None]
    full = full_shape(shape, batch, sizes[-1:])
    dtype = float_dtype(dtype, mean, concentration)
    return Call(single_key(key), full, dtype, (mean, concentration), valid)


def _power_spherical(key: jax.Array, shape: tuple, dtype: Any, mean: jax.Array, k: jax.Array) -> jax.Array:
    half = (shape[-1] - 1) / 2
    concentrations = jnp.stack(jnp.broadcast_arrays(k + half, jnp.full_like(k, half)), -1)
    value, log_factor = gamma_parts(jax.random.fold_in(key, 0), (*shape[:-1], 2), dtype, concentrations)
    log_gamma = jnp.log(value) + log_factor
    log_s = jax.nn.log_softmax(log_gamma)  # of cos² and sin² of θ/2
    cosine, sine = 1 - 2 * jnp.exp(log_s[..., 1]), 2 * jnp.exp(jnp.sum(log_s, -1) / 2)
    return _about(jax.random.fold_in(key, 1), shape, dtype, mean, cosine, sine)


def _von_mises_fisher(key: jax.Array, shape: tuple, dtype: Any, mean: jax.Array, k: jax.Array) -> jax.Array:
    k = jnp.broadcast_to(k, shape[:-1])
    safe = lax.stop_gradient(jnp.where((k >= 0) & (k < np.inf), k, 1.0))  # or the rejection would not end
    angle = _wood(jax.random.fold_in(key, 0), shape[:-1], dtype, shape[-1], safe)
    angle = _with_gradient(shape[-1], angle, k)
    return _about(jax.random.fold_in(key, 1), shape, dtype, mean, jnp.cos(angle), jnp.sin(angle))


def _about(key: jax.Array, shape: tuple, dtype: Any, mean: jax.Array, cosine: jax.Array, sine: jax.Array) -> jax.Array:
    """Unit vectors at these angles to the mean direction, in a random direction about it."""
    mean = mean / jnp.sqrt(jnp.sum(mean * mean, -1, keepdims=True))
    here = lax.stop_gradient(mean)
    z = random.normal(key, shape, dtype)
    for _ in range(2):  # again, for what rounding leaves
        z = z - here * jnp.sum(here * z, -1, keepdims=True)
        z = z / jnp.sqrt(jnp.sum(z * z, -1, keepdims=True))
    x = cosine[..., None] * here + sine[..., None] * z
    a, b, c = (jnp.sum(p * q, -1, keepdims=True) for p, q in ((here, x), (mean, x), (mean, here)))
    turned = x + mean * a - here * b + (mean * (c * a - b) - here * (a - c * b)) / (1 + c)
    return same_value(turned, x)


def _wood(key: jax.Array, shape: tuple, dtype: Any, d: int, k: jax.Array) -> jax.Array:
    """Angles θ of density ∝ exp(k cos θ) sin^(d − 2) θ, by s = sin²(θ/2), in terms that no concentration cancels.

    s = b z / (1 − z + b z), z ~ Beta((d − 1)/2, (d − 1)/2), is accepted with the probability whose logarithm is
    2 k (b / (1 + b) − s) + (d − 1) (log((1 + b) / 2) + log(1 + (1 − b) s / b)).
    """
    n = d - 1
    b = n / (2 * k + jnp.sqrt(4 * k * k + n * n))
    halves = jnp.full((2, *shape), n / 2, dtype)

    def propose(state: tuple) -> tuple:
        i, s, accepted = state
        one = jax.random.fold_in(key, i)
        value, log_factor = gamma_parts(jax.random.fold_in(one, 0), (2, *shape), dtype, halves)
        z, rest = jnp.exp(jax.nn.log_softmax(jnp.log(value) + log_factor, 0))
        over = z / (rest + b * z)  # s / b
        log_ratio = 2 * k * b * (1 / (1 + b) - over) + n * (jnp.log1p((b - 1) / 2) + jnp.log1p((1 - b) * over))
        ok = -exponential_noise(jax.random.fold_in(one, 1), shape, dtype) < log_ratio
        return i + 1, jnp.where(accepted, s, b * over), accepted | ok

    start = (jnp.uint32(0), jnp.zeros(shape, dtype), jnp.zeros(shape, bool))
    _, s, _ = lax.while_loop(lambda state: ~jnp.all(state[2]), propose, start)
    return lax.optimization_barrier(2 * jnp.arcsin(jnp.sqrt(jnp.minimum(s, 1.0))))


# --- the gradient of the angle ----------------------------------------------------------------------------


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _with_gradient(d: int, angle: jax.Array, k: jax.Array) -> jax.Array:
    return angle


@_with_gradient.defjvp
def _with_gradient_jvp(d: int, primals: tuple, tangents: tuple) -> tuple:
    """dθ/dk = −∫ (cos t − A) w(t) / w(θ) dt over (0, θ), or minus that over (θ, π); w(t) = exp(k cos t) sin^(d − 2) t.

    A = E[cos]. Of the two the one whose integrand keeps its sign.
    """
    angle, k = primals
    angle = _with_gradient(d, angle, k)
    mode = _mode(d, k)
    below, above = (_integrals(d, k, mode, _end(d, k, mode, to)) for to in (0.0, np.pi))
    rest = (above[1] - below[1]) / (above[0] - below[0])  # E[1 - cos] = 1 - A
    inner = 2 * jnp.sin(angle / 2) ** 2 <= rest
    low = _end(d, k, jnp.minimum(angle, mode), 0.0)
    high = _end(d, k, jnp.maximum(angle, mode), np.pi)
    slope = _integrals(d, k, angle, jnp.where(inner, low, high), rest)[1]
    return angle, tangents[0] - slope * tangents[1]


def _integrals(d: int, k: jax.Array, a: jax.Array, end: jax.Array, rest: Any = None) -> tuple[jax.Array, jax.Array]:
    """∫ w(t) / w(a) dt from a to the end, and that of (1 − cos t) w(t) / w(a); less `rest`, where given."""
    v, weights = (x.astype(a.dtype) for x in nodes(16 if a.dtype == jnp.float32 else 36))
    length = (end - a)[..., None]
    t = a[..., None] + length * v
    level = weights * length * jnp.exp(_log_ratio(d, k[..., None], t, a[..., None], length * v))
    versine = 2 * jnp.sin(t / 2) ** 2
    return jnp.sum(level, -1), jnp.sum(level * (versine if rest is None else versine - rest[..., None]), -1)


def _log_ratio(d: int, k: jax.Array, t: jax.Array, a: jax.Array, step: Any) -> jax.Array:
    """log w(t) / w(a), with t − a = step."""
    value = -2 * k * jnp.sin(a + step / 2) * jnp.sin(step / 2)
    if d == 2:
        return value
    tiny = jnp.finfo(a.dtype).tiny
    return value + (d - 2) * (jnp.log(jnp.maximum(jnp.sin(t), tiny)) - jnp.log(jnp.maximum(jnp.sin(a), tiny)))


def _mode(d: int, k: jax.Array) -> jax.Array:
    """Where w is highest: k sin² t = (d − 2) cos t."""
    if d == 2:
        return jnp.zeros_like(k)
    n, root = d - 2, jnp.sqrt((d - 2) ** 2 + 4 * k * k)
    versine = n * (1 + n / (root + 2 * k)) / (n + root)
    return lax.stop_gradient(2 * jnp.arcsin(jnp.sqrt(versine / 2)))


def _end(d: int, k: jax.Array, start: jax.Array, to: float) -> jax.Array:
    """The place between `start` and `to` beyond which w has all but vanished, by bisection."""
    drop = 20.0 if start.dtype == jnp.float32 else 38.0

    def halve(_: Any, ends: tuple) -> tuple:
        near, far = ends
        middle = (near + far) / 2
        gone = _log_ratio(d, k, middle, start, middle - start) < -drop
        return jnp.where(gone, near, middle), jnp.where(gone, middle, far)

    start = lax.stop_gradient(start)
    return lax.stop_gradient(lax.fori_loop(0, HALVINGS, halve, (start, jnp.full_like(start, to)))[1])

"""The distribution function of a fitted density, by quadrature over its panels, in compiled code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.direct.inverse_cdf.lookup import as_type, inside
from mcmc.direct.inverse_cdf.quadrature import WEIGHTS, XI


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ranges:
    """Panels from left to right: x = anchor + t, or anchor + sign · exp(t), for t from t0 to t1; x0 where they begin.

    `mass`: their shares of the mass; `ends`: those before the first and after the last.
    """

    anchor: Any
    sign: Any
    t0: Any
    t1: Any
    x0: Any
    ends: Any
    mass: Any


def tail(
    log_density: Callable,
    ranges: Ranges,
    support: tuple[float, float],
    x: jax.Array,
    right: jax.Array,
    mass: jax.Array | None = None,
) -> jax.Array:
    """The share of the mass to the left of x, or where `right` to its right, each with its own relative precision.

    `mass`: the panels' shares, where known; else integrated again, so that parameters can be differentiated.
    """
    r = jax.tree.map(lambda a: as_type(a, x.dtype), ranges)
    if mass is None:
        mass = integrals(log_density, r.anchor, r.sign, r.t0, r.t1, support)
    mass = as_type(mass, x.dtype)
    left, after = before(mass), before(mass[::-1])[::-1]
    total = jnp.sum(mass) / (1 - r.ends[0] - r.ends[1])
    at = jnp.clip(jnp.searchsorted(jax.lax.stop_gradient(r.x0), x, side="right") - 1, 0, mass.size - 1)
    anchor, sign, t0, t1 = r.anchor[at], r.sign[at], r.t0[at], r.t1[at]
    d = jnp.where(sign == 0, 1.0, (x - anchor) * sign)
    tiny = np.finfo(x.dtype).tiny
    t = jnp.where(sign == 0, x - anchor, jnp.log(jnp.maximum(d, tiny)))
    low, high = jnp.minimum(t0, t1), jnp.maximum(t0, t1)
    t = jnp.clip(t, low, high)
    part = integrals(log_density, anchor, sign, jnp.where(right, t, t0), jnp.where(right, t1, t), support)
    return jnp.where(right, after[at] + part + total * r.ends[1], left[at] + part + total * r.ends[0]) / total


def before(mass: jax.Array) -> jax.Array:
    """The sums of what stands before each, which never fall (a sum less its last part may, by rounding)."""
    return jnp.concatenate([jnp.zeros(1, mass.dtype), jnp.cumsum(mass)[:-1]])


def integrals(log_density: Callable, anchor: Any, sign: Any, t0: Any, t1: Any, support: tuple[float, float]) -> Any:
    """The integral of the density over each range."""
    dtype = t0.dtype
    half = 0.5 * (t1 - t0)[..., None]
    t = 0.5 * (t0 + t1)[..., None] + half * XI.astype(dtype)
    sign, anchor = sign[..., None], anchor[..., None]
    d = jnp.where(sign == 0, t, jnp.exp(jnp.where(sign == 0, 0.0, t)))
    x = jnp.clip(jnp.where(sign == 0, anchor + d, anchor + sign * d), *inside(support, dtype))
    jacobian = jnp.where(sign == 0, 1.0, d)
    f = jnp.where(half == 0, 0.0, jnp.exp(log_density(x)))  # no range, perhaps at a pole
    return jnp.sum(f * jacobian * jnp.abs(half) * WEIGHTS.astype(dtype), -1)

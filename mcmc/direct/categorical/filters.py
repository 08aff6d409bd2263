"""Which tokens a categorical distribution keeps: temperature and the usual cut-offs, for one row, without a sort.

Every filter but the typical one keeps the tokens above a threshold. Thresholds are found by bisection on the bit
patterns of floats, which are ordered as the floats are: as many steps as there are bits give the exact threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.direct.categorical import tree


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Row:
    """One row on its way through the filters, all (n,) but `valid`.

    Attributes:
        x: logits; -inf is masked. At temperature 0 only the first greatest is left.
        gap: x minus its maximum, not divided by the temperature; -inf where masked.
        s: gap / temperature.
        w: exp(s), in [0, 1].
        keep: what is kept so far.
        valid: whether the row has a distribution.
    """

    x: jax.Array
    gap: jax.Array
    s: jax.Array
    w: jax.Array
    keep: jax.Array
    valid: jax.Array

    @property
    def weights(self) -> jax.Array:
        """exp(s) where kept, else 0."""
        return jnp.where(self.keep, self.w, 0)

    @property
    def mass(self) -> jax.Array:
        """The sum of the weights, in float64."""
        return tree.total(self.weights, jnp.float64)


# --- temperature ----------------------------------------------------------------------------------------


def safe_temperature(temperature: jax.Array) -> jax.Array:
    """What to divide by: 1 for 0; below the least normal number, that number; not a number stays."""
    tiny = jnp.finfo(temperature.dtype).tiny
    bits = lax.bitcast_convert_type(temperature, _integer(temperature.dtype))
    subnormal = (bits > 0) & (bits < lax.bitcast_convert_type(jnp.asarray(tiny, temperature.dtype), bits.dtype))
    zero = (bits == 0) | (bits == jnp.iinfo(bits.dtype).min)
    return jnp.where(subnormal, tiny, jnp.where(zero, 1, temperature))


def is_zero(temperature: jax.Array) -> jax.Array:
    """Whether exactly 0, also where the processor takes subnormal numbers for 0."""
    bits = lax.bitcast_convert_type(temperature, _integer(temperature.dtype))
    return (bits == 0) | (bits == jnp.iinfo(bits.dtype).min)


def start(x: jax.Array, temperature: jax.Array | None) -> Row:
    """The row before any filter: logits (n,) in float32 or float64, and a temperature () or None for 1."""
    top = tree.maximum(x)
    valid = top > -jnp.inf
    if temperature is not None:
        x = jnp.where(is_zero(temperature) & (jnp.arange(x.size, dtype=jnp.int32) != first_of(x, top)), -jnp.inf, x)
        valid = valid & (temperature >= 0)
    masked = (x == -jnp.inf) | ((top == jnp.inf) & (x < top))
    least = jnp.finfo(x.dtype).min
    gap = jnp.where(x == top, 0, jnp.where(masked, -jnp.inf, jnp.maximum(x - top, least)))
    s = gap
    if temperature is not None:
        s = jnp.where(masked, -jnp.inf, gap / safe_temperature(temperature))
    w = jnp.where(masked, 0, jnp.where(s == 0, 1, jnp.exp(s)))
    return Row(x, gap, s, lax.optimization_barrier(w), ~masked, valid)


def first_of(x: jax.Array, top: jax.Array) -> jax.Array:
    """The first index at which x is its maximum."""
    size = x.shape[-1]
    return tree.minimum(jnp.where(x == top, jnp.arange(size, dtype=jnp.int32), size), size)


# --- thresholds -----------------------------------------------------------------------------------------


def _integer(dtype: Any) -> Any:
    return jnp.dtype(f"int{jnp.dtype(dtype).itemsize * 8}")


def ordered(x: jax.Array) -> jax.Array:
    """Floats as integers in the same order; of integers, the floats: its own inverse up to the type."""
    bits = lax.bitcast_convert_type(x, _integer(x.dtype)) if jnp.issubdtype(x.dtype, jnp.floating) else x
    return bits ^ (lax.shift_right_arithmetic(bits, bits.dtype.type(bits.dtype.itemsize * 8 - 1)) & _most(bits))


def _most(bits: jax.Array) -> Any:
    return np.array(np.iinfo(bits.dtype).max, bits.dtype)


def threshold(measure: Callable, target: Any, bounds: tuple, least: Callable, fixed: bool) -> jax.Array:
    """The greatest float c within bounds with measure(c) >= target, for a measure that falls as c rises.

    Args:
        measure: c -> the mass (or count) of what is at or above c.
        target: what to reach; it is reached at the lower bound.
        bounds: two floats; c may be either.
        least: c -> a lower bound on what one element at or above c adds. With less than two of it between the
            bounds, one element is there, and the search may stop.
        fixed: whether to make as many steps as there are bits, whatever was found: no lane waits for another.
    """
    dtype = bounds[0].dtype

    def value(integer):
        return lax.bitcast_convert_type(ordered(integer), dtype)

    def step(carry):
        low, high, above, below = carry
        middle = (low & high) + lax.shift_right_arithmetic(low ^ high, low.dtype.type(1))
        found = measure(value(middle))
        enough = found >= target
        low, high = jnp.where(enough, middle, low), jnp.where(enough, high, middle)
        return low, high, jnp.where(enough, found, above), jnp.where(enough, below, found)

    def undecided(carry):
        low, high, above, below = carry
        return (low + 1 < high) & (above - below >= 2 * least(value(low)))

    low, high = ordered(bounds[0]), ordered(bounds[1]) + 1
    above = measure(bounds[0])
    low, high = (jnp.where(above >= 0, end, end) for end in (low, high))  # varies over devices as the measure does
    carry = (low, high, above, jnp.zeros_like(above))
    if fixed:
        carry = lax.fori_loop(0, low.dtype.itemsize * 8, lambda _, carry: step(carry), carry)
    else:
        carry = lax.while_loop(undecided, step, carry)
    return value(carry[0])


# --- filters --------------------------------------------------------------------------------------------
# Each takes the row as it is and gives what to keep of it.


def top_k(row: Row, k: jax.Array, fixed: bool) -> jax.Array:
    """The k greatest logits, and those equal to the last of them."""
    k = jnp.clip(k, 1, row.x.size)

    def count(c):
        return tree.total((row.keep & (row.x >= c)).astype(jnp.int32))

    infinity = jnp.full((), jnp.inf, row.x.dtype)
    all_of_it = k >= count(-infinity)
    c = threshold(count, k, (-infinity, infinity), lambda c: jnp.int32(1), fixed)
    return all_of_it | (row.x >= c)


def top_p(row: Row, p: jax.Array, fixed: bool) -> jax.Array:
    """The smallest set of the likeliest tokens that has probability p or more, ties included."""
    weights = row.weights

    def mass(c):
        return tree.total(jnp.where(weights >= c, weights, 0), jnp.float64)

    bounds = jnp.zeros((), weights.dtype), jnp.ones((), weights.dtype)
    c = threshold(mass, p * row.mass, bounds, lambda c: c.astype(jnp.float64), fixed)
    return (p >= 1) | (weights >= c)


def min_p(row: Row, p: jax.Array, fixed: bool) -> jax.Array:
    """The tokens with at least p times the greatest probability."""
    return row.w >= p


def typical_p(row: Row, p: jax.Array, fixed: bool) -> jax.Array:
    """The smallest set of probability p or more of the tokens whose -log probability is nearest to the entropy."""
    weights = row.weights
    mass = row.mass
    centre = tree.total(jnp.where(weights > 0, weights * row.s, 0), jnp.float64) / mass
    near = jnp.where(row.keep, -jnp.abs(row.s - centre.astype(row.s.dtype)), -jnp.inf)

    def within(c):
        return tree.total(jnp.where(near >= c, weights, 0), jnp.float64)

    bounds = jnp.full((), -jnp.inf, near.dtype), tree.maximum(near)
    c = threshold(within, p * mass, bounds, lambda c: jnp.float64(0), fixed)
    return (p >= 1) | (near >= c)


def epsilon_cutoff(row: Row, epsilon: jax.Array, fixed: bool) -> jax.Array:
    """The tokens of probability epsilon or more; the greatest is kept in any case."""
    weights = row.weights
    return weights >= jnp.minimum(epsilon * row.mass, tree.maximum(weights))


def eta_cutoff(row: Row, epsilon: jax.Array, fixed: bool) -> jax.Array:
    """The tokens of probability eta = min(epsilon, sqrt(epsilon) exp(-entropy)) or more."""
    weights, mass = row.weights, row.mass
    mean = tree.total(jnp.where(weights > 0, weights * row.s, 0), jnp.float64) / mass
    eta = jnp.minimum(epsilon, jnp.sqrt(epsilon) * jnp.exp(mean) / mass)
    return epsilon_cutoff(row, eta, fixed)


def top_n_sigma(row: Row, n: jax.Array, fixed: bool) -> jax.Array:
    """The tokens whose logit is within n standard deviations (over the finite logits) of the greatest."""
    gap = jnp.where(row.keep, row.gap, 0)
    size = tree.total(row.keep.astype(jnp.int32))
    mean = tree.total(gap, jnp.float64) / size
    away = jnp.where(row.keep, gap.astype(jnp.float64) - mean, 0)
    sigma = jnp.sqrt(tree.total(away * away) / size)
    top = tree.maximum(jnp.where(row.keep, row.gap, -jnp.inf))
    return row.gap >= top - jnp.where(sigma > 0, n * sigma, 0)


FILTERS: dict[str, Callable] = {
    f.__name__: f for f in (top_k, top_p, min_p, typical_p, epsilon_cutoff, eta_cutoff, top_n_sigma)
}


def in_domain(name: str, value: Any) -> Any:
    """Whether a parameter's value (NumPy or JAX) means something; NaN does not."""
    if name == "top_k":
        return value >= 1
    if name in ("temperature", "top_n_sigma"):
        return value >= 0
    return (value >= 0) & (value <= 1)


def truncated(x: jax.Array, temperature: Any, limits: dict, order: str | tuple, fixed: bool) -> Row:
    """The row of logits (n,) after all filters: `limits` has their parameters by name, each ()."""
    if isinstance(order, tuple):
        return _one_by_one(x, temperature, limits, order, fixed)
    row = untouched = start(x, temperature)
    for name in FILTERS:
        if name in limits:
            given = row if order == "sequential" else untouched
            keep = row.keep & FILTERS[name](given, limits[name], fixed)
            row = replace(row, keep=keep, valid=row.valid & in_domain(name, limits[name]))
    if order == "joint" and limits:
        row = replace(row, valid=row.valid & (row.mass > 0))
    return row


def _one_by_one(x: jax.Array, temperature: Any, limits: dict, names: tuple, fixed: bool) -> Row:
    """The filters in the order of their names, the temperature where its name is, else first."""
    now = None if "temperature" in names else temperature
    row = start(x, now)
    for name in names:
        x, valid = row.x, row.valid
        if name == "temperature":
            now = temperature
        elif name in limits:
            x = jnp.where(row.keep & FILTERS[name](row, limits[name], fixed), x, -jnp.inf)
            valid = valid & in_domain(name, limits[name])
        row = start(x, now)
        row = replace(row, valid=row.valid & valid)
    return row

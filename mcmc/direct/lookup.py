"""The hot path of the inverse CDF: from random bits, through one small table, to draws.

A uniform is a side and a mass w below 1/2 to the nearest end, so that both tails have the resolution of floating
point. Exponent and leading mantissa bits of w are the number of a dyadic cell. Either every cell has a polynomial of
its own, and one look-up finds it (`CELLS`); or the cell says which panel it begins in, and a few bisecting steps find
the panel (`GUIDED`); or bisection starts from all panels (`SEARCHED`, where the table is made inside compiled code).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc import philox
from mcmc.random import bits

CELLS, GUIDED, SEARCHED = "cells", "guided", "searched"
OCTAVES = 66  # w below 2⁻⁶⁶ is in one cell with 0
BLOCK = 1 << 16
STREAM = 2


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["rows", "knots", "guide"],
    meta_fields=["kind", "fine", "steps", "support"],
)
@dataclass(frozen=True)
class Table:
    """Rows of coefficients (row, 6), or with the panel's first w and 1 / width before them (row, 8).

    `fine` mantissa bits number a cell; the rows of the right side follow those of the left. `knots` are the first w
    of the panels, +inf where a side's panels end; `guide` is the panel that a cell begins in.
    """

    rows: Any
    knots: Any
    guide: Any
    kind: str
    fine: int
    steps: int
    support: tuple[float, float]


def cells(fine: int) -> int:
    """How many cells a side has."""
    return ((OCTAVES - 1) << fine) + 1


def quantile(table: Table, right: jax.Array, w: jax.Array) -> jax.Array:
    """x with the mass w to its left, or where `right` to its right; w in (0, 1/2]."""
    dtype = w.dtype
    w = jnp.minimum(w, np.nextafter(np.array(0.5, dtype), dtype.type(0)))
    big = dtype.type(np.finfo(dtype).max ** 0.97)
    rows = jnp.clip(as_type(table.rows, dtype), -big, big)
    if table.kind == SEARCHED:
        at = right.astype(jnp.int32) * np.int32(table.knots.shape[0] // 2)
        cell = at
    else:
        cell, s = _cell(w, table.fine)
        cell = cell + right.astype(jnp.int32) * np.int32(cells(table.fine))
        at = cell if table.kind == CELLS else jnp.asarray(table.guide).at[cell].get(mode="promise_in_bounds")
    if table.kind != CELLS:
        knots = as_type(table.knots, dtype)
        for k in reversed(range(table.steps)):
            beyond = w >= knots.at[at + np.int32(1 << k)].get(mode="promise_in_bounds")
            at = at + beyond.astype(jnp.int32) * np.int32(1 << k)
    columns = [rows[:, j].at[at].get(mode="promise_in_bounds") for j in range(rows.shape[1])]
    if table.kind != CELLS:
        s = jnp.clip((w - columns[0]) * columns[1], 0, 1)
    c = columns[-6:]
    x = c[5]
    for k in range(4, -1, -1):
        x = x * s + c[k]
    return jnp.clip(x, *inside(table.support, dtype))


def as_type(x: Any, dtype: Any) -> jax.Array:
    """An array of this type; what is too large for it becomes infinite."""
    if isinstance(x, np.ndarray):
        with np.errstate(over="ignore", under="ignore"):
            return jnp.asarray(x.astype(dtype))
    return jnp.asarray(x, dtype)


def _cell(w: jax.Array, fine: int) -> tuple[jax.Array, jax.Array]:
    """The cell of w and where in it, in [0, 1]."""
    dtype = w.dtype
    mantissa, integer = (23, jnp.int32) if dtype == jnp.float32 else (52, jnp.int64)
    one = np.array(1.0, dtype).view(integer)
    pattern = lax.bitcast_convert_type(w, integer)
    first = (int(one) >> (mantissa - fine)) - (OCTAVES << fine)
    number = lax.shift_right_logical(pattern, integer(mantissa - fine)).astype(jnp.int32) - np.int32(first)
    rest = (pattern << integer(fine)) & integer((1 << mantissa) - 1) | integer(one)
    s = lax.bitcast_convert_type(rest, dtype) - dtype.type(1)
    below = number < 0
    return jnp.where(below, 0, number + 1), jnp.where(below, w * dtype.type(2.0**OCTAVES), s)


def inside(support: tuple[float, float], dtype: Any) -> tuple[Any, Any]:
    """The least and the greatest number of a type inside an open interval, and not subnormal."""
    tiny = np.finfo(dtype).tiny
    with np.errstate(over="ignore", under="ignore"):
        lo, hi = (np.asarray(end, dtype) for end in support)
        low, high = np.nextafter(lo, dtype.type(np.inf)), np.nextafter(hi, dtype.type(-np.inf))
    if lo == -np.inf:
        low = lo
    if hi == np.inf:
        high = hi
    return (tiny if 0 <= low < tiny else low), (-tiny if -tiny < high <= 0 else high)


def sides(u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether u lies above 1/2, and the mass to the nearest end."""
    right = u > 0.5
    return right, jnp.where(right, 1 - u, u)


def uniform_sides(key: jax.Array, many: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Random sides and masses: one bit, and midpoints of a grid of 2³² (float32) or 2⁶³ (float64) on (0, 1)."""
    dtype = jnp.dtype(dtype)
    if dtype == jnp.float64:
        high, low = _words(key, many, 2)
        rest = (low >> np.uint32(1)).astype(jnp.int32).astype(dtype) + 0.5
        w = (_integer(high).astype(dtype) + rest * 2.0**-31) * 2.0**-32
        return high & np.uint32(1) > 0, w
    (word,) = _words(key, many, 1)
    return word & np.uint32(1) > 0, (_integer(word).astype(dtype) + dtype.type(0.5)) * dtype.type(2.0**-32)


def _integer(word: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(word >> np.uint32(1), jnp.int32)


def _words(key: jax.Array, many: int, each: int) -> list[jax.Array]:
    """`each` arrays of random words. Of a philox block all four words are used."""
    if jax.random.key_impl(key) != philox.implementation or many < 4:
        return list(bits(key, 32, (each, many), STREAM))
    k0, k1, c2, c3 = jax.random.key_data(key)
    blocks = math.ceil(many * each / 4)
    element = lax.iota(jnp.uint32, blocks)
    stream = jnp.full_like(element, philox.STREAM + STREAM)
    words = philox.philox((k0, k1), (element, stream, *(jnp.broadcast_to(c, element.shape) for c in (c2, c3))))
    words = lax.optimization_barrier(words)  # or the cipher is computed again in each fusion that uses them
    per = 4 // each
    return [jnp.concatenate(words[i * per : (i + 1) * per])[:many] for i in range(each)]


@partial(jax.jit, static_argnames=("shape", "dtype"))
def draw(table: Table, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Independent draws, in blocks that stay in the cache."""
    many = math.prod(shape)
    blocks = max(1, math.ceil(many / BLOCK))
    if blocks == 1:
        return quantile(table, *uniform_sides(key, many, dtype)).reshape(shape)
    size = 4 * math.ceil(many / blocks / 4)

    def block(i: jax.Array) -> jax.Array:
        return quantile(table, *uniform_sides(jax.random.fold_in(key, i), size, dtype))

    return lax.map(block, jnp.arange(blocks)).reshape(-1)[:many].reshape(shape)

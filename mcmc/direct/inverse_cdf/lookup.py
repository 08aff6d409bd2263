"""Quantiles by table look-up: random bits to draws through one small table.

A uniform is a side and a mass w below 1/2 to the nearest end, so that both tails have the resolution of floating
point. Exponent and leading mantissa bits of w, in each octave as many as are needed there, are the number of a dyadic
cell. Either every cell has a polynomial of its own, and one look-up finds it (`CELLS`); or the cell says which panel it
begins in, and a few bisecting steps find the panel (`GUIDED`); or bisection starts from all panels (`SEARCHED`, where
the table is made inside compiled code).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.random import philox
from mcmc.random.draws import bits

CELLS, GUIDED, SEARCHED = "cells", "guided", "searched"
OCTAVES = 66  # w below 2⁻⁶⁶ is in one cell with 0
BLOCK = 1 << 16
STREAM = 2


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["rows", "short", "octaves", "knots", "guide"],
    meta_fields=["kind", "fine", "steps", "support"],
)
@dataclass(frozen=True)
class Table:
    """Rows of coefficients (row, 6), or with the panel's first w and 1 / width before them (row, 8).

    `short`: rows of lower degree (row, 4), exact enough for draws in float32. `fine`: how many mantissa bits number a
    cell, if that is the same in all octaves; else `octaves` has for each side and octave 16 × its first cell + that
    number. `guide`: the panel that a cell begins in. `knots`: the first w of the panels, +inf where a side's end.
    """

    rows: Any
    short: Any
    octaves: Any
    knots: Any
    guide: Any
    kind: str
    fine: int
    steps: int
    support: tuple[float, float]

    def cast(self, dtype: Any, draws: bool = False) -> Table:
        """The table for numbers of a type, or for draws of them."""
        short = draws and dtype == jnp.float32 and self.short is not None
        big = np.finfo(dtype).max ** 0.97
        rows = typed(self.short if short else self.rows, dtype).clip(-big, big)
        knots = None if self.knots is None else typed(self.knots, dtype)
        return dataclasses.replace(self, rows=rows, knots=knots, short=None)


def quantile(table: Table, right: jax.Array, w: jax.Array) -> jax.Array:
    """x with the mass w to its left, or where `right` to its right; w in (0, 1/2]."""
    dtype = w.dtype
    w = jnp.minimum(w, np.nextafter(np.array(0.5, dtype), dtype.type(0)))
    rows = as_type(table.rows, dtype)
    if table.kind == SEARCHED:
        at = right.astype(jnp.int32) * np.int32(table.knots.shape[0] // 2)
    else:
        at, s = _cell(table, right, w)
    if table.kind == GUIDED:
        at = jnp.asarray(table.guide).at[at].get(mode="promise_in_bounds")
    if table.kind != CELLS:
        knots = as_type(table.knots, dtype)
        for k in reversed(range(table.steps)):
            beyond = w >= knots.at[at + np.int32(1 << k)].get(mode="promise_in_bounds")
            at = at + beyond.astype(jnp.int32) * np.int32(1 << k)
    columns = [rows[:, j].at[at].get(mode="promise_in_bounds") for j in range(rows.shape[1])]
    if table.kind != CELLS:
        first, rate, *columns = columns
        s = jnp.clip((w - first) * rate, 0, 1)
    x = columns[-1]
    for c in columns[-2::-1]:
        x = x * s + c
    return jnp.clip(x, *inside(table.support, dtype))


def as_type(x: Any, dtype: Any) -> jax.Array:
    """An array of this type; what is too large for it becomes infinite."""
    return jnp.asarray(typed(x, dtype), dtype)


def typed(x: Any, dtype: Any) -> Any:
    """The same; NumPy's arrays remain NumPy's."""
    if isinstance(x, np.ndarray):
        with np.errstate(over="ignore", under="ignore"):
            return x.astype(dtype)
    return jnp.asarray(x, dtype)


def cells(fine: int) -> int:
    """How many cells a side has where all octaves have as many."""
    return 1 + ((OCTAVES - 1) << fine)


def _cell(table: Table, right: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The cell of w and where in it, in [0, 1]."""
    dtype = w.dtype
    mantissa, bias, integer = (23, 127, np.int32) if dtype == jnp.float32 else (52, 1023, np.int64)
    pattern, side = lax.bitcast_convert_type(w, integer), right.astype(jnp.int32)
    fraction = integer((1 << mantissa) - 1)
    if table.octaves is None:
        fine = integer(table.fine)
        number = (pattern >> (integer(mantissa) - fine)).astype(jnp.int32)
        number = number - np.int32(((bias - OCTAVES) << table.fine) - 1)
        below = number < 1
        cell = jnp.maximum(number, 0) + side * np.int32(cells(table.fine))
    else:
        octave = (pattern >> integer(mantissa)).astype(jnp.int32) - np.int32(bias - OCTAVES - 1)
        below = octave < 1
        entry = jnp.maximum(octave, 0) + side * np.int32(OCTAVES)
        entry = jnp.asarray(table.octaves).at[entry].get(mode="promise_in_bounds")
        fine = (entry & np.int32(15)).astype(integer)
        number = lax.shift_right_logical(pattern & fraction, integer(mantissa) - fine).astype(jnp.int32)
        cell = (entry >> np.int32(4)) + jnp.where(below, 0, number)
    s = lax.bitcast_convert_type((pattern << fine) & fraction | integer(bias << mantissa), dtype) - dtype.type(1)
    return cell, jnp.where(below, w * dtype.type(2.0**OCTAVES), s)


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
    """Random sides and masses: one bit, and midpoints of a grid of 2³² (float32) or 2⁶⁴ (float64) on (0, 1)."""
    dtype = jnp.dtype(dtype)
    with jax.enable_x64(True) if dtype == jnp.float64 else contextlib.nullcontext():
        return _side(bits(key, 8 * dtype.itemsize, (many,), STREAM), dtype)


def _side(word: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array]:
    width = 8 * dtype.itemsize
    number = lax.bitcast_convert_type(word >> word.dtype.type(1), f"int{width}").astype(dtype) + dtype.type(0.5)
    return word & word.dtype.type(1) > 0, number * dtype.type(2.0**-width)


@partial(jax.jit, static_argnames=("shape", "dtype"))
def draw(table: Table, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Independent draws, in blocks that stay in the cache."""
    many = math.prod(shape)
    if many <= BLOCK:
        return quantile(table, *uniform_sides(key, many, dtype)).reshape(shape)
    blocks = math.ceil(many / BLOCK)
    part = math.ceil(many * dtype.itemsize / 16 / blocks)
    parts = 16 // dtype.itemsize

    def block(i: jax.Array, out: jax.Array) -> jax.Array:
        words = _words(jax.random.fold_in(key, i), part, dtype)
        for j, word in enumerate(words):
            out = lax.dynamic_update_slice(out, quantile(table, *_side(word, dtype)), ((i * parts + j) * part,))
        return out

    out = lax.fori_loop(0, blocks, block, lax.empty((blocks * parts * part,), dtype))
    return out[:many].reshape(shape)


def _words(key: jax.Array, part: int, dtype: Any) -> list[jax.Array]:
    """Arrays of random words, as many as fit into the 128 bits of a philox block."""
    width = 8 * dtype.itemsize
    if jax.random.key_impl(key) != philox.implementation:
        return list(bits(key, width, (128 // width, part), STREAM))
    wide = philox.pairs(jax.random.key_data(key), part, philox.STREAM + STREAM)
    if width == 64:
        return list(wide)
    with jax.enable_x64(True):
        halves = [half for pair in wide for half in (pair >> np.uint64(32), pair)]
        return [lax.convert_element_type(half, jnp.uint32) for half in halves]

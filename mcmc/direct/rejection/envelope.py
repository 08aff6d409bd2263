"""A piecewise envelope to draw from: each piece is H / (1 + β (y − a))², whose inverse distribution is a quotient.

A piece is chosen by Walker's alias method from the leading bits of one word, and the place in it by the others. The
chances of pieces are whole multiples of 2⁻³² (2⁻⁶⁴ in float64), and the density is that of these chances: the draws are
exact whatever they were rounded to.

Source: Walker 1977, An efficient method for generating discrete random variables; Hörmann 1995.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.random.draws import bits

TINY = np.finfo(np.float32).tiny


class Pieces(NamedTuple):
    """Pieces from left to right, arrays (piece,), in coordinates y: x = centre + y, or centre ± exp(y).

    Attributes:
        left, right: the ends of a piece in y; one of them may be infinite.
        kind: 0 where x = centre + y, 1 and -1 where x = centre + exp(y) and centre − exp(y).
        anchor: a, the end where the envelope is highest.
        width: w with β = share / w; the place y − a is v w / (1 − share v) for uniform v. Negative to the left of a.
        share: 1 − (1 + β (y − a))⁻¹ at the other end: 0 for a constant, 1 for an infinite piece.
        log_area: the log of the piece's integral.
    """

    left: Any
    right: Any
    kind: Any
    anchor: Any
    width: Any
    share: Any
    log_area: Any


class Table(NamedTuple):
    """The tables of a draw in one dtype: arrays (slot,) and (2 · slot,), and the ends of the support."""

    threshold: Any
    kind: Any
    anchor: Any
    width: Any
    share: Any
    log_height: Any
    centre: Any
    low: Any
    high: Any


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["pieces", "single", "double", "edges", "acceptance_rate"],
    meta_fields=["proof", "mapped"],
)
@dataclass(frozen=True)
class Envelope:
    """A distribution in pieces; `sample_and_log_prob` is the fast way to use it.

    Attributes:
        pieces: as they were found, in float64.
        single, double: tables for float32 and float64.
        edges: for x: where pieces begin and end, ascending, and the slots that begin with them.
        acceptance_rate: the density's integral over the envelope's.
        proof: why the envelope is above the density.
        mapped: whether any piece is in logarithmic coordinates.
    """

    pieces: Pieces
    single: Table
    double: Table
    edges: tuple[Any, Any, Any]
    acceptance_rate: Any
    proof: str
    mapped: bool

    def table(self, dtype: Any) -> Table:
        """The table for draws of this dtype."""
        return self.double if dtype == jnp.float64 else self.single

    def for_draws(self, dtype: Any) -> Envelope:
        """What draws of this dtype need and no more: its shapes, and so programs, are shared by many envelopes."""
        single, double = (None, self.double) if dtype == jnp.float64 else (self.single, None)
        return replace(self, pieces=None, single=single, double=double, edges=None, acceptance_rate=None, proof="")

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws of this shape, of JAX's default dtype."""
        return self.sample_and_log_prob(key, shape)[0]

    def sample_and_log_prob(self, key: jax.Array, shape: tuple[int, ...] = ()) -> tuple[jax.Array, jax.Array]:
        """Draws of this shape and their log densities, without a search for the pieces."""
        dtype = jnp.dtype(jnp.result_type(float))
        width = 64 if dtype == jnp.float64 else 32
        table = self.table(dtype)
        word = bits(key, width, shape)
        low_bits = width - (table.threshold.shape[0].bit_length() - 1)
        slot = (word >> np.array(low_bits, word.dtype)).astype(jnp.int32)
        signed = jnp.int64 if width == 64 else jnp.int32
        rest = lax.bitcast_convert_type(word & np.array((1 << low_bits) - 1, word.dtype), signed)
        threshold = _at(table.threshold, slot)
        other = rest >= threshold
        size = jnp.where(other, np.array(1 << low_bits, signed) - threshold, threshold)
        place = rest - jnp.where(other, threshold, 0)
        v = (place.astype(dtype) + np.array(0.5, dtype)) / size.astype(dtype)
        v = jnp.minimum(v, np.array(1 - jnp.finfo(dtype).epsneg, dtype))
        return self.place(table, 2 * slot + other.astype(jnp.int32), v)

    def place(self, table: Table, row: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The point that a share v of a piece is left of (right of, if it points left), and the log density there.

        x is rounded first, and the density is that at the rounded x, so that rounding can't take it below.
        """
        anchor, width, share = _at(table.anchor, row), _at(table.width, row), _at(table.share, row)
        y = anchor + v * width / (1 - share * v)
        kind = None
        if self.mapped:
            kind, limits = _at(table.kind, row), jnp.finfo(y.dtype)
            far = jnp.clip(y, math.log(limits.tiny) + 0.01, math.log(limits.max) - 0.01)  # floats end there
            y = jnp.where(kind == 0, y, far)
        most = jnp.finfo(y.dtype).max
        x = jnp.clip(table.centre + _unmapped(y, kind), jnp.maximum(table.low, -most), jnp.minimum(table.high, most))
        return x, self._log_height(table, row, kind, x, y)

    def _log_height(self, table: Table, row: jax.Array, kind: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        exact = x - table.centre if kind is None else jnp.where(kind == 0, x - table.centre, y)
        anchor, width, share = _at(table.anchor, row), _at(table.width, row), _at(table.share, row)
        log_g = _at(table.log_height, row) - 2 * jnp.log(1 + (exact - anchor) * (share / width))
        return log_g if kind is None else jnp.where(kind == 0, log_g, log_g - y)

    def log_prob(self, x: Any) -> jax.Array:
        """The log density at x, found by a search for its piece; -inf where there is none."""
        x = jnp.asarray(x, jnp.result_type(float))
        table = self.table(x.dtype)
        begins, ends, slots = self.edges
        i = jnp.clip(jnp.searchsorted(jnp.asarray(begins, x.dtype), x, side="right") - 1, 0, len(slots) - 1)
        row = 2 * jnp.asarray(slots)[i]
        kind = _at(table.kind, row) if self.mapped else None
        distance = x - table.centre
        y = distance if kind is None else jnp.where(kind == 0, distance, jnp.log(jnp.maximum(jnp.abs(distance), TINY)))
        inside = (x >= jnp.asarray(begins, x.dtype)[i]) & (x <= jnp.asarray(ends, x.dtype)[i])
        return jnp.where(inside, self._log_height(table, row, kind, x, y), -jnp.inf)

    def inside(self, x: Any) -> jax.Array:
        """Whether x is in the support."""
        begins, ends, _ = self.edges
        return (x >= begins[0]) & (x <= ends[-1])


def make_table(pieces: Pieces, centre: float, support: tuple[float, float], dtype: Any) -> tuple[Table, float]:
    """The table of these pieces in one dtype, and the log of the least c for which c g is above all of them."""
    width = 8 * np.dtype(dtype).itemsize
    total = np.logaddexp.reduce(pieces.log_area)
    chance = np.exp(pieces.log_area - total)
    units = [-int(-(p * 2.0**53) // 1) << (width - 53) if width == 64 else int(np.ceil(p * 2.0**32)) for p in chance]
    units = [max(1, n) for n in units]
    units[int(np.argmax(chance))] -= sum(units) - 2**width
    slots = 1 << max(2, (len(units) - 1).bit_length())
    threshold, alias = alias_slots(units, slots, 2**width // slots)
    rows = np.stack([np.minimum(np.arange(slots), len(units) - 1), alias], 1).reshape(-1)
    log_chance = np.array([math.log(n) for n in units]) - width * np.log(2.0)
    log_bound = float(np.max(pieces.log_area - log_chance))
    low, high = (_rounded_inward(end, toward, dtype) for end, toward in zip(support, (np.inf, -np.inf), strict=True))
    if np.any(pieces.kind) and centre == support[0]:
        low = max(low, np.finfo(dtype).tiny)
    if np.any(pieces.kind) and centre == support[1]:
        high = min(high, -np.finfo(dtype).tiny)
    columns = (pieces.anchor, pieces.width, pieces.share, log_chance - np.log(np.abs(pieces.width)))
    numbers = (np.asarray(c, dtype)[rows] for c in columns)
    whole = np.asarray(threshold, np.int64 if width == 64 else np.int32)
    ends = (np.asarray(e, dtype) for e in (centre, low, high))
    return Table(whole, np.asarray(pieces.kind, np.int32)[rows], *numbers, *ends), log_bound


def alias_slots(units: list[int], slots: int, capacity: int) -> tuple[list[int], list[int]]:
    """Thresholds and aliases: slot i is piece i below its threshold, and piece alias[i] from there on; exact."""
    left = [*units, *([0] * (slots - len(units)))]
    threshold, alias = [capacity] * slots, [min(i, len(units) - 1) for i in range(slots)]
    small = [i for i in range(slots) if left[i] < capacity]
    large = [i for i in range(slots) if left[i] > capacity]
    while small:
        i, j = small.pop(), large[-1]
        threshold[i], alias[i] = left[i], j
        left[j] -= capacity - left[i]
        if left[j] <= capacity:
            large.pop()
            if left[j] < capacity:
                small.append(j)
    return threshold, alias


def _at(column: Any, i: jax.Array) -> jax.Array:
    return jnp.asarray(column).at[i].get(mode="promise_in_bounds")


def _unmapped(y: jax.Array, kind: Any) -> jax.Array:
    return y if kind is None else jnp.where(kind == 0, y, kind.astype(y.dtype) * jnp.exp(y))


def _rounded_inward(end: float, toward: float, dtype: Any) -> Any:
    """The end, rounded into the support."""
    near = np.asarray(end, dtype)
    outside = near < end if toward > 0 else near > end
    return np.nextafter(near, np.asarray(toward, dtype)) if outside and np.isfinite(end) else near

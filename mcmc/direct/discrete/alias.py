"""Walker's alias table in whole numbers: what is drawn has, to the last bit, the law that the table holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.random import philox
from mcmc.random.draws import bits

BITS = 63
STREAM = 3
BLOCK = 1 << 15  # draws


@partial(jax.tree_util.register_dataclass, data_fields=["high", "low", "alias"], meta_fields=["levels"])
@dataclass(frozen=True)
class Alias:
    """Columns of equal mass, 2^levels of them: each keeps a part of it, and gives the rest to another column.

    `high` and `low` are the words of the part that is kept, out of 2^(63 - levels).
    """

    high: np.ndarray
    low: np.ndarray
    alias: np.ndarray
    levels: int

    def draw(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Indices, int32; compiled once for a shape and a size of table."""
        return _draw(self, key, shape)

    def of_words(self, word: jax.Array, low: jax.Array) -> jax.Array:
        """Indices from words of 31 and 32 bits: the first bits choose the column, the others whether it is kept."""
        word = word >> np.uint32(1)
        rest = np.uint32(31 - self.levels)
        column = (word >> rest).astype(jnp.int32)
        high = word & ((np.uint32(1) << rest) - np.uint32(1))
        kept_high, kept_low, other = (
            jnp.asarray(a).at[column].get(mode="promise_in_bounds") for a in (self.high, self.low, self.alias)
        )
        kept = (high < kept_high) | ((high == kept_high) & (low < kept_low))
        return jnp.where(kept, column, other)


@partial(jax.jit, static_argnames="shape")
def _draw(table: Alias, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Many in blocks that stay in the cache, of a philox key that is made from the given one: these are the fastest."""
    many = math.prod(shape)
    if many <= BLOCK:
        return table.of_words(*bits(key, 32, (2, *shape), STREAM))
    words, blocks, half = bits(key, 32, (4,), STREAM), -(-many // BLOCK), BLOCK // 2
    made = jax.random.wrap_key_data(words, impl=philox.implementation)

    def write(i: jax.Array, out: jax.Array) -> jax.Array:
        for j, pair in enumerate(philox.pairs(jax.random.key_data(jax.random.fold_in(made, i)), half, philox.STREAM)):
            with jax.enable_x64(True):
                both = [lax.convert_element_type(word, jnp.uint32) for word in (pair >> np.uint64(32), pair)]
            out = lax.dynamic_update_slice(out, table.of_words(*both), (i * BLOCK + j * half,))
        return out

    return lax.fori_loop(0, blocks, write, lax.empty((blocks * BLOCK,), jnp.int32))[:many].reshape(shape)


def whole_weights(p: np.ndarray) -> np.ndarray:
    """Probabilities as whole numbers that sum to 2^63: rounded, and the rest given to the largest."""
    weights = np.rint(p * 2.0**BITS).astype(np.uint64)
    missing = 2**BITS - sum(map(int, np.add.reduceat(weights, np.arange(0, len(weights), 256))))
    largest = int(np.argmax(weights))
    weights[largest] = np.uint64(int(weights[largest]) + missing)
    return weights


def alias_table(weights: np.ndarray) -> Alias:
    """The table of whole weights that sum to 2^63.

    Light columns, laid end to end by what they lack, are filled from heavy ones, laid end to end by what they have too
    much; a heavy column that so becomes light is filled from the next one.
    """
    levels = max(1, (len(weights) - 1).bit_length())
    columns, size = 2**levels, np.uint64(2 ** (BITS - levels))
    weights = np.concatenate([weights, np.zeros(columns - len(weights), np.uint64)])
    kept, alias = np.full(columns, size, np.uint64), np.arange(columns, dtype=np.int32)
    light, heavy = np.flatnonzero(weights < size), np.flatnonzero(weights >= size)
    lacking, spare = np.cumsum(size - weights[light]), np.cumsum(weights[heavy] - size)
    kept[light] = weights[light]
    before = lacking - (size - weights[light])
    alias[light] = heavy[np.searchsorted(spare, before, side="right")] if len(light) else 0
    if len(light):
        over = lacking[np.minimum(np.searchsorted(lacking, spare), len(light) - 1)]
        given = np.where((spare > 0) & (over > spare), over - spare, np.uint64(0))
        kept[heavy] = size - given
        alias[heavy] = np.where(given > 0, heavy[np.minimum(np.arange(len(heavy)) + 1, len(heavy) - 1)], heavy)
    return Alias((kept >> np.uint64(32)).astype(np.uint32), kept.astype(np.uint32), alias, levels)


def law_of(table: Alias) -> list[int]:
    """The weights that a table draws by, out of 2^63 (of each column): what it was made from."""
    size = 2 ** (BITS - table.levels)
    law = [0] * 2**table.levels
    for column, (high, low, other) in enumerate(zip(table.high, table.low, table.alias, strict=True)):
        kept = int(high) * 2**32 + int(low)
        law[column] += kept
        law[int(other)] += size - kept
    return law

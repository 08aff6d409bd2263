"""Walker's alias table in whole numbers: what is drawn has, to the last bit, the law that the table holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.random.draws import bits

BITS = 63
STREAM = 3


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
        """Indices, int32: the first bits of a word of 63 choose the column, the others whether it is kept."""
        word, low = bits(key, 32, (2, *shape), STREAM)
        word = word >> np.uint32(1)
        rest = np.uint32(31 - self.levels)
        column = (word >> rest).astype(jnp.int32)
        high = word & ((np.uint32(1) << rest) - np.uint32(1))
        kept_high, kept_low = jnp.asarray(self.high)[column], jnp.asarray(self.low)[column]
        kept = (high < kept_high) | ((high == kept_high) & (low < kept_low))
        return jnp.where(kept, column, jnp.asarray(self.alias)[column])


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

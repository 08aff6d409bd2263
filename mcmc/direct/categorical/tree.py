"""Sums in a fixed order, kept as a tree of eight children a node, and draws by going down it.

Every sum is elementwise additions of slices, so that it does not depend on what is computed beside it, bit for bit,
and so that a processor adds whole vectors, where XLA's own reductions of a row are several times slower on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

WIDTH = 8


def padded_size(size: int) -> int:
    """The size to which a row is filled up with nothing, so that its first three levels need no filling."""
    return size if size <= WIDTH**3 else -(-size // WIDTH**3) * WIDTH**3


def children(x: jax.Array, neutral: Any) -> jax.Array:
    """(..., n) as (..., k, m): node j of the m above has the children x[i m + j]."""
    size = x.shape[-1]
    width = min(WIDTH, size)
    rest = -size % width
    if rest:
        x = jnp.concatenate([x, jnp.full((*x.shape[:-1], rest), neutral, x.dtype)], axis=-1)
    return x.reshape(*x.shape[:-1], width, -1)


def level_above(x: jax.Array, combine: Callable, neutral: Any, dtype: Any = None) -> jax.Array:
    """Each node from its children, in order."""
    below = children(x, neutral)
    parts = [below[..., i, :].astype(dtype or x.dtype) for i in range(below.shape[-2])]
    return lax.optimization_barrier(reduce(combine, parts))


def levels(x: jax.Array, combine: Callable = lax.add, neutral: Any = 0, dtype: Any = None) -> list[jax.Array]:
    """The whole tree of (..., n): leaves first, root (..., 1) last; sums in `dtype`."""
    tree = [x]
    while tree[-1].shape[-1] > 1:
        tree.append(level_above(tree[-1], combine, neutral, dtype))
    return tree


def total(x: jax.Array, dtype: Any = None) -> jax.Array:
    """The sum over the last axis."""
    return levels(x, dtype=dtype)[-1][..., 0].astype(dtype or x.dtype)


def maximum(x: jax.Array) -> jax.Array:
    """The maximum over the last axis; NaN where there is one."""
    return levels(x, lax.max, -jnp.inf)[-1][..., 0]


def minimum(x: jax.Array, neutral: Any) -> jax.Array:
    """The minimum over the last axis, not above `neutral`."""
    return levels(x, lax.min, neutral)[-1][..., 0]


def descend(tree: list[jax.Array], u: jax.Array, v: jax.Array) -> jax.Array:
    """The leaves where the running sum of the weights passes u: the inverse CDF, for one row.

    The way down the upper half of the levels uses the uniforms `u`, the lower half fresh ones, `v`. A leaf of weight
    0 is never reached, also where rounding takes the target past the end.

    Args:
        tree: `levels` of nonnegative weights (n,), in float64.
        u: uniforms (draws,).
        v: more of them.
    """
    node = jnp.zeros(u.shape, jnp.int32)
    target = u * tree[-1][0]
    for depth in reversed(range(len(tree) - 1)):
        if depth + 1 == len(tree) // 2:
            target = v * tree[depth + 1].astype(u.dtype)[node]
        below = children(tree[depth], 0)
        weights = below[:, node].astype(u.dtype)
        child, target = _choose(weights, target)
        node = child * below.shape[-1] + node
    return node


def _choose(weights: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The child (k, draws) in which the target falls, and what of the target is left there."""
    number = lax.broadcasted_iota(jnp.int32, weights.shape, 0)
    passed = jnp.stack(list(accumulate(weights)))
    positive = weights > 0
    first = jnp.min(jnp.where(positive & (target < passed), number, len(weights)), axis=0)
    last = jnp.max(jnp.where(positive, number, 0), axis=0)
    child = jnp.minimum(first, last)
    return child, target - jnp.max(jnp.where(number < child, passed, 0), axis=0)

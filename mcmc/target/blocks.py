"""Blocks for Gibbs sampling: some of a space's parameters, updated while the others are held fixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.target.space import Leaf, Space, get, put


class Block(Space):
    """Some parameters of a space, in the space's order; the others stay at `around`, a position of the whole.

    Bounds that are functions of other parameters stay right: a value and its place among the unconstrained
    coordinates are found with the others where they are. Without `around` only names and columns are known.
    """

    def __init__(self, whole: Space, names: Iterable[str], around: jax.Array | None = None):
        chosen = set(names)
        super().__init__(tuple(leaf for leaf in whole.leaves if leaf.name in chosen))
        self.whole, self.around = Space(whole.leaves), around
        self.columns = np.concatenate([np.arange(leaf.start, leaf.stop) for leaf in self.leaves])

    def __eq__(self, other: object) -> bool:
        return type(other) is Block and (self.whole, self.leaves) == (other.whole, other.leaves)

    def __hash__(self) -> int:
        return hash((self.whole, self.leaves))

    def __repr__(self) -> str:
        return f"Block({', '.join(self.names)})"

    @property
    def dim(self) -> int:
        """How many unconstrained coordinates the block has."""
        return len(self.columns)

    @property
    def discrete(self) -> tuple[str, ...]:
        """Names of the discrete parameters."""
        return tuple(leaf.name for leaf in self.leaves if leaf.support.discrete)

    def at(self, around: jax.Array) -> Block:
        """The same block, the other parameters at a position of the whole."""
        return Block(self.whole, self.names, around)

    def part(self, position: jax.Array) -> jax.Array:
        """The block's coordinates of a position of the whole."""
        first, last = int(self.columns[0]), int(self.columns[-1])
        return position[first : last + 1] if last - first + 1 == self.dim else position[self.columns]

    def joined(self, position: jax.Array, part: jax.Array) -> jax.Array:
        """A position of the whole with the block's coordinates replaced."""
        first, last = int(self.columns[0]), int(self.columns[-1])
        if last - first + 1 == self.dim:
            return position.at[first : last + 1].set(part)
        return position.at[self.columns].set(part)

    def constrain(self, position: jax.Array) -> tuple[dict, jax.Array]:
        """The block's parameters at its coordinates, and log |dp/dy| of these."""
        assert self.around is not None
        whole, p = self.joined(self.around, position), {}
        log_jacobian = jnp.zeros((), position.dtype)
        for leaf in self.whole.leaves:
            x, increment = _value(leaf, whole, p)
            put(p, leaf.path, x)
            if leaf.name in self.names:
                log_jacobian = log_jacobian + increment
        return self.nest(get(p, leaf.path) for leaf in self.leaves), log_jacobian

    def unconstrain(self, p: Mapping, dtype: Any = None) -> jax.Array:
        """The coordinates of the block's parameters."""
        parts = []
        for leaf, x, before in self._walk(p):
            if not jnp.issubdtype(x.dtype, jnp.floating):
                x = x.astype(dtype or jnp.result_type(float))
            parts.append(leaf.support.unconstrain(x, before).reshape(-1).astype(dtype or x.dtype))
        return jnp.concatenate(parts)

    def inside(self, p: Mapping) -> jax.Array:
        """Whether every parameter of the block lies in its support, the others where they are."""
        return jnp.all(jnp.stack([jnp.all(leaf.support.contains(x, before)) for leaf, x, before in self._walk(p)]))

    def _walk(self, p: Mapping) -> Iterator[tuple[Leaf, jax.Array, dict]]:
        """The block's parameters one by one, each with all parameters before it."""
        assert self.around is not None
        before: dict = {}
        for leaf in self.whole.leaves:
            if leaf.name in self.names:
                x = jnp.asarray(get(p, leaf.path))
                yield leaf, x, before
            else:
                x = _value(leaf, self.around, before)[0]
            put(before, leaf.path, x)


def _value(leaf: Leaf, position: jax.Array, before: dict) -> tuple[jax.Array, jax.Array]:
    return leaf.support.constrain(position[leaf.start : leaf.stop].reshape(leaf.support.position_shape), before)

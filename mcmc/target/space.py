"""Parameter spaces: named, constrained parameters to one flat unconstrained position, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from mcmc.target.bijectors import Real


@dataclass(frozen=True)
class Leaf:
    """One parameter: its name, where it sits in the user's dictionary and in the position."""

    name: str
    path: tuple[str, ...]
    support: Any
    start: int
    stop: int

    @property
    def depends(self) -> bool:
        """Whether its bounds are functions of other parameters."""
        return any(callable(getattr(self.support, end, None)) for end in "ab")


class Space:
    """Named parameters with supports, and the way between them and flat unconstrained positions."""

    def __init__(self, leaves: tuple[Leaf, ...]):
        self.leaves = leaves

    def __eq__(self, other: object) -> bool:
        return type(other) is Space and self.leaves == other.leaves

    def __hash__(self) -> int:
        return hash(self.leaves)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, nested ones joined by dots."""
        return tuple(leaf.name for leaf in self.leaves)

    @property
    def dim(self) -> int:
        """The length of the unconstrained position."""
        return self.leaves[-1].stop

    def constrain(self, position: jax.Array) -> tuple[dict, jax.Array]:
        """The parameters at a position and log |dp/dy| (dim,) -> (dict, scalar)."""
        p: dict = {}
        log_jacobian = jnp.zeros((), position.dtype)
        parts = lax.split(position, [leaf.stop - leaf.start for leaf in self.leaves])  # its gradient is one array
        for leaf, part in zip(self.leaves, parts, strict=True):
            y = part.reshape(leaf.support.position_shape)
            if type(leaf.support) is Real:  # hundreds of them are traced at once: nothing to compute
                put(p, leaf.path, y)
                continue
            x, increment = leaf.support.constrain(y, p)
            put(p, leaf.path, x)
            log_jacobian = log_jacobian + increment
        return p, log_jacobian

    def unconstrain(self, p: Mapping, dtype: Any = None) -> jax.Array:
        """The position of constrained parameters: dict -> (dim,)."""
        parts = []
        for leaf in self.leaves:
            x = jnp.asarray(get(p, leaf.path))
            if not jnp.issubdtype(x.dtype, jnp.floating):
                x = x.astype(dtype or jnp.result_type(float))
            parts.append(leaf.support.unconstrain(x, p).reshape(-1).astype(dtype or x.dtype))
        return jnp.concatenate(parts)

    def nest(self, values: Iterable) -> dict:
        """Values, one a parameter in order, as the log density's dictionary."""
        p: dict = {}
        for leaf, value in zip(self.leaves, values, strict=True):
            put(p, leaf.path, value)
        return p

    def inside(self, p: Mapping) -> jax.Array:
        """Whether every parameter lies in its support: a scalar bool."""
        verdicts = [jnp.all(leaf.support.contains(jnp.asarray(get(p, leaf.path)), p)) for leaf in self.leaves]
        return jnp.all(jnp.stack(verdicts))


def put(tree: dict, path: tuple[str, ...], value: Any) -> None:
    """Set a value in a nested dictionary."""
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


_RAISE = object()


def get(tree: Any, path: tuple[str, ...], missing: Any = _RAISE) -> Any:
    """A value of a nested dictionary; `missing` where there is none, if that is given."""
    for key in path:
        if missing is not _RAISE and (not isinstance(tree, Mapping) or key not in tree):
            return missing
        tree = tree[key]
    return tree

"""How far a log density is from finite: the distance of each condition that stands between, as search-based testing has
it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mcmc.target.culprit import Walk

COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}
SHAPES = {"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "rev", "copy"}
CONJUNCTION = {True: ("and", "reduce_and"), False: ("or", "reduce_or")}
"""What has a value where all its operands have it."""


def unmet(function: Callable, *args: Any) -> jax.Array:
    """What makes a function −inf, in one vector, 0 where it does not; to be traced.

    Of each intermediate value 1 where it is −inf; and of each condition of a `where` that chooses −inf, in its parts
    (of `a & b`, and of `jnp.all`, every part), how far it is from the other side: |a − b| of `a == b`, 1 of a truth
    value, of `a | b` the least.

    Source: Korel 1990, IEEE Transactions on Software Engineering 16 (branch distance).
    """
    closed = jax.make_jaxpr(function)(*args)
    walk = Walk()
    outs = walk.run(closed.jaxpr, closed.consts, jax.tree.leaves(args))
    found = [jnp.zeros(0)]
    for key in (*walk.made, *outs):
        if jnp.issubdtype(_type(walk.values[key]), jnp.floating):
            found.append(jnp.isneginf(walk.values[key]))
        eqn, inputs, _ = walk.made.get(key, (None, (), None))
        if eqn is not None and eqn.primitive.name == "select_n" and len(inputs) == 3:
            found += _conditions(walk, key, *inputs)
    return jnp.concatenate([x.astype(found[0].dtype).ravel() for x in found])


def _conditions(walk: Walk, key: int, predicate: int, false: int, true: int) -> list[jax.Array]:
    """The distances of the parts of a predicate, where it chooses −inf and the other case is none."""
    if not jnp.issubdtype(_type(walk.values[key]), jnp.floating) or not _logical(walk.values[predicate]):
        return []
    chosen, cases = jnp.isneginf(walk.values[key]).any(), [jnp.isneginf(walk.values[k]).any() for k in (false, true)]
    found = []
    for wanted in (True, False):
        asked = chosen & cases[not wanted] & ~cases[wanted]
        found += [jnp.where(asked, part, 0.0) for part in _parts(walk, predicate, wanted)]
    return found


def _parts(walk: Walk, key: int, wanted: bool) -> list[jax.Array]:
    """The distances of all that must hold for a predicate to have a value."""
    eqn, inputs, _ = walk.made.get(key, (None, [], None))
    name = eqn.primitive.name if eqn is not None else ""
    if name == "not":
        return _parts(walk, inputs[0], not wanted)
    if name in CONJUNCTION[wanted] or name in SHAPES:
        return [part for k in inputs if _logical(walk.values[k]) for part in _parts(walk, k, wanted)]
    return [_distance(walk, key, wanted)]


def _distance(walk: Walk, key: int, wanted: bool) -> jax.Array:
    """How far a predicate is from a value, 0 where it has it."""
    value = walk.values[key]
    eqn, inputs, _ = walk.made.get(key, (None, [], None))
    name, held = eqn.primitive.name if eqn is not None else "", value == wanted
    if name in COMPARISONS and all(_type(walk.values[k]).kind in "biuf" for k in inputs):
        a, b = (jnp.asarray(walk.values[k], float) for k in inputs)
        apart = jnp.abs(a - b)
        return jnp.where(held, 0.0, jnp.where(apart > 0, apart, 1.0))
    if name == "not":
        return _distance(walk, inputs[0], not wanted)
    if name in ("and", "or"):
        one, other = (_distance(walk, k, wanted) for k in inputs)
        return one + other if name in CONJUNCTION[wanted] else jnp.minimum(one, other)
    if eqn is not None and name in ("reduce_and", "reduce_or"):
        together = jnp.sum if name in CONJUNCTION[wanted] else jnp.min
        return together(_distance(walk, inputs[0], wanted), axis=tuple(eqn.params["axes"]))
    return jnp.where(held, 0.0, 1.0)


def _logical(value: Any) -> bool:
    return _type(value).kind == "b"


def _type(value: Any) -> Any:
    return jnp.result_type(value)

"""Proposals on named, constrained parameters as proposals on unconstrained positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import WrongType, WrongValue
from mcmc.random import keys
from mcmc.random.draws import threefry
from mcmc.target.blocks import Block
from mcmc.target.space import Space, get


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["proposal", "around"],
    meta_fields=["target", "conditional", "dtype", "default_keys"],
)
@dataclass(frozen=True)
class OnPositions:
    """`propose(key, position)` and `draw(key)` on positions, from `sample` and `log_prob` on parameters.

    With q the user's density of the parameters, the density of positions is q(p(y)) |dp/dy|; a proposal outside
    the support is rejected. For a block of parameters, `around` is where all of them are.
    """

    proposal: Any
    target: Space
    conditional: bool
    dtype: str
    default_keys: bool = False  # of JAX's default implementation, for samplers that take no other
    around: Any = None

    def at(self, around: jax.Array) -> OnPositions:
        """The same for a block, the other parameters where they are at this position of the whole."""
        return dataclasses.replace(self, around=around)

    @property
    def space(self) -> Space:
        """The parameters that are proposed."""
        return self.target.at(self.around) if isinstance(self.target, Block) else self.target

    def draw(self, key: jax.Array) -> jax.Array:
        """A position drawn without a condition."""
        return self.space.unconstrain(self._sample(key, ()), jnp.dtype(self.dtype))

    def propose(self, key: jax.Array, position: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A position and log q(from | to) − log q(to | from)."""
        space = self.space
        given, log_jacobian = space.constrain(position)
        drawn = self._sample(key, (given,) if self.conditional else ())
        inside = space.inside(drawn)
        drawn = jax.tree.map(lambda new, old: jnp.where(inside, new, old), drawn, given)
        to = space.unconstrain(drawn, position.dtype)
        p, to_log_jacobian = space.constrain(to)
        if self.conditional:
            correction = self._log_prob(given, p) - self._log_prob(p, given)
        else:
            correction = self._log_prob(given) - self._log_prob(p)
        correction = correction + log_jacobian - to_log_jacobian
        return to, jnp.where(inside, correction, -jnp.inf).astype(position.dtype)

    def _sample(self, key: jax.Array, given: tuple) -> dict:
        key = threefry(key) if self.default_keys else key
        if isinstance(self.proposal, Mapping):
            keys = jax.random.split(key, len(self.target.leaves))
            parts = zip(self.target.leaves, keys, strict=True)
            return self.target.nest(_shaped(self.proposal[at.name], k, at.support.shape) for at, k in parts)
        if self._bare:
            if given:
                return self.target.nest([self.proposal.sample(key, self._show(given[0]))])
            return self.target.nest([_shaped(self.proposal, key, self.target.leaves[0].support.shape)])
        return self.proposal.sample(key, *given) if given else self.proposal.sample(key, ())

    def _log_prob(self, *points: dict) -> jax.Array:
        if isinstance(self.proposal, Mapping):
            values = [
                jnp.sum(self.proposal[leaf.name].log_prob(get(points[0], leaf.path))) for leaf in self.target.leaves
            ]
            return jnp.sum(jnp.stack(values))
        return jnp.sum(self.proposal.log_prob(*(self._show(p) for p in points)))

    @property
    def _bare(self) -> bool:
        return len(self.target.leaves) == 1

    def _show(self, p: dict) -> Any:
        return get(p, self.target.leaves[0].path) if self._bare else p


def bind(kernel: Any, target: Space, dtype: Any) -> Any:
    """The kernel with its user's proposal put on the target's positions, after a check of names and shapes.

    `target` may be a block of one. A kernel with a `bind` of its own knows what it wants of names and supports.
    """
    if hasattr(kernel, "bind"):
        return kernel.bind(target, dtype)
    if not hasattr(kernel, "conditional"):
        return kernel
    if isinstance(kernel.proposal, OnPositions):
        return kernel
    proposal = _array_leaves(kernel.proposal, dtype)
    _check_methods(proposal, target, kernel)
    space, whole = (target, target.whole) if isinstance(target, Block) else (Space(target.leaves), target)
    bound = OnPositions(proposal, space, kernel.conditional, str(jnp.dtype(dtype)))
    key = jax.eval_shape(lambda: keys.run_key(np.zeros(2, np.uint32)))
    position = jax.ShapeDtypeStruct((whole.dim,), dtype)

    def given(y: jax.Array) -> dict:
        p = whole.constrain(y)[0]
        return space.nest(get(p, leaf.path) for leaf in space.leaves)

    def sampled(key: jax.Array, y: jax.Array) -> dict:
        return bound._sample(key, (given(y),) if kernel.conditional else ())

    try:
        drawn = jax.eval_shape(sampled, key, position)
    except RuntimeError:  # some of jax.random take keys of the default kind only; what else fails will fail again
        bound = dataclasses.replace(bound, default_keys=True)
        drawn = jax.eval_shape(sampled, key, position)
    expected = jax.eval_shape(given, position)
    shapes = jax.tree.map(lambda x: x.shape, expected)
    if jax.tree.structure(drawn) != jax.tree.structure(expected) or shapes != jax.tree.map(lambda x: x.shape, drawn):
        found = jax.tree.map(lambda x: x.shape, drawn)
        remedy = "sample must return the parameters as the log density has them."
        raise WrongValue("proposal", found, f"draws of shape {shapes}", remedy)
    return dataclasses.replace(kernel, proposal=bound)


def _check_methods(proposal: Any, target: Space, kernel: Any) -> None:
    if isinstance(proposal, Mapping):
        missing = sorted(set(target.names) ^ set(proposal))
        if missing:
            expected = f"one sampler a parameter: {', '.join(target.names)}"
            raise WrongValue("proposal", sorted(proposal), expected, f"Mend {', '.join(missing)}.")
    needs = ("sample",) if type(kernel).__name__ == "Direct" else ("sample", "log_prob")
    form = "sample(key, given), log_prob(to, given)" if kernel.conditional else "sample(key, shape), log_prob(x)"
    for part in proposal.values() if isinstance(proposal, Mapping) else [proposal]:
        for name in needs:
            if not callable(getattr(part, name, None)):
                remedy = "Give the proposal's own density: nothing is assumed symmetric."
                raise WrongType("proposal", part, f"an object with {form}", remedy)


def _array_leaves(proposal: Any, dtype: Any) -> Any:
    def cast(leaf: Any) -> Any:
        if isinstance(leaf, float) or (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)):
            with np.errstate(over="ignore"):  # what float32 can't hold is infinite
                return np.asarray(leaf, dtype)
        return leaf

    return jax.tree.map(cast, proposal)


def _shaped(sampler: Any, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """One draw of `shape`: as the sampler makes it, or with as many leading dimensions as are missing."""
    one = jax.eval_shape(lambda k: jnp.asarray(sampler.sample(k, ())), key).shape
    missing = len(shape) - len(one)
    return jnp.asarray(sampler.sample(key, shape[:missing] if missing > 0 else ()))

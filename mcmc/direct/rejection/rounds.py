"""Rejection in rounds: blocks of proposals are made, checked, accepted and packed, until there are enough.

No draw waits for another: what a round accepts is moved to the front of its block (a running count says where to) and
written behind what was accepted before, so that the draws are the first n accepted in the order of proposal.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.random.draws import uniform_open

BLOCK = 32_768  # proposals: what a core's cache holds


class RejectionResult(IntEnum):
    """What became of a rejection sampler in compiled code; every member carries its remedy.

    >>> RejectionResult.VIOLATION.remedy[:29]
    'Raise log_bound to info.log_b'
    """

    OK = 0
    VIOLATION = 1
    EXHAUSTED = 2
    NONFINITE = 3

    @property
    def remedy(self) -> str:
        """One sentence that says what to do."""
        return _REMEDIES[self]


_REMEDIES = {
    RejectionResult.OK: "Nothing to do.",
    RejectionResult.VIOLATION: (
        "Raise log_bound to info.log_bound_needed at least, or choose a proposal with heavier tails; the bound must "
        "hold everywhere, not at this point alone."
    ),
    RejectionResult.EXHAUSTED: (
        "Raise max_proposals, lower log_bound to the least that holds, or choose a proposal closer to the density."
    ),
    RejectionResult.NONFINITE: (
        "Return a number from log_density and log_prob wherever the proposal draws; -inf where the density is zero."
    ),
}


class Sizes(NamedTuple):
    """What is fixed when a sampler is compiled: room for draws, proposals a block, blocks a round, rounds at most."""

    capacity: int
    block: int
    blocks: int
    rounds: int


class Rounds(NamedTuple):
    """The state after some rounds; `draws` has leaves (capacity or one round, ...), NaN where none is yet."""

    done: jax.Array
    accepted: jax.Array
    draws: Any
    result: jax.Array
    violations: jax.Array
    excess: jax.Array
    point: Any


def sizes_of(n: int, max_proposals: int, capacity: int | None = None) -> Sizes:
    """Sizes for n draws: a function of n and the bound on the work, so that draws are too."""
    block = 1 << max(3, min(BLOCK.bit_length() - 1, (2 * n - 1).bit_length()))
    block = min(block, 1 << (max_proposals.bit_length() - 1))
    blocks = 1 if block < BLOCK or jax.default_backend() == "cpu" else 32
    rounds = max(1, max_proposals // (block * blocks))
    return Sizes(n if capacity is None else capacity, block, blocks, rounds)


def size_class(n: int) -> int:
    """The least size not below n of a few: powers of two, and eighths between them from 2²⁰ on."""
    step = max(1, 1 << (max(n - 1, 1).bit_length() - (4 if n > 2**20 else 0)))
    return -(-n // step) * step


def run_rounds(key: jax.Array, propose: Callable, ratio: Callable, n: Any, sizes: Sizes) -> Rounds:
    """Rounds until n are accepted, the proposals are spent, or something is wrong.

    Args:
        key: block i uses the keys folded in with 2i (proposals) and 2i + 1 (uniforms).
        propose: key -> proposals (block, ...) and their log densities (block,).
        ratio: proposals and their log densities -> log f − log g − log c and the rounding to allow it.
        n: how many draws.
        sizes: see `Sizes`.
    """
    one_block = partial(_one_block, key, propose, ratio)
    draws, _, log_ratio, _ = jax.eval_shape(one_block, jax.ShapeDtypeStruct((), jnp.int32))
    room = max(sizes.capacity, sizes.block * sizes.blocks)
    zero = jnp.zeros((), jnp.int32)
    start = Rounds(
        zero,
        zero,
        jax.tree.map(lambda y: jnp.full((room, *y.shape[1:]), missing(y.dtype), y.dtype), draws),
        zero,
        zero,
        jnp.full((), -jnp.inf, log_ratio.dtype),
        jax.tree.map(lambda y: jnp.zeros(y.shape[1:], y.dtype), draws),
    )

    def going(state: Rounds) -> jax.Array:
        return (state.accepted < n) & (state.done < sizes.rounds) & (state.result == RejectionResult.OK)

    def body(state: Rounds) -> Rounds:
        if sizes.blocks == 1:
            made = one_block(state.done)
        else:
            made = jax.vmap(one_block)(state.done * sizes.blocks + jnp.arange(sizes.blocks, dtype=jnp.int32))
            made = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), made)
        return _take(state, *made)

    end = lax.while_loop(going, body, start)
    short = (end.accepted < n) & (end.result == RejectionResult.OK)
    return end._replace(result=jnp.where(short, jnp.int32(RejectionResult.EXHAUSTED), end.result))


def missing(dtype: Any) -> Any:
    """What stands where there is no draw: NaN, or the least integer."""
    if jnp.issubdtype(dtype, jnp.floating):
        return np.nan
    return False if dtype == jnp.bool_ else jnp.iinfo(dtype).min


def one_proposal_block(key: jax.Array, propose: Callable, ratio: Callable, i: jax.Array) -> tuple:
    """Proposals, log g, log f − log g − log c, the rounding that this may have, and the uniforms to compare with."""
    two = jnp.arange(2, dtype=jnp.int32)
    for_draws, for_uniforms = jax.vmap(jax.random.fold_in, (None, 0))(key, 2 * i + two)  # at once: half to compile
    draws, log_g = propose(for_draws)
    log_ratio, slack = ratio(draws, log_g)
    dtype = jnp.float64 if log_ratio.dtype == jnp.float64 else jnp.float32
    return draws, log_g, log_ratio, slack, uniform_open(for_uniforms, log_ratio.shape, dtype)


def _one_block(key: jax.Array, propose: Callable, ratio: Callable, i: jax.Array) -> tuple:
    """Proposals, which of them are accepted, log f − log g − log c, and by how much that passes what it may be."""
    draws, _, log_ratio, slack, u = one_proposal_block(key, propose, ratio, i)
    return draws, jnp.log(u) < log_ratio, log_ratio, log_ratio - slack


def _take(state: Rounds, draws: Any, accepted: jax.Array, log_ratio: jax.Array, over: jax.Array) -> Rounds:
    """The state with what a round has accepted, and with the worst point where the envelope does not hold."""
    place, count = ranks(accepted)
    size = accepted.shape[0]
    room = jax.tree.leaves(state.draws)[0].shape[0]
    start = jnp.minimum(state.accepted, room - size)  # the last block overlaps what is there
    place = jnp.where(accepted, place + (state.accepted - start), size)

    def packed(out: jax.Array, y: jax.Array) -> jax.Array:
        front = lax.dynamic_slice_in_dim(out, start, size)
        return lax.dynamic_update_slice_in_dim(out, front.at[place].set(y, mode="drop"), start, 0)

    above = jnp.sum(~(over <= 0), dtype=jnp.int32)  # NaN too

    def wrong() -> tuple:
        i = jnp.argmax(jnp.where(jnp.isnan(over), jnp.inf, over))
        result = jnp.where(
            jnp.isnan(over[i]), jnp.int32(RejectionResult.NONFINITE), jnp.int32(RejectionResult.VIOLATION)
        )
        return result, above, log_ratio[i], jax.tree.map(lambda y: y[i], draws)

    def right() -> tuple:
        return state.result, state.violations, state.excess, state.point

    found = lax.cond(above > 0, wrong, right)
    kept = jax.tree.map(packed, state.draws, draws)
    return Rounds(state.done + 1, state.accepted + count, kept, *found)


def ranks(accepted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How many are accepted before each, and in all."""
    counts = jnp.cumsum(accepted, dtype=jnp.int32)
    return counts - accepted, counts[-1]

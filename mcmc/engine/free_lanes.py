"""The draw loop of a block whose lanes do not wait for each other: each goes on to its next draw when it is done.

A kernel that runs freely is a state machine: `start(key, state, old)`, `advance(work, log_density)`, `done(work)`
and `finish(work) -> (state, info)`. In one pass, lanes whose work is done start their next draw, and all lanes
advance once. What lanes have done waits in a ring until the slowest has its draw too: draws are written in order,
for all lanes together, and no lane is further ahead than the ring is long.

Source: Dance, Glaser, Orbanz & Adams 2025, arXiv 2503.17405.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from mcmc.random import philox

FEWEST = 16  # lanes: fewer lose less by waiting than it costs not to
RING_NUMBERS, LEAST_AHEAD, MOST_AHEAD = 2**16, 32, 256


def run(
    kernel: Any,
    density: Callable,
    key_of: Callable[[jax.Array, jax.Array], jax.Array],
    n: Any,
    chains: Any,
    rows: Any,
    count: Callable,
    recorded: Callable,
    write: Callable,
) -> tuple[Any, Any]:
    """`n` draws of every lane: the chains and the rows after them.

    Args:
        kernel: the kernel.
        density: the log density of one chain.
        key_of: (lane, draw) -> the keys of these lanes' draws.
        n: how many draws to make.
        chains: the chains of the block, `loop.Chains`.
        rows: where draws are written, `loop.Rows`.
        count: (chains, state, info, where) -> the chains in their new states, with what they did added up.
        recorded: (state, info) -> what is recorded, a tuple of arrays (lane, ...).
        write: (draw, recorded, rows) -> the rows with this draw of all lanes.
    """
    lanes = chains.rate.shape[0]
    lane = jnp.arange(lanes)
    start, done, finish = jax.vmap(kernel.start), jax.vmap(kernel.done), jax.vmap(kernel.finish)
    advance, t = jax.vmap(lambda work: kernel.advance(work, density)), jnp.full(lanes, -1, jnp.int32)
    work = jax.tree.map(_blank, jax.eval_shape(lambda: start(key_of(lane, t), chains.state)))
    parts = jax.eval_shape(lambda work: recorded(*finish(work)), work)
    width = sum(x.size for x in parts) // lanes
    ahead = min(max(RING_NUMBERS // (lanes * width), LEAST_AHEAD), MOST_AHEAD)
    ring = jnp.zeros((ahead, lanes, width), chains.state.lp.dtype)

    def turn(carry: tuple) -> tuple:
        """Lanes that are done hand in their draw and start the next."""
        work, t, over, chains, ring = carry
        state, info = finish(work)
        made = over & (t >= 0)
        chains = count(chains, state, info, made)
        ring = ring.at[jnp.where(made, t % ahead, ahead), lane].set(_pack(recorded(state, info), ring), mode="drop")
        t = t + over
        fresh = start(key_of(lane, t), chains.state, work)
        return where(over, fresh, work), t, over, chains, ring

    def step(carry: tuple) -> tuple:
        work, t, written, chains, ring, rows = carry
        over = (t < 0) | (done(work) & (t < n) & (t - written < ahead - 1))
        work, t, _, chains, ring = lax.cond(jnp.any(over), turn, lambda c: c, (work, t, over, chains, ring))

        def flush(carry: tuple) -> tuple:
            i, rows = carry
            return i + 1, write(i, _unpack(ring[i % ahead], parts), rows)

        written, rows = lax.while_loop(lambda c: c[0] < jnp.min(t), flush, (written, rows))
        return advance(work), t, written, chains, ring, rows

    carry = (work, t, jnp.int32(0), chains, ring, rows)
    _, _, _, chains, _, rows = lax.while_loop(lambda c: c[2] < n, step, carry)
    return chains, rows


def where(lanes: jax.Array, one: Any, other: Any) -> Any:
    """A tree of arrays (lane, ...), from one where `lanes` and from another elsewhere."""
    return jax.tree.map(lambda a, b: jax.vmap(jnp.where)(lanes, a, jnp.broadcast_to(b, a.shape)), one, other)


def _blank(shape: Any) -> jax.Array:
    """Zeros, also of the engine's keys."""
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
        words = jnp.zeros((*shape.shape, 4), jnp.uint32)
        return jax.random.wrap_key_data(words, impl=philox.implementation)
    return jnp.zeros(shape.shape, shape.dtype)


def _pack(parts: tuple, ring: jax.Array) -> jax.Array:
    """Side by side as floats, which hold the counts and flags exactly."""
    return jnp.concatenate([x.reshape(x.shape[0], -1).astype(ring.dtype) for x in parts], 1)


def _unpack(row: jax.Array, parts: tuple) -> tuple:
    found, at = [], 0
    for x in parts:
        width = x.size // x.shape[0]
        found.append(row[:, at : at + width].reshape(x.shape).astype(x.dtype))
        at += width
    return tuple(found)

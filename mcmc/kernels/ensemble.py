"""What ensemble moves share: two halves, each moved by differences to the other half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mcmc.kernels.metropolis import ChainInfo, ChainState, accept
from mcmc.random import uniform_open

Proposal = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def step_halves(
    key: jax.Array, state: ChainState, log_density: Any, proposal: Proposal
) -> tuple[ChainState, ChainInfo]:
    """Move the first half given the second, then the second given the first.

    `proposal(key, positions (n, dim), others (m, dim)) -> (to (n, dim), log correction (n,))`; `log_density` maps
    (n, dim) to (n,). Each half is a Metropolis step given the other, so that the joint law is kept.
    """
    half = state.lp.shape[0] // 2
    first = jax.tree.map(lambda a: a[:half], state)
    second = jax.tree.map(lambda a: a[half:], state)
    infos = []
    for which, k in enumerate(jax.random.split(key)):
        moving, others = (first, second) if which == 0 else (second, first)
        to, log_correction = proposal(k, moving.position, others.position)
        proposed_lp = log_density(to)
        outcome = accept(k, moving.lp, proposed_lp, log_correction)
        moved = ChainState(
            jnp.where(outcome.accepted[:, None], to, moving.position),
            jnp.where(outcome.accepted, proposed_lp, moving.lp),
        )
        first, second = (moved, second) if which == 0 else (first, moved)
        infos.append(ChainInfo(outcome.acceptance_rate, outcome.accepted, outcome.nonfinite))
    return _join(first, second), _join(*infos)


def choose(key: jax.Array, count: int, low: int, high: int, stream: int) -> jax.Array:
    """`count` whole numbers from `low` to `high` − 1, far below 2³¹, from one stream of the key."""
    u = uniform_open(key, (count,), jnp.float32, stream=stream)
    return jnp.minimum(low + (u * (high - low)).astype(jnp.int32), high - 1)


def _join(first: Any, second: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)

"""What ensemble moves share: two halves, each moved by differences to the other half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from mcmc.kernels.metric import LowRank
from mcmc.kernels.metropolis import ChainInfo, ChainState, accept

Proposal = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array | float]]


def step_halves(
    key: jax.Array, state: ChainState, log_density: Any, proposal: Proposal
) -> tuple[ChainState, ChainInfo]:
    """Move the first half given the second, then the second given the first.

    `proposal(key, positions (n, dim), others (n, dim)) -> (to (n, dim), log correction (n,))`; `log_density` maps
    (n, dim) to (n,). Each half is a Metropolis step given the other, so that the joint law is kept. A loop, so that
    the move and the log density are compiled once.
    """
    keys = jax.random.split(key)

    def move(halves: ChainState, which: jax.Array) -> tuple[ChainState, ChainInfo]:
        moving = jax.tree.map(lambda a: a[which], halves)
        to, log_correction = proposal(keys[which], moving.position, halves.position[1 - which])
        lp = log_density(to)
        outcome = accept(keys[which], moving.lp, lp, log_correction)
        moved = ChainState(
            jnp.where(outcome.accepted[:, None], to, moving.position), jnp.where(outcome.accepted, lp, moving.lp)
        )
        info = ChainInfo(outcome.acceptance_rate, outcome.accepted, outcome.nonfinite)
        return jax.tree.map(lambda a, b: a.at[which].set(b), halves, moved), info

    halves = jax.tree.map(lambda a: a.reshape(2, -1, *a.shape[1:]), state)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), jax.lax.scan(move, halves, jnp.arange(2)))


def choose(u: jax.Array, count: int) -> jax.Array:
    """Whole numbers from 0 to `count` − 1, far below 2³¹, of uniforms in float32."""
    return jnp.minimum((u * count).astype(jnp.int32), count - 1)


def whiten(metric: Any, x: jax.Array) -> jax.Array:
    """F⁻¹ x, row by row."""
    if isinstance(metric, LowRank):
        scaled = x / metric.factor
        along = scaled @ metric.directions * (metric.variances**-0.5 - 1.0)
        return scaled + along @ metric.directions.T
    return x / metric.factor if metric.factor.ndim == 1 else solve_triangular(metric.factor, x.T, lower=True).T

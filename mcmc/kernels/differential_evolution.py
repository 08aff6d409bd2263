"""Differential evolution: proposals along differences of other chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mcmc.kernels.ensemble import choose, step_halves
from mcmc.kernels.metropolis import ChainInfo, ChainState
from mcmc.random import symmetric_normal, uniform_open


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DifferentialEvolution:
    r"""Differential evolution of an ensemble: y' = y + γ (a − b) + σ γ |a − b| z, a and b chains of the other half.

    γ = 2.38/√(2d), and 1 in a tenth of the moves, which jumps between modes that the ensemble knows. The noise z
    is normal by coordinate. Needs an even number of chains, at least twice the dimension. Nothing is tuned.

    Args:
        noise: σ, the relative size of the noise that makes every place reachable.
        jump_rate: the share of moves with γ = 1.

    Source: ter Braak 2006; Nelson, Ford & Payne 2014.

    Example:
        >>> import mcmc
        >>> kernel = mcmc.DifferentialEvolution()
    """

    noise: Any = 0.01
    jump_rate: Any = 0.1
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = False
    ensemble: ClassVar[bool] = True

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of chains that start at `position` (chain, dim)."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, ChainInfo]:
        """One transition of all chains."""

        def proposal(key: jax.Array, y: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:
            (n, dim), m = y.shape, others.shape[0]
            a = choose(key, n, 0, m, stream=3)
            b = (a + choose(key, n, 1, m, stream=4)) % m
            difference = others[a] - others[b]
            jump = uniform_open(key, (n, 1), y.dtype, stream=2) < self.jump_rate
            gamma = jnp.where(jump, 1.0, 2.38 / (2 * dim) ** 0.5).astype(y.dtype)
            z = symmetric_normal(key, y.shape, y.dtype)
            to = y + gamma * difference + self.noise * gamma * jnp.abs(difference) * z
            return to, jnp.zeros(n, y.dtype)

        return step_halves(key, state, log_density, proposal)

"""The affine-invariant stretch move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mcmc.kernels.ensemble import choose, step_halves
from mcmc.kernels.metropolis import ChainInfo, ChainState
from mcmc.random.draws import uniform_open
from mcmc.words import kernel_words


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Stretch:
    r"""The stretch move of an ensemble: y' = w + z (y − w), w a chain of the other half, z ∈ [1/a, a].

    z has density ∝ 1/√z; the move is accepted by z^(d−1) π(y')/π(y). Needs an even number of chains, at least
    twice the dimension. Nothing is tuned.

    Args:
        scale: a > 1, the largest stretch.

    Source: Goodman & Weare 2010.

    Example:
        >>> import mcmc
        >>> kernel = mcmc.Stretch(scale=2.0)
    """

    scale: Any = 2.0
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = False
    ensemble: ClassVar[bool] = True

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of chains that start at `position` (chain, dim)."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, ChainInfo]:
        """One transition of all chains."""

        def proposal(key: jax.Array, y: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:
            n, dim = y.shape
            u = uniform_open(key, (n,), y.dtype)
            z = ((self.scale - 1.0) * u + 1.0) ** 2 / self.scale
            w = others[choose(uniform_open(key, (n,), jnp.float32, stream=2), n)]
            return w + z[:, None] * (y - w), (dim - 1) * jnp.log(z)

        return step_halves(key, state, log_density, proposal)

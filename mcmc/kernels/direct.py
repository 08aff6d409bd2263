"""Draws without a chain, in the engine's clothes: the same data and the same verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mcmc.kernels.metropolis import ChainInfo, ChainState
from mcmc.words import kernel_words


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Direct:
    r"""Independent draws from a direct sampler: every draw is y ~ sampler, whatever came before.

    Args:
        proposal: an object with `sample(key, shape)`, and `log_prob(x)` if it is known; or a dict of them by
            parameter. Draws are of the constrained parameters.

    Example:
        >>> import jax, mcmc
        >>> class Uniform:
        ...     def sample(self, key, shape=()):
        ...         return jax.random.uniform(key, shape)
        >>> draws = mcmc.sample(Uniform(), draws=500, chains=4, progress=False)
    """

    proposal: Any
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = True
    conditional: ClassVar[bool] = False

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of a chain that starts at `position`."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, ChainInfo]:
        """One draw."""
        draw = getattr(self.proposal, "draw", None)
        to = draw(key) if draw else self.proposal.sample(key, ())
        one = jnp.ones((), state.lp.dtype)
        return ChainState(to, log_density(to)), ChainInfo(one, one > 0, one < 0)

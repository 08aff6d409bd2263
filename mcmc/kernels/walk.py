"""The affine-invariant walk move: steps that are spread as a few chains of the other half are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mcmc.kernels.ensemble import step_halves
from mcmc.kernels.metropolis import ChainInfo, ChainState
from mcmc.random.draws import symmetric_normal, uniform_open
from mcmc.words import kernel_words


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Walk:
    r"""The walk move of an ensemble: a random walk whose covariance is that of s chains of the other half.

    .. math:: y' = y + \frac{\epsilon}{\sqrt{s - 1}} \sum_{j \in S} z_j (x_j - \bar x_S), \quad z_j \sim N(0, 1)

    S are s chains of the other half, drawn at random; x̄ is their mean. The move is symmetric given the other half, so
    it is accepted by π(y')/π(y). Needs an even number of chains, at least twice the dimension.

    Args:
        step_size: ε; None: tuned in warmup to an acceptance rate of 0.234 (0.44 in one dimension). emcee has 1.
        size: s, 2 or more, at most half of the chains; None: 4 (dim + 1), or all of the other half if there are fewer.

    Source: Goodman & Weare 2010.

    Example:
        >>> import mcmc
        >>> kernel = mcmc.Walk(size=10)
    """

    step_size: Any = None
    size: int | None = field(default=None, metadata={"static": True})
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = False
    ensemble: ClassVar[bool] = True

    def target_rate(self, dim: int) -> float:
        """The acceptance rate that warmup tunes to."""
        return 0.44 if dim == 1 else 0.234

    def default_step_size(self, dim: int) -> float:
        """The optimal step size for a normal target whose covariance is known."""
        return 2.38 / dim**0.5

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of chains that start at `position` (chain, dim)."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, ChainInfo]:
        """One transition of all chains."""
        dim = state.position.shape[1]
        step_size = self.default_step_size(dim) if self.step_size is None else self.step_size

        def proposal(key: jax.Array, y: jax.Array, others: jax.Array) -> tuple[jax.Array, float]:
            n = len(y)
            size = min(n, 4 * (dim + 1) if self.size is None else self.size)
            ring = others[jnp.argsort(uniform_open(key, (n,), jnp.float32, stream=2))]
            some = ring[(jnp.arange(n)[:, None] + jnp.arange(size)) % n]  # of each chain: a random subset
            z = symmetric_normal(key, (n, size), y.dtype)
            spread = jnp.einsum("ns,nsd->nd", z, some - some.mean(1, keepdims=True))
            return y + step_size / (size - 1) ** 0.5 * spread, 0.0

        return step_halves(key, state, log_density, proposal)

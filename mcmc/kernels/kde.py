"""Proposals from a kernel density estimate of the other half of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from mcmc.kernels.ensemble import choose, step_halves, whiten
from mcmc.kernels.metric import as_metric
from mcmc.kernels.metropolis import ChainInfo, ChainState
from mcmc.random.draws import symmetric_normal, uniform_open
from mcmc.words import kernel_words

FREEDOM = 5


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KDE:
    r"""The density-estimate move of an ensemble: draws that do not depend on where the chain is.

    .. math:: q(x) = \frac{1}{n} \sum_{j=1}^{n} t_5(x;\, x_j,\, h^2 F F^T)

    over the chains x_j of the other half; a draw y' of it is accepted by π(y') q(y) / (π(y) q(y')). Student's t has
    5 degrees of freedom, so that a chain far from all others comes back. Good in a few dimensions, where many chains
    trace out the target, also one of several modes; poor beyond about ten. Needs an even number of chains, at least
    twice the dimension.

    Args:
        bandwidth: h, a positive number; None: Scott's rule, n^(−1/(dim + 4)).
        metric: F Fᵀ, an estimate of the target's covariance (number, vector or matrix); None: tuned in warmup from all
            chains together.

    Source: Farr & Farr 2015 (KOMBINE); emcee's KDEMove; Scott 1992.

    Example:
        >>> import mcmc
        >>> kernel = mcmc.KDE(bandwidth=0.5)
    """

    bandwidth: Any = None
    metric: Any = None
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = False
    ensemble: ClassVar[bool] = True

    @property
    def step_size(self) -> float:
        """The scale of the moves in terms of the metric: nothing that is tuned."""
        return 1.0

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of chains that start at `position` (chain, dim)."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, ChainInfo]:
        """One transition of all chains."""
        metric = as_metric(self.metric, state.position[0])

        def proposal(key: jax.Array, y: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:
            n, dim = y.shape
            h = jnp.asarray(n ** (-1 / (dim + 4)) if self.bandwidth is None else self.bandwidth, y.dtype)
            z = symmetric_normal(key, (n, dim + FREEDOM), y.dtype)
            heavy = z[:, :dim] * jnp.sqrt(FREEDOM / jnp.sum(z[:, dim:] ** 2, 1))[:, None]
            centre = others[choose(uniform_open(key, (n,), jnp.float32, stream=2), n)]
            to = centre + h * jax.vmap(metric.scale)(heavy)
            seen = whiten(metric, others)
            return to, _log_density(whiten(metric, y), seen, h) - _log_density(whiten(metric, to), seen, h)

        return step_halves(key, state, log_density, proposal)


def _log_density(x: jax.Array, centres: jax.Array, h: jax.Array) -> jax.Array:
    """log q at whitened points (n, dim), up to a constant."""
    squared = jnp.sum(((x[:, None] - centres) / h) ** 2, -1)
    return logsumexp(-0.5 * (FREEDOM + x.shape[1]) * jnp.log1p(squared / FREEDOM), axis=1)

"""Differential evolution with adaptive Metropolis: proposals along differences of chains, and from their pooled law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mcmc.kernels.ensemble import choose, step_halves, whiten
from mcmc.kernels.metric import as_metric
from mcmc.kernels.metropolis import ChainInfo, ChainState
from mcmc.random.draws import symmetric_normal, uniform_open
from mcmc.words import kernel_words

FREEDOM = 5


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DifferentialEvolution:
    r"""Differential evolution and adaptive Metropolis of an ensemble: the default where there is no gradient.

    A chain y of one half moves by the other half, in one of three ways drawn for every chain and iteration, and the
    move is accepted by Metropolis–Hastings:

    - adaptive: y' = m + √s F z, with m the mean of the other half, F Fᵀ the metric that warmup tuned from all chains,
      and s | y inverse gamma with shape (d + 5)/2 and scale (5 + r²)/2, r = |F⁻¹(y − m)|. This keeps Student's t with
      5 degrees of freedom about m, t(r) ∝ (1 + r²/5)^(−(d + 5)/2), so that the move is accepted by
      π(y') t(r) / (π(y) t(r')): mostly where the target is nearly normal, and nearly always from far away.
    - differential evolution: y' = y + γ (a − b) + σ γ |a − b| z, with a and b of the other half, γ = 2.38/√(2d), and
      1 in a tenth of these moves, which jumps between modes that the ensemble knows.
    - snooker: along the line from a chain c of the other half to y, by g times the projection of a − b on it, g
      uniform in (1.2, 2.2); corrected by (|y' − c| / |y − c|)^(d−1).

    Needs an even number of chains, at least twice the dimension. Beyond some 30 dimensions use gradients if you can.

    Args:
        metric: an estimate of the target's covariance (number, vector or matrix); None: tuned in warmup from all
            chains together.
        noise: σ, the relative size of the noise that makes every place reachable.
        jump_rate: the share of the moves of differential evolution with γ = 1.
        adaptive_rate: the share of adaptive moves; None: 0.6, or 18/d in more than 30 dimensions, where the metric is
            known late.
        snooker_rate: the share of snooker moves; the rest is differential evolution.

    Source: ter Braak 2006; ter Braak & Vrugt 2008 (snooker); Haario, Saksman & Tamminen 2001 (adaptive Metropolis);
    Kamatani 2018 (normal moves of random scale).

    Example:
        >>> import mcmc
        >>> kernel = mcmc.DifferentialEvolution()
    """

    metric: Any = None
    noise: Any = 0.01
    jump_rate: Any = 0.1
    adaptive_rate: Any = None
    snooker_rate: Any = 0.1
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
        adaptive_rate = min(0.6, 18 / state.position.shape[1]) if self.adaptive_rate is None else self.adaptive_rate

        def proposal(key: jax.Array, y: jax.Array, others: jax.Array) -> tuple[jax.Array, jax.Array]:
            n, dim = y.shape
            z = symmetric_normal(key, (n, 2 * dim + FREEDOM), y.dtype)
            u = uniform_open(key, (n, 6), jnp.float32, stream=2)
            a = choose(u[:, 0], n)
            b = (a + 1 + choose(u[:, 1], n - 1)) % n
            difference = others[a] - others[b]
            jump = jnp.where(u[:, 2:3] < self.jump_rate, 1.0, 2.38 / (2 * dim) ** 0.5).astype(y.dtype)
            differing = y + jump * (difference + self.noise * jnp.abs(difference) * z[:, :dim])
            snooker, turned = _snooker(y, others[choose(u[:, 3], n)], difference, 1.2 + u[:, 4:5].astype(y.dtype))
            adaptive, correction = _adaptive(y, jnp.mean(others, 0), metric, z)
            which = u[:, 5]
            first, second = which < adaptive_rate, which < adaptive_rate + self.snooker_rate
            to = jnp.where(first[:, None], adaptive, jnp.where(second[:, None], snooker, differing))
            return to, jnp.where(first, correction, jnp.where(second, turned, 0.0))

        return step_halves(key, state, log_density, proposal)


def _snooker(y: jax.Array, c: jax.Array, difference: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A move along the line from another chain, and its log correction."""
    line = y - c
    length = jnp.maximum(jnp.sqrt(jnp.sum(line**2, 1, keepdims=True)), jnp.finfo(y.dtype).tiny)  # where y is c
    along = line / length
    change = scale * jnp.sum(difference * along, 1, keepdims=True)
    return y + change * along, (y.shape[1] - 1) * jnp.log(jnp.abs(length + change) / length)[:, 0]


def _adaptive(y: jax.Array, mean: jax.Array, metric: Any, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A normal move about the mean, its scale drawn given y, and its log correction; z (n, 2 dim + 5) normals."""
    dim = y.shape[1]

    def log_t(squared: jax.Array) -> jax.Array:
        return -0.5 * (FREEDOM + dim) * jnp.log1p(squared / FREEDOM)

    squared = jnp.sum(whiten(metric, y - mean) ** 2, 1)
    scale = (FREEDOM + squared) / jnp.sum(z[:, dim:] ** 2, 1)
    whitened = jnp.sqrt(scale)[:, None] * z[:, :dim]
    return mean + jax.vmap(metric.scale)(whitened), log_t(squared) - log_t(jnp.sum(whitened**2, 1))

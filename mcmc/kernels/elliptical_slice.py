"""Elliptical slice sampling: for targets with a normal prior, such as latent Gaussian processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from mcmc.kernels.metric import as_metric
from mcmc.kernels.metropolis import ChainState, acceptance_uniform
from mcmc.kernels.slice import MOST_SHRINKS, PLACE, SHRINK, SliceInfo, shrink
from mcmc.random.draws import normal, uniform_open
from mcmc.words import kernel_words


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EllipticalSlice:
    r"""Elliptical slice sampling of π(y) ∝ N(y; m, C) L(y): y' = m + (y − m) cos θ + ν sin θ, ν ~ N(0, C).

    θ is drawn from an interval of 2π that shrinks to each angle at which L lies below the level L(y) U. Nothing is
    tuned, no gradient is needed, and every proposal is a draw that the prior finds as likely as y: for latent Gaussian
    processes and other models whose prior is normal and whose likelihood says little of each coordinate. The log
    density is that of the target, prior included; L is found by taking the prior out of it.

    Args:
        metric: C, the covariance of the normal prior in unconstrained space: a number, a vector of variances or a
            matrix, of the parameters in order. Any C leaves the target invariant; another than the prior's is slower.
        loc: m, the mean of the prior: a number or a vector.

    Source: Murray, Adams & MacKay 2010.

    Example:
        >>> import mcmc
        >>> kernel = mcmc.EllipticalSlice(metric=[[1.0, 0.9], [0.9, 1.0]])
    """

    metric: Any
    loc: Any = 0.0
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = False

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of a chain that starts at `position`."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, SliceInfo]:
        """One transition of one chain."""
        dtype = state.position.dtype
        prior, loc = as_metric(self.metric, state.position), jnp.asarray(self.loc, dtype)

        def log_prior(y: jax.Array) -> jax.Array:
            c, factor = y - loc, prior.factor
            z = c / factor if factor.ndim == 1 else solve_triangular(factor, c, lower=True)
            return -0.5 * jnp.sum(z**2)

        here = state.position - loc
        other = prior.scale(normal(key, state.position.shape, dtype))
        first = 2 * math.pi * uniform_open(key, (), dtype, stream=PLACE)

        def at(angle: jax.Array) -> jax.Array:
            return loc + here * jnp.cos(angle) + other * jnp.sin(angle)

        def likelihood(angle: jax.Array) -> jax.Array:
            y = at(angle)
            return log_density(y) - log_prior(y)

        level = state.lp - log_prior(state.position) + jnp.log(acceptance_uniform(key, dtype))
        uniforms = uniform_open(key, (MOST_SHRINKS,), dtype, stream=SHRINK)
        made = shrink(uniforms, first - 2 * math.pi, first, level, likelihood)
        moved, end = made.lp > level, at(made.place)
        position = jnp.where(moved, end, state.position)
        lp = jnp.where(moved, made.lp + log_prior(end), state.lp)
        return ChainState(position, lp), SliceInfo(moved.astype(dtype), moved, made.nonfinite, made.count)

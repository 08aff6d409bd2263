"""The Metropolis-adjusted Langevin algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from mcmc.kernels.hmc import HMCState
from mcmc.kernels.metric import as_metric
from mcmc.kernels.metropolis import accept
from mcmc.random.draws import normal
from mcmc.words import kernel_words


class MALAInfo(NamedTuple):
    """What one transition did; `n_steps` counts gradients and is 1."""

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    n_steps: jax.Array
    step_size: jax.Array


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MALA:
    r"""The Metropolis-adjusted Langevin algorithm: y' = y + ε²/2 C ∇log π(y) + ε F z, then accept.

    z is standard normal and C = F Fᵀ the metric. With z' = z + ε/2 Fᵀ(∇log π(y) + ∇log π(y')), minus the noise of
    the way back, log q(y | y') − log q(y' | y) = (|z|² − |z'|²)/2. Each iteration takes one gradient.

    Args:
        step_size: ε; None: tuned in warmup to the target acceptance over all chains.
        metric: an estimate of the target's covariance (number, vector or matrix); None: tuned in warmup from all
            chains together.
        target_acceptance: the acceptance rate that the step size is tuned to; 0.574 is best in high dimension.

    Source: Roberts & Tweedie 1996; Roberts & Rosenthal 1998 (the scaling).

    Example:
        >>> import mcmc
        >>> kernel = mcmc.MALA(step_size=0.8, metric=[1.0, 4.0])
    """

    step_size: Any = None
    metric: Any = None
    target_acceptance: Any = 0.574
    needs_gradient: ClassVar[bool] = True
    takes_discrete: ClassVar[bool] = False

    def target_rate(self, dim: int) -> float:
        """The acceptance rate that warmup tunes to."""
        return self.target_acceptance

    def default_step_size(self, dim: int) -> float:
        """The optimal step size for a normal target whose covariance is the metric, in high dimension."""
        return 1.65 / dim ** (1 / 6)

    def init(self, position: jax.Array, log_density: Any) -> HMCState:
        """The state of a chain that starts at `position`."""
        return HMCState(position, *jax.value_and_grad(log_density)(position))

    def step(self, key: jax.Array, state: HMCState, log_density: Any) -> tuple[HMCState, MALAInfo]:
        """One transition of one chain."""
        dtype, dim = state.position.dtype, state.position.shape[-1]
        metric = as_metric(self.metric, state.position)
        step_size = jnp.asarray(self.default_step_size(dim) if self.step_size is None else self.step_size, dtype)
        z = normal(key, state.position.shape, dtype)
        drifted = z + 0.5 * step_size * metric.scale_gradient(state.gradient)
        position = state.position + step_size * metric.scale(drifted)
        lp, gradient = jax.value_and_grad(log_density)(position)
        back = drifted + 0.5 * step_size * metric.scale_gradient(gradient)
        outcome = accept(key, state.lp, lp, 0.5 * jnp.sum((z - back) * (z + back)))
        new = jax.tree.map(lambda a, b: jnp.where(outcome.accepted, a, b), HMCState(position, lp, gradient), state)
        return new, MALAInfo(
            acceptance_rate=outcome.acceptance_rate,
            accepted=outcome.accepted,
            nonfinite=outcome.nonfinite,
            n_steps=jnp.int32(1),
            step_size=step_size,
        )

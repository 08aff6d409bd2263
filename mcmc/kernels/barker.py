"""The Barker proposal: gradients choose the sign of every increment, so that a poor step size does little harm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mcmc.kernels.hmc import HMCState
from mcmc.kernels.mala import MALAInfo
from mcmc.kernels.metric import as_metric
from mcmc.kernels.metropolis import accept
from mcmc.random.draws import symmetric_normal, uniform_open
from mcmc.words import kernel_words

SIGNS = 2


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Barker:
    r"""The Barker proposal: y' = y + F w, wᵢ = ±ε zᵢ, z standard normal and F Fᵀ the metric, then accept.

    With g = Fᵀ ∇log π(y), increment i keeps its sign with probability 1 / (1 + exp(−gᵢ ε zᵢ)). The correction is
    Σᵢ log(1 + exp(−wᵢ gᵢ)) − log(1 + exp(wᵢ g'ᵢ)), g' at y'. Gradients enter through a bounded function: where they
    are huge, the move is not, as MALA's is; so warmup is quick, and a step size that is too large costs acceptance,
    not the run. Each iteration takes one gradient.

    Args:
        step_size: ε; None: tuned in warmup to the target acceptance over all chains.
        metric: an estimate of the target's covariance (number, vector or matrix); None: tuned in warmup from all
            chains together.
        target_acceptance: the acceptance rate that the step size is tuned to; 0.574 is best in high dimension.

    Source: Livingstone & Zanella 2022 (arXiv:1908.11812).

    Example:
        >>> import mcmc
        >>> kernel = mcmc.Barker(step_size=0.8, metric=[1.0, 4.0])
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
        """A first guess for a normal target whose covariance is the metric."""
        return 1.5 / dim ** (1 / 6)

    def init(self, position: jax.Array, log_density: Any) -> HMCState:
        """The state of a chain that starts at `position`."""
        return HMCState(position, *jax.value_and_grad(log_density)(position))

    def step(self, key: jax.Array, state: HMCState, log_density: Any) -> tuple[HMCState, MALAInfo]:
        """One transition of one chain."""
        dtype, dim = state.position.dtype, state.position.shape[-1]
        metric = as_metric(self.metric, state.position)
        step_size = jnp.asarray(self.default_step_size(dim) if self.step_size is None else self.step_size, dtype)
        increment = step_size * symmetric_normal(key, state.position.shape, dtype)
        slope = metric.scale_gradient(state.gradient)
        keeps = uniform_open(key, state.position.shape, dtype, stream=SIGNS) < jax.nn.sigmoid(slope * increment)
        increment = jnp.where(keeps, increment, -increment)
        position = state.position + metric.scale(increment)
        lp, gradient = jax.value_and_grad(log_density)(position)
        there, back = increment * slope, increment * metric.scale_gradient(gradient)
        outcome = accept(key, state.lp, lp, jnp.sum(jax.nn.softplus(-there) - jax.nn.softplus(back)))
        new = jax.tree.map(lambda a, b: jnp.where(outcome.accepted, a, b), HMCState(position, lp, gradient), state)
        return new, MALAInfo(
            acceptance_rate=outcome.acceptance_rate,
            accepted=outcome.accepted,
            nonfinite=outcome.nonfinite,
            n_steps=jnp.int32(1),
            step_size=step_size,
        )

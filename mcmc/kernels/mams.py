"""Metropolis-adjusted microcanonical sampling: trajectories of unit speed, whatever the log density does on the way."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mcmc.kernels.hmc import HMCState
from mcmc.kernels.metric import as_metric
from mcmc.kernels.metropolis import accept
from mcmc.kernels.multiscale import MultiscaleInfo, at, trajectory
from mcmc.random.draws import normal, uniform_open
from mcmc.words import kernel_words


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MAMS:
    r"""Metropolis-adjusted microcanonical sampler: y' = u, u' = (I − u uᵀ) ∇ log π(y)/(d − 1), |u| = 1.

    A chain draws a direction u, uniform on the sphere, and follows the equations by leapfrog steps of length ε √d. The
    end y* is accepted with probability min(1, π(y*)/π(y) · exp(−contraction)), the contraction of volume on the way;
    so the target is exactly invariant. Speed is the same everywhere: no kinetic energy runs out on the way uphill.
    The number of steps is drawn anew in every iteration, the same for all chains. `Multiscale` is the same with a
    step size that is drawn from the gradient at the start.

    Args:
        step_size: ε; None: tuned in warmup to the target acceptance over all chains.
        metric: an estimate of the target's covariance (number, vector or matrix); None: tuned in warmup from all
            chains together.
        num_steps: a fixed number of steps; None: drawn from `length`.
        target_acceptance: the acceptance rate that the step size is tuned to.
        length: the mean length of a trajectory, in units of √d of the whitened target.
        max_steps: the most steps in an iteration.

    Source: Robnik, Cohn-Gordon & Seljak 2025 (arXiv:2503.01707).

    Example:
        >>> import mcmc
        >>> kernel = mcmc.MAMS(target_acceptance=0.9)
    """

    step_size: Any = None
    metric: Any = None
    num_steps: Any = None
    target_acceptance: Any = 0.9
    length: Any = math.pi / 2
    max_steps: Any = 1000
    needs_gradient: ClassVar[bool] = True
    takes_discrete: ClassVar[bool] = False

    def target_rate(self, dim: int) -> float:
        """The acceptance rate that warmup tunes to."""
        return self.target_acceptance

    def default_step_size(self, dim: int) -> float:
        """A first guess for a normal target whose covariance is the metric."""
        return 1.0 / dim**0.25

    def each_draw(self, key: jax.Array) -> MAMS:
        """The kernel of one iteration, the same for all chains: the number of steps is drawn."""
        if self.num_steps is not None:
            return self
        wanted = jnp.round(self.length * (0.5 + uniform_open(key, (), jnp.float32)) / self.step_size)
        return dataclasses.replace(self, num_steps=jnp.clip(wanted, 1, self.max_steps).astype(jnp.int32))

    def init(self, position: jax.Array, log_density: Any) -> HMCState:
        """The state of a chain that starts at `position`."""
        return HMCState(position, *jax.value_and_grad(log_density)(position))

    def step(self, key: jax.Array, state: HMCState, log_density: Any) -> tuple[HMCState, MultiscaleInfo]:
        """One transition of one chain."""
        dtype, dim = state.position.dtype, state.position.shape[-1]
        metric = as_metric(self.metric, state.position)
        step_size = jnp.asarray(self.default_step_size(dim) if self.step_size is None else self.step_size, dtype)
        num_steps = self.num_steps
        if num_steps is None:
            num_steps = jnp.clip(jnp.round(self.length / step_size), 1, self.max_steps).astype(jnp.int32)
        drawn = normal(key, (dim + 2,), dtype)
        start = at(state, drawn[-1], metric)
        direction = drawn[:-1] / jnp.linalg.norm(drawn[:-1])
        h = step_size * jnp.asarray(dim + 1, dtype) ** 0.5
        end, _, contraction = trajectory(start, direction, metric, h, num_steps, jax.value_and_grad(log_density))
        outcome = accept(key, start.lp, end.lp, -contraction)
        new = jax.tree.map(lambda a, b: jnp.where(outcome.accepted, a, b), end.state, state)
        return new, MultiscaleInfo(
            acceptance_rate=outcome.acceptance_rate,
            accepted=outcome.accepted,
            nonfinite=outcome.nonfinite,
            n_steps=jnp.asarray(num_steps, jnp.int32),
            step_size=step_size,
        )

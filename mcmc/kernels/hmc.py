"""Hamiltonian Monte Carlo with a leapfrog count that all chains share."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from mcmc.kernels.metric import as_metric
from mcmc.kernels.metropolis import accept, acceptance_uniform
from mcmc.kernels.reflection import between
from mcmc.kernels.walls import MAX_ENERGY_ERROR, leapfrog_at_walls
from mcmc.random.draws import normal, uniform_open
from mcmc.words import kernel_words

SMALL_ENERGY_ERROR = 1.0
EASY_RATE, STRICT_RATE, POOR = 0.8, 0.97, 0.05
PLAIN, PLAIN_SHARE = 2, 0.125
QUARTER_TURN, LONG, HALVED = math.pi / 2, 2.2, 1 / 8


class HMCState(NamedTuple):
    """Where a chain is: position (dim,), log density and its gradient there."""

    position: jax.Array
    lp: jax.Array
    gradient: jax.Array


class Trajectory(NamedTuple):
    """Where a trajectory ends, with which momentum, and its energy error, without the walls and jumps that it met.

    `turns` and `met` count its steps that turned back at walls, and all that met one; `inside` says that it met −inf
    after a small error only, `reversible` that the way back is the same.
    """

    end: HMCState
    momentum: jax.Array
    error: jax.Array
    turns: jax.Array
    met: jax.Array
    inside: jax.Array
    reversible: jax.Array


class HMCInfo(NamedTuple):
    """What one transition did; `energy` is −log density plus kinetic energy of the state it ended in.

    `rates` are what warmup wants to know: the acceptance rate with the jumps passed left out, whether it is poor, below
    0.05, the share of steps that did not turn back at a wall, and of those that met none.
    """

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    diverging: jax.Array
    energy: jax.Array
    n_steps: jax.Array
    step_size: jax.Array
    rates: jax.Array


def leapfrog(
    state: HMCState, momentum: jax.Array, metric: Any, step_size: Any, num_steps: Any, value_and_grad: Any
) -> tuple[HMCState, jax.Array, jax.Array]:
    """`num_steps` leapfrog steps, dy = F u dt, du = Fᵀ ∇log π dt, half steps of the momentum u between them joined.

    Besides, −log density plus kinetic energy at the last point before the log density was −inf.
    """

    def one(_: Any, carry: tuple) -> tuple:
        state, momentum, inside = carry
        position = state.position + step_size * metric.scale(momentum)
        lp, gradient = value_and_grad(position)
        kick = step_size * metric.scale_gradient(gradient)
        energy = 0.5 * jnp.sum((momentum + 0.5 * kick) ** 2) - lp
        inside = jnp.where((lp == -jnp.inf) | (state.lp == -jnp.inf), inside, energy)
        return HMCState(position, lp, gradient), momentum + kick, inside

    inside = 0.5 * jnp.sum(momentum**2) - state.lp
    momentum = momentum + 0.5 * step_size * metric.scale_gradient(state.gradient)
    end, momentum, inside = jax.lax.fori_loop(0, num_steps, one, (state, momentum, inside))
    return end, momentum - 0.5 * step_size * metric.scale_gradient(end.gradient), inside


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HMC:
    r"""Hamiltonian Monte Carlo: n leapfrog steps of size ε under H(y, u) = −log π(y) + |u|²/2, then accept.

    Momenta u are whitened by the metric F Fᵀ: a step is u += ε/2 Fᵀ∇log π(y), y += ε F u, u += ε/2 Fᵀ∇log π(y), so
    that the law is the target's whatever the metric. With `num_steps=None` the number of steps is drawn anew in every
    iteration, for all chains alike: n ≈ length · U(½, 3/2) / ε, which avoids the resonances of a fixed count and
    leaves no chain waiting for another. The shortest eighth of the trajectories takes half steps: where the target
    curves so sharply that steps ε are unstable, a chain stays for a few iterations only.

    Args:
        step_size: ε; None: tuned in warmup to the acceptance rate of all chains.
        metric: an estimate of the target's covariance (number, vector or matrix); None: tuned in warmup from all
            chains together.
        num_steps: a fixed leapfrog count; None: drawn from `length`.
        target_acceptance: the acceptance rate that the step size is tuned to; None: 0.8, raised to 0.9 and
            then 0.97 in warmup where 2 in 1000 proposals more than on a normal target are accepted with probability
            below 0.05: there the target curves sharply in places, which many gradients avoid, and divergences bias.
        length: the mean trajectory length in whitened units; None: π/2, which turns a normal target by a quarter, or
            2.2 where proposals are poor; up to 2.8 times as long where warmup finds that slow coordinates gain by it.
        max_steps: the most leapfrog steps in an iteration.
        ends: the lowest and the highest coordinates (2, dim), infinite where there is no end: trajectories that begin
            between them are reflected there, but in one iteration of eight, so that draws are right whatever they are.
            None: found in warmup with the metric, where the log density has branches that make it −inf or jump.

    Divergence: an energy error above 1000, or one that is not finite; recorded as `diverging`. A wall is none: a
    proposal at log density −inf after an energy error below 1 is rejected, and left out of what warmup tunes to.
    Source: Duane et al. 1987; Neal 2011.

    Example:
        >>> import mcmc
        >>> kernel = mcmc.HMC(num_steps=16, target_acceptance=0.9)
    """

    step_size: Any = None
    metric: Any = None
    num_steps: Any = None
    target_acceptance: Any = None
    length: Any = None
    max_steps: Any = 1000
    ends: Any = None
    needs_gradient: ClassVar[bool] = True
    takes_discrete: ClassVar[bool] = False

    def target_rate(self, dim: int) -> float:
        """The acceptance rate that warmup tunes to."""
        return EASY_RATE if self.target_acceptance is None else self.target_acceptance

    def default_step_size(self, dim: int) -> float:
        """A first guess for a normal target whose covariance is the metric."""
        return 1.0 / dim**0.25

    def each_draw(self, key: jax.Array) -> HMC:
        """The kernel of one iteration, the same for all chains: the leapfrog count is drawn."""
        if self.ends is not None:
            plain = uniform_open(key, (), jnp.float32, stream=PLAIN) < PLAIN_SHARE
            none = jnp.array([[-jnp.inf], [jnp.inf]], self.ends.dtype)
            self = dataclasses.replace(self, ends=jnp.where(plain, none, self.ends))
        if self.num_steps is not None:
            return self
        u = uniform_open(key, (), jnp.float32)
        step_size = self.step_size * jnp.where(u < HALVED, 0.5, 1.0).astype(jnp.result_type(self.step_size))
        length = QUARTER_TURN if self.length is None else self.length
        wanted = jnp.round(length * (0.5 + u) / step_size)
        count = jnp.clip(wanted, 1, self.max_steps).astype(jnp.int32)
        return dataclasses.replace(self, num_steps=count, step_size=step_size)

    def init(self, position: jax.Array, log_density: Any) -> HMCState:
        """The state of a chain that starts at `position`."""
        return HMCState(position, *jax.value_and_grad(log_density)(position))

    def step(self, key: jax.Array, state: HMCState, log_density: Any) -> tuple[HMCState, HMCInfo]:
        """One transition of one chain."""
        dtype = state.position.dtype
        metric = as_metric(self.metric, state.position)
        dim = state.position.shape[-1]
        step_size = jnp.asarray(self.default_step_size(dim) if self.step_size is None else self.step_size, dtype)
        num_steps = self.num_steps
        if num_steps is None:
            length = QUARTER_TURN if self.length is None else self.length
            num_steps = jnp.clip(jnp.round(length / step_size), 1, self.max_steps).astype(jnp.int32)
        z = normal(key, state.position.shape, dtype)
        trajectory = self._straight if self.ends is None else self._at_walls
        met = trajectory(key, state, z, metric, step_size, num_steps, jax.value_and_grad(log_density))
        kinetic, end_kinetic = 0.5 * jnp.sum(z**2), 0.5 * jnp.sum(met.momentum**2)
        end = met.end._replace(lp=jnp.where(jnp.isfinite(end_kinetic), met.end.lp, jnp.nan))
        outcome = accept(key, state.lp, jnp.where(met.reversible, end.lp, -jnp.inf), -_gained(z, met.momentum))
        new = jax.tree.map(lambda a, b: jnp.where(outcome.accepted, a, b), end, state)
        known = met.inside & jnp.isfinite(end_kinetic) & ~jnp.isnan(met.error)
        rate = jnp.where(known, jnp.exp(jnp.minimum(-met.error, 0.0)), 0.0)
        rates = jnp.stack([rate, rate < POOR, 1 - met.turns / num_steps, 1 - met.met / num_steps])
        return new, HMCInfo(
            acceptance_rate=outcome.acceptance_rate,
            accepted=outcome.accepted,
            nonfinite=outcome.nonfinite,
            diverging=(~(met.error < MAX_ENERGY_ERROR) & ~(end.lp == jnp.inf)) | ~met.inside,
            energy=jnp.where(outcome.accepted, end_kinetic, kinetic) - new.lp,
            n_steps=jnp.asarray(num_steps, jnp.int32),
            step_size=step_size,
            rates=rates.astype(dtype),
        )

    def _straight(
        self, key: jax.Array, state: HMCState, z: jax.Array, metric: Any, step_size: Any, n: Any, value_and_grad: Any
    ) -> Trajectory:
        """Leapfrog steps as they come; one that ends at −inf is judged by its last point before."""
        end, momentum, last = leapfrog(state, z, metric, step_size, n, value_and_grad)
        along = last - (0.5 * jnp.sum(z**2) - state.lp)
        wall = (end.lp == -jnp.inf) & (jnp.abs(along) < SMALL_ENERGY_ERROR)
        error = jnp.where(wall, along, (state.lp - end.lp) + _gained(z, momentum))
        return Trajectory(end, momentum, error, wall, wall, jnp.bool_(True), jnp.bool_(True))

    def _at_walls(
        self, key: jax.Array, state: HMCState, z: jax.Array, metric: Any, step_size: Any, n: Any, value_and_grad: Any
    ) -> Trajectory:
        """Leapfrog steps that turn round at walls and jumps, and are reflected at ends."""
        level = 0.5 * jnp.sum(z**2) - state.lp - jnp.log(acceptance_uniform(key, state.position.dtype))
        end, momentum, walls = leapfrog_at_walls(state, z, metric, step_size, n, value_and_grad, level, self.ends)
        reversible = between(state.position, self.ends) == between(end.position, self.ends)
        error = (state.lp - end.lp) + _gained(z, momentum) - walls.jumps
        return Trajectory(end, momentum, error, walls.turns, walls.met, walls.inside, reversible)


def _gained(z: jax.Array, momentum: jax.Array) -> jax.Array:
    """The kinetic energy gained from momentum z on, without a difference of sums."""
    return 0.5 * jnp.sum((momentum - z) * (momentum + z))

"""Hamiltonian Monte Carlo with a leapfrog count that all chains share."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from mcmc.kernels.metric import as_metric
from mcmc.kernels.metropolis import accept, acceptance_uniform
from mcmc.kernels.reflection import between, reflected
from mcmc.random.draws import normal, uniform_open

MAX_ENERGY_ERROR, JUMP = 1000.0, 1.0
EASY_RATE, STRICT_RATE, POOR = 0.9, 0.97, 0.05
PLAIN, PLAIN_SHARE = 2, 0.125
QUARTER_TURN, LONG, HALVED = math.pi / 2, 2.2, 1 / 8


class HMCState(NamedTuple):
    """Where a chain is: position (dim,), log density and its gradient there."""

    position: jax.Array
    lp: jax.Array
    gradient: jax.Array


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


class Walls(NamedTuple):
    """What a trajectory met of walls and jumps of the log density.

    `met` counts the steps that were reflected or turned back, `turns` those that turned back; `inside` says that before
    −inf all did with an energy error below 1000; `jumps` is by how much the energy grew across the jumps passed.
    """

    met: jax.Array
    turns: jax.Array
    inside: jax.Array
    jumps: jax.Array


def leapfrog(
    state: HMCState,
    momentum: jax.Array,
    metric: Any,
    step_size: Any,
    num_steps: Any,
    value_and_grad: Any,
    level: Any = jnp.inf,
    ends: Any = None,
) -> tuple[HMCState, jax.Array, Walls]:
    """`num_steps` leapfrog steps, dy = F u dt, du = Fᵀ ∇log π dt, half steps of the momentum u between them joined.

    A step across a jump (`jump`) between two points of which one has an energy above `level` is not made: the
    momentum is turned round instead. So the map is reversible and keeps volume whatever the target, and from an
    energy of at most `level` never crosses to where the log density is −inf. A trajectory that begins between `ends`
    (2, dim) stays there: it is reflected (`reflected`).
    """
    folds = ends is not None and jnp.any(jnp.isfinite(ends))
    begins_between = ends is not None and between(state.position, ends)

    def one(_: Any, carry: tuple) -> tuple:
        state, old_momentum, kick, energy, walls = carry
        straight = state.position + step_size * metric.scale(old_momentum), old_momentum, jnp.bool_(False)
        position, momentum, met = straight
        if ends is not None:
            given = state.position, old_momentum, jnp.where(begins_between, step_size, 0.0)
            bent = jax.lax.cond(folds, partial(reflected, metric, ends), lambda *_: straight, *given)
            position, momentum, met = jax.tree.map(lambda a, b: jnp.where(begins_between, a, b), bent, straight)
        lp, gradient = value_and_grad(position)
        new_kick = step_size * metric.scale_gradient(gradient)
        new_energy = 0.5 * jnp.sum((momentum + 0.5 * new_kick) ** 2) - lp
        unexplained = jump(lp - state.lp, jnp.sum(kick * old_momentum), jnp.sum(new_kick * momentum))
        turns = (unexplained != 0) & ~(jnp.maximum(energy, new_energy) <= level)
        far = (lp == -jnp.inf) & (jnp.abs(energy - begun - walls.jumps) >= MAX_ENERGY_ERROR)
        walls = Walls(
            walls.met + (met | turns),
            walls.turns + turns,
            walls.inside & ~far,
            walls.jumps - jnp.where(turns, 0.0, unexplained),
        )
        made = HMCState(position, lp, gradient), momentum, new_kick, new_energy
        back = state, -old_momentum, kick, energy
        state, momentum, kick, energy = jax.tree.map(lambda a, b: jnp.where(turns, b, a), made, back)
        return state, momentum + kick, kick, energy, walls

    kick = step_size * metric.scale_gradient(state.gradient)
    none, begun = jnp.int32(0), 0.5 * jnp.sum(momentum**2) - state.lp
    walls = Walls(none, none, jnp.bool_(True), jnp.zeros_like(begun))
    carry = state, momentum + 0.5 * kick, kick, begun, walls
    end, momentum, kick, _, walls = jax.lax.fori_loop(0, num_steps, one, carry)
    return end, momentum - 0.5 * kick, walls


def jump(gained: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    """By how much more than gradients explain the log density grew in a step; 0 where they may explain it.

    Of a step Δ they explain g·Δ on average, g the gradient at its begin (`before` = g·Δ) and at its end (`after`). A
    log density that is concave along the step, or convex, differs from that by at most half of |g'·Δ − g·Δ|, however
    sharply it curves: one of that and more than 1 besides is a jump, seen alike from both sides. So is −inf.
    """
    unexplained = gained - 0.5 * (before + after)
    jumps = jnp.abs(unexplained) > JUMP + 0.5 * jnp.abs(after - before)
    return jnp.where(gained == -jnp.inf, -jnp.inf, jnp.where(jumps, unexplained, 0.0))


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
        target_acceptance: the acceptance rate that the step size is tuned to; None: 0.9, raised to 0.97 in warmup where
            more than 2 in 1000 proposals are accepted with probability below 0.05: there the target curves sharply in
            places, which many gradients avoid, and divergences would bias.
        length: the mean trajectory length in whitened units; None: π/2, which turns a normal target by a quarter, or
            2.2 where proposals are poor.
        max_steps: the most leapfrog steps in an iteration.
        ends: the lowest and the highest coordinates (2, dim), infinite where there is no end: trajectories that begin
            between them are reflected there, but in one iteration of eight, so that draws are right whatever they are.
            None: found in warmup with the metric, where the log density is −inf beyond.

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
        kinetic = 0.5 * jnp.sum(z**2)
        level = kinetic - state.lp - jnp.log(acceptance_uniform(key, dtype))
        value_and_grad = jax.value_and_grad(log_density)
        end, momentum, walls = leapfrog(state, z, metric, step_size, num_steps, value_and_grad, level, self.ends)
        end_kinetic = 0.5 * jnp.sum(momentum**2)
        end = end._replace(lp=jnp.where(jnp.isfinite(end_kinetic), end.lp, jnp.nan))
        gained = 0.5 * jnp.sum((momentum - z) * (momentum + z))  # of kinetic energy, without a difference of sums
        reversible = True
        if self.ends is not None:
            reversible = between(state.position, self.ends) == between(end.position, self.ends)
        outcome = accept(key, state.lp, jnp.where(reversible, end.lp, -jnp.inf), -gained)
        error = (state.lp - end.lp) + gained - walls.jumps
        new = jax.tree.map(lambda a, b: jnp.where(outcome.accepted, a, b), end, state)
        rate = jnp.where(walls.inside & ~jnp.isnan(error), jnp.exp(jnp.minimum(-error, 0.0)), 0.0)
        free, unmet = 1 - walls.turns / num_steps, 1 - walls.met / num_steps
        energy = jnp.where(outcome.accepted, end_kinetic, kinetic) - new.lp
        return new, HMCInfo(
            acceptance_rate=outcome.acceptance_rate,
            accepted=outcome.accepted,
            nonfinite=outcome.nonfinite,
            diverging=(~(error < MAX_ENERGY_ERROR) & ~(end.lp == jnp.inf)) | ~walls.inside,
            energy=energy,
            n_steps=jnp.asarray(num_steps, jnp.int32),
            step_size=step_size,
            rates=jnp.stack([rate, rate < POOR, free, unmet]).astype(dtype),
        )

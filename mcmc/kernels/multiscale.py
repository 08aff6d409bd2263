"""Trajectories of unit speed whose step size is drawn at each start from the gradient there: varying scales."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from mcmc.kernels.hmc import HMCState
from mcmc.kernels.metric import Metric, as_metric
from mcmc.kernels.metropolis import accept
from mcmc.random.draws import normal, uniform_open
from mcmc.words import kernel_words

SPREAD = 2  # the stream of the step size's noise; 0 is the direction's, 1 the accept step's
LONGEST_TO_SHORTEST = 16.0
MAX_TURN = 5.0


class MultiscaleInfo(NamedTuple):
    """What one transition did; `step_size` is the step that was drawn where it began."""

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    n_steps: jax.Array
    step_size: jax.Array


class Point(NamedTuple):
    """A point of a trajectory: the state, an extra standard normal coordinate, the whitened gradient of both."""

    state: HMCState
    extra: jax.Array
    force: jax.Array

    @property
    def lp(self) -> jax.Array:
        """The log density of the state and the extra coordinate together."""
        return self.state.lp - 0.5 * self.extra**2

    @property
    def log_scale(self) -> jax.Array:
        """Log g, g = 1/√(1 + |∇|²/d): the length over which the log density changes, at most that of the metric."""
        return -0.5 * jnp.log1p(jnp.sum(self.force**2) / self.force.shape[-1])


def at(state: HMCState, extra: jax.Array, metric: Metric) -> Point:
    """The point of a trajectory at a state."""
    return Point(state, extra, jnp.append(metric.scale_gradient(state.gradient), -extra))


def turn(direction: jax.Array, force: jax.Array, duration: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Turn a direction of d + 1 coordinates towards the force, exactly; and the log of the volume's contraction.

    With e = force/|force|, c = u·e and δ = duration |force|/d: u' ∝ u + e (sinh δ + c (cosh δ − 1)), and
    d log(cosh δ + c sinh δ). δ is at most `MAX_TURN`, and 0 where the force is no finite vector: both depend on
    the place and the step size alone, so the turn back is the same.
    """
    dim = force.shape[-1] - 1
    size = jnp.linalg.norm(force)
    good = jnp.isfinite(size) & (size > 0)
    towards = jnp.where(good, force / jnp.where(good, size, 1.0), 0.0)
    delta = jnp.where(good, jnp.minimum(duration * size / dim, MAX_TURN), 0.0)
    along, small = direction @ towards, jnp.exp(-delta)
    cosh, sinh = 0.5 * (1 + small**2), 0.5 * (1 - small**2)  # times exp(−δ), as are the next two
    length = 0.5 * ((1 + along) + (1 - along) * small**2)  # cosh + along sinh, where they nearly cancel too
    turned = small * direction + (sinh + along * (cosh - small)) * towards
    return turned / jnp.linalg.norm(turned), dim * (jnp.log(length) + delta)


def trajectory(
    point: Point, direction: jax.Array, metric: Metric, step_size: Any, num_steps: Any, value_and_grad: Any
) -> tuple[Point, jax.Array, jax.Array]:
    """`num_steps` steps at unit speed: the end, the direction there, the log of the contraction on the way."""

    def one(_: Any, carry: tuple) -> tuple:
        point, direction, contraction = carry
        direction, first = turn(direction, point.force, 0.5 * step_size)
        position = point.state.position + step_size * metric.scale(direction[:-1])
        state = HMCState(position, *value_and_grad(position))
        point = at(state, point.extra + step_size * direction[-1], metric)
        direction, second = turn(direction, point.force, 0.5 * step_size)
        return point, direction, contraction + first + second

    return jax.lax.fori_loop(0, num_steps, one, (point, direction, jnp.zeros_like(point.extra)))


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Multiscale:
    r"""For targets whose scale changes from place to place (a funnel): unit speed, a step size drawn locally.

    A chain at y draws a direction u, uniform on the sphere, and a step size
    h = ε √d g(y) exp(s z), g(y) = 1/√(1 + |∇ log π(y)|²/d), z standard normal, and follows
    y' = u, u' = (I − u uᵀ) ∇ log π(y)/(d − 1) for n steps of h. No kinetic energy limits how far log π may change on
    the way, and steps are as short as the gradient asks. The end y* is accepted with probability
    min(1, π(y*)/π(y) · exp(−contraction) · q(h | y*)/q(h | y)), q(h | y) the density of h: exactly invariant,
    whatever the scale. n is drawn log-uniformly from [max_steps/16, max_steps], for all chains alike, so that no
    chain waits for another. Inside, an extra standard normal coordinate (d = dim + 1) makes it work in one dimension.

    Too long a step is rejected like any other, and a shorter one is drawn there later: a large error of the
    integrator does not mean that a part of the target is left out, and nothing is reported as `diverging`; nor is
    there an `energy`.

    Args:
        step_size: ε; None: tuned in warmup to `target_acceptance`.
        metric: an estimate of the target's covariance (number, vector or matrix). A covariance over places of
            different scales fits none of them, so that the default is 1, no metric; None: tuned in warmup from all
            chains together, for parameters whose scales differ by orders of magnitude everywhere.
        num_steps: a fixed number of steps; None: drawn from `max_steps`.
        target_acceptance: the acceptance rate that the step size is tuned to.
        spread: s, how widely step sizes are drawn: with 0.7 two thirds lie within a factor 2.
        max_steps: the most steps in an iteration; more for long curved ridges, fewer for what is nearly normal.

    Source: Robnik, De Luca, Silverstein & Seljak 2023 and Robnik, Cohn-Gordon & Seljak 2025 (unit speed, adjusted);
    Bou-Rabee, Carpenter & Marsden 2024 (a step size drawn at the place, accepted with its density).

    Example:
        >>> import mcmc
        >>> kernel = mcmc.Multiscale(max_steps=64)
    """

    step_size: Any = None
    metric: Any = 1.0
    num_steps: Any = None
    target_acceptance: Any = 0.7
    spread: Any = 0.7
    max_steps: Any = 256
    needs_gradient: ClassVar[bool] = True
    takes_discrete: ClassVar[bool] = False

    def target_rate(self, dim: int) -> float:
        """The acceptance rate that warmup tunes to."""
        return self.target_acceptance

    def default_step_size(self, dim: int) -> float:
        """A first guess, in the metric's standard deviations a coordinate."""
        return 0.5 / dim**0.25

    def each_draw(self, key: jax.Array) -> Multiscale:
        """The kernel of one iteration, the same for all chains: the number of steps is drawn."""
        if self.num_steps is not None:
            return self
        wanted = self.max_steps * LONGEST_TO_SHORTEST ** (uniform_open(key, (), jnp.float32) - 1.0)
        return dataclasses.replace(self, num_steps=jnp.ceil(wanted).astype(jnp.int32))

    def init(self, position: jax.Array, log_density: Any) -> HMCState:
        """The state of a chain that starts at `position`."""
        return HMCState(position, *jax.value_and_grad(log_density)(position))

    def step(self, key: jax.Array, state: HMCState, log_density: Any) -> tuple[HMCState, MultiscaleInfo]:
        """One transition of one chain."""
        dtype, dim = state.position.dtype, state.position.shape[-1]
        metric = as_metric(self.metric, state.position)
        step_size = self.default_step_size(dim) if self.step_size is None else self.step_size
        num_steps = self.num_steps
        if num_steps is None:
            num_steps = jnp.ceil(self.max_steps / LONGEST_TO_SHORTEST**0.5).astype(jnp.int32)
        drawn = normal(key, (dim + 2,), dtype)
        noise = normal(key, (), dtype, stream=SPREAD)
        start = at(state, drawn[-1], metric)
        log_step = start.log_scale + self.spread * noise
        h = jnp.asarray(step_size * (dim + 1) ** 0.5 * jnp.exp(log_step), dtype)
        direction = drawn[:-1] / jnp.linalg.norm(drawn[:-1])
        end, _, contraction = trajectory(start, direction, metric, h, num_steps, jax.value_and_grad(log_density))
        further = (start.log_scale - end.log_scale) / self.spread  # the noise back less the noise there
        outcome = accept(key, start.lp, end.lp, -further * (noise + 0.5 * further) - contraction)
        new = jax.tree.map(lambda a, b: jnp.where(outcome.accepted, a, b), end.state, state)
        return new, MultiscaleInfo(
            acceptance_rate=outcome.acceptance_rate,
            accepted=outcome.accepted,
            nonfinite=outcome.nonfinite,
            n_steps=jnp.asarray(num_steps, jnp.int32),
            step_size=h,
        )

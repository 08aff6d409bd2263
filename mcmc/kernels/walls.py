"""Leapfrog trajectories that turn round at jumps of the log density, and are reflected where coordinates end."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mcmc.kernels.reflection import between, reflected

MAX_ENERGY_ERROR, JUMP = 1000.0, 1.0


class Walls(NamedTuple):
    """What a trajectory met of walls and jumps of the log density.

    `met` counts the steps that were reflected or turned back, `turns` those that turned back; `inside` says that before
    −inf all did with an energy error below 1000; `jumps` is by how much the energy grew across the jumps passed.
    """

    met: jax.Array
    turns: jax.Array
    inside: jax.Array
    jumps: jax.Array


def leapfrog_at_walls(
    state: Any,
    momentum: jax.Array,
    metric: Any,
    step_size: Any,
    num_steps: Any,
    value_and_grad: Any,
    level: Any,
    ends: jax.Array,
) -> tuple[Any, jax.Array, Walls]:
    """`num_steps` leapfrog steps, dy = F u dt, du = Fᵀ ∇log π dt, half steps of the momentum u between them joined.

    A step across a jump (`jump`) between two points of which one has an energy above `level` is not made: the
    momentum is turned round instead. So the map is reversible and keeps volume whatever the target, and from an
    energy of at most `level` never crosses to where the log density is −inf. A trajectory that begins between `ends`
    (2, dim) stays there: it is reflected (`reflected`).
    """
    folds, begins_between = jnp.any(jnp.isfinite(ends)), between(state.position, ends)

    def one(_: Any, carry: tuple) -> tuple:
        state, old_momentum, kick, energy, walls = carry
        straight = state.position + step_size * metric.scale(old_momentum), old_momentum, jnp.bool_(False)
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
        made = type(state)(position, lp, gradient), momentum, new_kick, new_energy
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

"""Straight lines that are reflected where coordinates end, as a ball is by the sides of a table."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

MOST_REFLECTIONS = 64


def between(position: jax.Array, ends: jax.Array) -> jax.Array:
    """Whether a position (dim,) lies between these ends (2, dim)."""
    return jnp.all((position > ends[0]) & (position < ends[1]))


def reflected(
    metric: Any, ends: jax.Array, position: jax.Array, momentum: jax.Array, duration: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where dy = F u dt comes to in this time, the momentum there, and whether it met an end.

    At an end of coordinate i, u becomes u − 2 (n·u) n, n = Fᵀ eᵢ/|Fᵀ eᵢ|: |u| stays, and the i-th component of F u
    changes its sign. Reversible, and keeps volume. After 64 reflections it goes straight on.
    """
    ends = jnp.asarray(ends)

    def first(position: jax.Array, velocity: jax.Array) -> tuple[jax.Array, jax.Array]:
        wall = jnp.where(velocity < 0, ends[0], ends[1])
        time = jnp.where(velocity == 0, jnp.inf, (wall - position) / velocity)
        at = jnp.argmin(time)
        return at, jnp.maximum(time[at], 0.0)

    def reflect(carry: tuple) -> tuple:
        position, momentum, velocity, left, count, at, time = carry
        wall = jnp.where(velocity[at] < 0, ends[0, at], ends[1, at])
        position = jnp.where(jnp.arange(position.shape[-1]) == at, wall, position + time * velocity)
        row = metric.row(at, momentum)
        momentum = momentum - (2 * velocity[at] / jnp.sum(row**2)) * row
        velocity = metric.scale(momentum)
        return position, momentum, velocity, left - time, count + 1, *first(position, velocity)

    def meets(carry: tuple) -> jax.Array:
        *_, left, count, _, time = carry
        return (time < left) & (count < MOST_REFLECTIONS)

    velocity = metric.scale(momentum)
    begin = position, momentum, velocity, duration, jnp.int32(0), *first(position, velocity)
    position, momentum, velocity, left, count, *_ = jax.lax.while_loop(meets, reflect, begin)
    return position + left * velocity, momentum, count > 0

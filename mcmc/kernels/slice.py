"""Slice sampling along random directions: an interval is stepped out and shrunk, and no step size is tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from mcmc.kernels.metric import as_metric
from mcmc.kernels.metropolis import ChainState, acceptance_uniform
from mcmc.random.draws import symmetric_normal, uniform_open
from mcmc.words import kernel_words

PLACE, SHARE, SHRINK = 2, 3, 4
MOST_SHRINKS = 64


class SliceInfo(NamedTuple):
    """What one transition did; `n_steps` counts evaluations of the log density."""

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    n_steps: jax.Array


class Shrinking(NamedTuple):
    """An interval (low, high) that shrinks towards 0: the place tried last and the log density there."""

    low: jax.Array
    high: jax.Array
    place: jax.Array
    lp: jax.Array
    count: jax.Array
    nonfinite: jax.Array


def shrink(uniforms: jax.Array, low: Any, high: Any, level: jax.Array, log_density: Any) -> Shrinking:
    """Places drawn uniformly from an interval around 0 that shrinks to each that is below the level, until one is not.

    `log_density` is that along the interval. After as many places as there are uniforms the last stands, below or not.
    """

    def take(state: Shrinking) -> Shrinking:
        u = uniforms[jnp.minimum(state.count, len(uniforms) - 1)]
        place = state.low + u * (state.high - state.low)
        lp = log_density(place)
        low, high = jnp.where(place < 0, place, state.low), jnp.where(place < 0, state.high, place)
        return Shrinking(low, high, place, lp, state.count + 1, state.nonfinite | jnp.isnan(lp))

    nothing = jnp.zeros_like(level)
    start = Shrinking(nothing + low, nothing + high, nothing, nothing - jnp.inf, jnp.int32(0), jnp.bool_(False))
    return jax.lax.while_loop(lambda s: ~(s.lp > level) & (s.count < len(uniforms)), take, start)


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Slice:
    r"""Slice sampling along a random direction: y' = y + t F n, t uniform where log π(y + t F n) > log π(y) + log U.

    n is standard normal and F Fᵀ the metric. An interval of `width` is placed at random around t = 0 and stepped out,
    at most `max_expansions` times, until both ends lie below the level; then t is drawn from it, and the interval
    shrinks to each place that lies below. No gradient is needed and no step size is tuned: a width that is off costs
    evaluations, not draws. The target is exactly invariant.

    Args:
        width: of the interval, in the metric's standard deviations.
        metric: an estimate of the target's covariance (number, vector or matrix); None: tuned in warmup from all
            chains together.
        max_expansions: how often the interval may be stepped out, both sides together.

    Source: Neal 2003, sections 4 and 5.

    Example:
        >>> import mcmc
        >>> kernel = mcmc.Slice(width=2.0)
    """

    width: Any = 2.5
    metric: Any = None
    max_expansions: Any = 16
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = False

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of a chain that starts at `position`."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, SliceInfo]:
        """One transition of one chain."""
        dtype = state.position.dtype
        direction = as_metric(self.metric, state.position).scale(symmetric_normal(key, state.position.shape, dtype))

        def along(t: jax.Array) -> jax.Array:
            return log_density(state.position + t * direction)

        level = state.lp + jnp.log(acceptance_uniform(key, dtype))
        width = jnp.asarray(self.width, dtype)
        low = -width * uniform_open(key, (), dtype, stream=PLACE)
        left = jnp.floor(self.max_expansions * uniform_open(key, (), dtype, stream=SHARE)).astype(jnp.int32)
        high, above = stepped_out(low + width, width, self.max_expansions - 1 - left, level, along)
        low, below = stepped_out(low, -width, left, level, along)
        made = shrink(uniform_open(key, (MOST_SHRINKS,), dtype, stream=SHRINK), low, high, level, along)
        moved = made.lp > level
        position = jnp.where(moved, state.position + made.place * direction, state.position)
        info = SliceInfo(moved.astype(dtype), moved, made.nonfinite, above + below + made.count)
        return ChainState(position, jnp.where(moved, made.lp, state.lp)), info


def stepped_out(
    end: jax.Array, step: jax.Array, most: jax.Array, level: jax.Array, log_density: Any
) -> tuple[jax.Array, jax.Array]:
    """An end of the interval moved by steps, at most so many, until it lies below the level; and the evaluations."""

    def out(carry: tuple) -> tuple:
        end, _, count = carry
        return end + step, log_density(end + step), count + 1

    start = end, log_density(end), jnp.int32(1)
    end, _, count = jax.lax.while_loop(lambda c: (c[1] > level) & (c[2] <= most), out, start)
    return end, count

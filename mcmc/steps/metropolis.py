"""The steps of Metropolis–Hastings: proposal, ratio, uniform, decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.errors import WrongType, WrongValue
from mcmc.steps.counting import check_count

GRID, PLANE = 400, 80


class MetropolisSteps(NamedTuple):
    """Transitions of one chain in order, as NumPy arrays: from `position[k]` to `position[k + 1]`.

    Attributes:
        position: (n + 1, ...) where the chain was, the start first.
        proposal: (n, ...) x' ~ q(· | x).
        log_density: (n + 1,) log π at the positions, unnormalised.
        proposal_log_density: (n,) log π(x').
        log_ratio: (n,) log of π(x') q(x | x') / (π(x) q(x' | x)).
        ratio: (n,) min(1, that ratio): the probability to accept.
        uniform: (n,) u, of (0, 1).
        accepted: (n,) u < ratio.
        grid: (m,) points for a curve in one dimension, (2, m) coordinates for a plane in two; else none.
        grid_log_density: log π there; in two dimensions (second coordinate, first coordinate).
    """

    position: np.ndarray
    proposal: np.ndarray
    log_density: np.ndarray
    proposal_log_density: np.ndarray
    log_ratio: np.ndarray
    ratio: np.ndarray
    uniform: np.ndarray
    accepted: np.ndarray
    grid: np.ndarray
    grid_log_density: np.ndarray


def metropolis_steps(
    kernel: Any, key: jax.Array, log_density: Callable[[jax.Array], jax.Array], start: Any, n: int
) -> MetropolisSteps:
    """The first n transitions of a chain of this kernel from `start`; transition k uses the key folded in with k."""
    check_count(n)
    if not callable(log_density):
        raise WrongType("log_density", log_density, "a function of x", "Give log π(x), in jax.numpy.")
    first = jnp.asarray(start, jnp.result_type(float))
    if first.ndim > 1:
        raise WrongValue("start", f"shape {first.shape}", "a number or a vector (dim,)", "Start one chain.")

    def of_row(x: jax.Array) -> jax.Array:
        value = jnp.asarray(log_density(x.reshape(first.shape)))
        if value.shape:
            remedy = "Sum over the components of x."
            raise WrongValue("log_density", f"shape {value.shape}", "a number", remedy)
        return value

    def step(state: Any, i: jax.Array) -> tuple:
        new, made = kernel.watched(jax.random.fold_in(key, i), state, of_row, first.shape)
        return new, (*made, new)

    begin = kernel.init(first.reshape(-1), of_row)
    if not np.isfinite(begin.lp):
        expected = "a point where the log density is finite"
        raise WrongValue("start", f"{start!r}, where it is {float(begin.lp)}", expected, "Move it.")
    made = jax.device_get(jax.jit(lambda: lax.scan(step, begin, jnp.arange(n)))()[1])
    to, lp, log_ratio, ratio, u, accepted, new = made
    position = np.concatenate([np.asarray(begin.position)[None], new.position]).reshape(-1, *first.shape)
    to = to.reshape(-1, *first.shape)
    values = np.append(np.asarray(begin.lp), new.lp), lp, log_ratio, ratio, u, accepted
    return MetropolisSteps(position, to, *values, *_curves(of_row, np.concatenate([position, to])))


def _curves(log_density: Callable, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log densities around where the chain was and what it proposed, in one dimension or two."""
    seen = seen.reshape(len(seen), -1)
    if seen.shape[1] > 2:
        return np.zeros(0), np.zeros(0)
    low, high = seen.min(0), seen.max(0)
    room = 0.1 * (high - low) + 1e-3 * np.abs(low)
    axes = np.linspace(low - room, high + room, GRID if seen.shape[1] == 1 else PLANE, axis=1)
    points = np.stack(np.meshgrid(*axes), -1)
    flat = jnp.asarray(points.reshape(-1, seen.shape[1]), jnp.result_type(float))
    values = np.asarray(jax.jit(jax.vmap(log_density))(flat)).reshape(points.shape[:-1])
    return (axes[0] if len(axes) == 1 else axes), values

"""The truncated distribution of categorical rows, compiled: draws from it, and functions of its kept tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.direct.categorical import filters, tree
from mcmc.direct.categorical.arguments import Given, Rows, by_row, given
from mcmc.random.draws import bits


@partial(jax.jit, static_argnames=("order", "lead", "batch"))
def draw_rows(key: Any, rows: Rows, order: str | tuple, lead: tuple, batch: tuple) -> jax.Array:
    """Indices of shape lead + batch; -1 for invalid rows."""
    rows = jax.tree.map(lax.stop_gradient, rows)
    uniforms = uniform_52(key, lead, batch, 2)

    def draw(row: tuple, fixed: bool) -> jax.Array:
        (x, temperature, limits), (u, v) = row
        found = filters.truncated(x, temperature, limits, order, fixed)
        index = tree.descend(tree.levels(found.weights, dtype=jnp.float64), u, v)
        return jnp.where(found.valid, index, -1)

    return by_row(draw, (rows, uniforms), rows.x.shape[-1]).T.reshape(lead + batch)


def uniform_52(key: jax.Array, lead: tuple, batch: tuple, count: int = 1) -> jax.Array:
    """Uniforms (B, count, draws) in (0, 1) in float64, midpoints of a grid of 2⁻⁵².

    Row by row where there is a key a row. Made of 32-bit words: words of 64 bits can't be compiled in a caller's
    program where 64-bit types are off.
    """
    rows, draws = math.prod(batch), math.prod(lead)
    if key.shape == batch:
        words = jax.vmap(lambda k: bits(k, 32, (count, 2, draws)))(key.reshape(-1))
    else:
        words = jnp.moveaxis(bits(key, 32, (count, 2, draws, rows)), -1, 0)
    high, low = jnp.moveaxis((words >> np.uint32(6)).astype(jnp.int32).astype(jnp.float64), 2, 0)
    return (high * 2.0**26 + low + 0.5) * 2.0**-52


@jax.jit
def first_greatest(x: jax.Array) -> jax.Array:
    """The first index of the maximum of each row; -1 for invalid rows."""
    top = tree.maximum(lax.stop_gradient(x))
    return jnp.where(top > -jnp.inf, filters.first_of(x, top[:, None]), -1)


def of_distribution(logits: Any, truncation: Any, function: Callable) -> tuple[Given, jax.Array]:
    """`function(x, keep, valid, temperature)` of the rows; an error where one is invalid and nothing is traced."""
    call = given(logits, **truncation)
    with jax.enable_x64(True):
        keep, valid = _kept(call.rows, call.order)
        out = _evaluate(call.rows.x, keep, valid, call.rows.temperature, function)
    call.refuse(valid)
    return call, out


@partial(jax.jit, static_argnames=("order",))
def _kept(rows: Rows, order: str | tuple) -> tuple[jax.Array, jax.Array]:
    """Which tokens are kept (B, n), and which rows are valid (B,): one program for all functions of them."""

    def kept(row: Rows, fixed: bool) -> tuple:
        found = filters.truncated(*row, order, fixed)
        return found.keep, found.valid

    return by_row(kept, jax.tree.map(lax.stop_gradient, rows), rows.x.shape[-1])


@partial(jax.jit, static_argnames=("function",))
def _evaluate(x: jax.Array, keep: jax.Array, valid: jax.Array, temperature: Any, function: Callable) -> jax.Array:
    return function(x, keep, valid[:, None], None if temperature is None else temperature[:, None])


# --- functions of the kept tokens: logits and what is kept (B, n), valid (B, 1), temperature (B, 1) or None ---


def scaled(x: jax.Array, keep: jax.Array, temperature: Any) -> jax.Array:
    """(x - max) / temperature where kept, else 0: differentiable everywhere."""
    inside = keep & jnp.isfinite(x)
    top = tree.maximum(lax.stop_gradient(jnp.where(inside, x, -jnp.inf)))[:, None]
    gap = jnp.where(inside, jnp.where(inside, x, 0) - jnp.where(jnp.isfinite(top), top, 0), 0)
    gap = jnp.maximum(gap, jnp.finfo(x.dtype).min)
    return gap if temperature is None else gap / filters.safe_temperature(temperature)


def log_probs(x: jax.Array, keep: jax.Array, valid: jax.Array, temperature: Any) -> jax.Array:
    """Log probabilities (B, n)."""
    s = scaled(x, keep, temperature)
    log_z = jnp.log(tree.total(jnp.where(keep, jnp.exp(s), 0)))[:, None]
    return jnp.where(valid, jnp.where(keep, s - log_z, -jnp.inf), jnp.nan)


def probabilities(x: jax.Array, keep: jax.Array, valid: jax.Array, temperature: Any) -> jax.Array:
    """Probabilities (B, n)."""
    log_p = jnp.where(keep & valid, log_probs(x, keep, valid, temperature), 0)
    return jnp.where(valid, jnp.where(keep, jnp.exp(log_p), 0), jnp.nan)


def entropies(x: jax.Array, keep: jax.Array, valid: jax.Array, temperature: Any) -> jax.Array:
    """The entropy (B,)."""
    log_p = jnp.where(keep & valid, log_probs(x, keep, valid, temperature), 0)
    return jnp.where(valid[:, 0], 0 - tree.total(jnp.where(keep, jnp.exp(log_p) * log_p, 0)), jnp.nan)


def cut_logits(x: jax.Array, keep: jax.Array, valid: jax.Array, temperature: Any) -> jax.Array:
    """The logits over the temperature, -inf where cut off (B, n)."""
    value = x
    if temperature is not None:
        inside = jnp.isfinite(x)
        divided = jnp.where(inside & keep, x, 0) / filters.safe_temperature(temperature)
        fits = jnp.all(jnp.isfinite(divided), axis=-1, keepdims=True)
        value = jnp.where(inside, jnp.where(fits, divided, scaled(x, keep, temperature)), x)
    return jnp.where(valid, jnp.where(keep, value, -jnp.inf), jnp.nan)

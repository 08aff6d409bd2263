"""Ordered draws of a categorical distribution without replacement, by the Gumbel-top-k trick."""

from __future__ import annotations

from functools import partial
from typing import Literal, Unpack, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike

from mcmc.direct.categorical import filters, tree
from mcmc.direct.categorical.arguments import Rows, Truncation, by_row, given, keys_of, of_tracers
from mcmc.direct.categorical.distribution import scaled, uniform_52
from mcmc.direct.reparam.implicit import discrete
from mcmc.errors import WrongValue


@overload
def sample_without_replacement(
    key: jax.Array,
    logits: ArrayLike,
    n: int,
    *,
    return_log_prob: Literal[False] = False,
    **truncation: Unpack[Truncation],
) -> jax.Array: ...
@overload
def sample_without_replacement(
    key: jax.Array, logits: ArrayLike, n: int, *, return_log_prob: Literal[True], **truncation: Unpack[Truncation]
) -> tuple[jax.Array, jax.Array]: ...
def sample_without_replacement(
    key: jax.Array, logits: ArrayLike, n: int, *, return_log_prob: bool = False, **truncation: Unpack[Truncation]
) -> jax.Array | tuple[jax.Array, jax.Array]:
    r"""Draw n different tokens in order: P(i_1, ..., i_n) = prod over j of p_(i_j) / (1 - p_(i_1) - ... - p_(i_(j-1))).

    The n greatest of s_i + g_i, with s the logits over the temperature where kept and g standard Gumbel noise of 52
    random bits. The log probability is of the ordered sequence, and is differentiable in logits and temperature.

    Args:
        key: one key, or one a row.
        logits: unnormalised log probabilities, tokens along `axis`.
        n: how many; not more than a row keeps.
        return_log_prob: whether to return the log probability of the sequence too.
        truncation: temperature, filters, order and axis, as in `sample`.

    Returns:
        int32 indices (..., n), or a pair with log probabilities (...). Under jit, places for which no token is left
        are -1, as are invalid rows, and their log probability is NaN.

    Raises:
        ValueError: an invalid row or argument, or a row that keeps fewer than n tokens.
        TypeError: without the log probability, a gradient in the logits or another parameter, see `reparam.discrete`.

    Source: Kool, van Hoof & Welling 2019, Stochastic beams and where to find them.

    Example:
        >>> import jax
        >>> from mcmc.direct import categorical
        >>> order = categorical.sample_without_replacement(jax.random.key(0), [0.0, 1.0, 2.0], 3)
        >>> sorted(order.tolist())
        [0, 1, 2]
    """
    call = given(logits, **truncation)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= call.size:
        remedy = "Draw with replacement by sample(), or ask for fewer."
        raise WrongValue("n", n, f"an integer from 1 to the number of tokens, {call.size}", remedy)
    with jax.enable_x64(True):
        index, log_p, valid = _sequence(keys_of(key, call.batch), call.rows, call.order, int(n), call.batch)
    call.refuse(valid)
    call.refuse(jnp.all(index >= 0, axis=-1), f"fewer than n = {n} tokens that are kept")
    index = index.reshape(*call.batch, n)
    if return_log_prob:
        return index, log_p.reshape(call.batch)
    return discrete(index, *of_tracers(logits, truncation))


@partial(jax.jit, static_argnames=("order", "n", "batch"))
def _sequence(key: jax.Array, rows: Rows, order: str | tuple, n: int, batch: tuple) -> tuple:
    size = rows.x.shape[-1]

    def kept(row: Rows, fixed: bool) -> tuple:
        found = filters.truncated(*row, order, fixed)
        return found.keep, found.valid

    keep, valid = by_row(kept, jax.tree.map(lax.stop_gradient, rows), size)
    t = None if rows.temperature is None else rows.temperature[:, None]
    s = scaled(rows.x, keep, t)
    noisy = jnp.where(keep, lax.stop_gradient(s) - jnp.log(exponentials(key, batch, size)), -jnp.inf)
    value, index = lax.top_k(noisy, n)
    there = (value > -jnp.inf) & valid[:, None]
    complete = jnp.all(there, axis=-1)
    log_p = _log_prob_in_order(jnp.where(keep, s, -jnp.inf), index, complete)
    return jnp.where(there, index, -1).astype(jnp.int32), log_p, valid


def exponentials(key: jax.Array, batch: tuple, size: int) -> jax.Array:
    """Standard exponentials (B, size) in float64, small ones with full relative precision."""
    return -jnp.log1p(-uniform_52(key, (size,), batch)[:, 0])


def _log_prob_in_order(s: jax.Array, index: jax.Array, complete: jax.Array) -> jax.Array:
    """The sum of s_(i_j) minus the log of all weight that was left then, which is added up from its end."""
    index = jnp.where(complete[:, None], index, 0)
    chosen = jnp.take_along_axis(s, index, axis=-1)
    chosen = jnp.where(complete[:, None], chosen, 0)
    others = s.at[jnp.arange(len(s))[:, None], index].set(-jnp.inf)
    top = tree.maximum(lax.stop_gradient(others))
    top = jnp.where(jnp.isfinite(top), top, 0)[:, None]
    weights = jnp.where(others > -jnp.inf, jnp.exp(jnp.where(others > -jnp.inf, others - top, 0)), 0)
    mass = tree.total(weights)
    rest = jnp.where(mass > 0, jnp.log(jnp.where(mass > 0, mass, 1)) + top[:, 0], jnp.finfo(s.dtype).min)
    ends = jnp.concatenate([rest[:, None], chosen[:, ::-1]], axis=-1)
    left = lax.cumlogsumexp(ends, axis=1)[:, :0:-1]
    return jnp.where(complete, jnp.sum(chosen - left, axis=-1), jnp.nan)

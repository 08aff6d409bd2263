"""Speculative decoding: tokens that a small model drafted, accepted so that what comes out is the large model's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mcmc.direct.categorical.arguments import keys_of, traced
from mcmc.direct.categorical.distribution import uniform_52
from mcmc.direct.categorical.sampling import sample
from mcmc.errors import WrongType, WrongValue


def accept_drafts(
    key: jax.Array, drafts: ArrayLike, draft_probs: ArrayLike, target_probs: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    r"""Accept drafted tokens in turn, and draw one more: together they have exactly the target's law.

    .. math:: P(\text{accept } d) = \min(1, p(d) / q(d)); \quad \text{at the first that is not, draw from }
        \max(p - q, 0) / \sum \max(p - q, 0); \text{ after the last draft from } p

    This is rejection sampling whose rejected part is drawn again, so one token at least comes of each call. The
    filters and temperatures of the two models may be any: pass what `probs` gives with them, the one that `drafts` were
    drawn with and the one that is wanted.

    Args:
        key: one key, or an array of keys of the batch's shape.
        drafts: (..., n) tokens, drawn in turn from `draft_probs`.
        draft_probs: (..., n, tokens), q: what each draft was drawn from.
        target_probs: (..., n + 1, tokens), p: what is wanted at each place, given the drafts before, and after them.

    Returns:
        Tokens (..., n + 1), int32: the accepted drafts, the one drawn, then -1; and how many drafts were accepted
        (...,), int32. Rows with NaN are -1 and 0 under jit.

    Raises:
        ValueError, TypeError: shapes that do not fit, drafts that are no tokens, probabilities that are negative, NaN
            or nowhere positive.

    Source: Leviathan, Kalman & Matias 2023, Fast inference from transformers via speculative decoding; Chen et al.
    2023, Accelerating large language model decoding with speculative sampling.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc.direct import categorical
        >>> q, p = jnp.array([[0.5, 0.5]]), jnp.array([[0.5, 0.5], [0.0, 1.0]])
        >>> tokens, accepted = categorical.accept_drafts(jax.random.key(0), jnp.array([1]), q, p)
        >>> tokens.tolist(), int(accepted)
        ([1, 1], 1)
    """
    drafts, q, p = _checked(drafts, draft_probs, target_probs)
    batch, n = drafts.shape[:-1], drafts.shape[-1]
    key = keys_of(key, batch)
    with jax.enable_x64(True):
        u = uniform_52(key, (n,), batch).reshape(*batch, n)
        wide_p, wide_q = (x.astype(jnp.float64) for x in (p, q))
        wide_p, wide_q = (x / jnp.sum(x, -1, keepdims=True) for x in (wide_p, wide_q))
        at = jnp.clip(drafts, 0, p.shape[-1] - 1)[..., None]
        p_d, q_d = (jnp.take_along_axis(x, at, -1)[..., 0] for x in (wide_p[..., :n, :], wide_q))
        accepted = jnp.sum(jnp.cumprod((u * q_d < p_d).astype(jnp.int32), -1, dtype=jnp.int32), -1, dtype=jnp.int32)
        none = jnp.zeros((*batch, 1, p.shape[-1]))  # nothing to take off after the last draft
        whole_q = jnp.concatenate([wide_q, none], -2)
        row_p, row_q = (jnp.take_along_axis(x, accepted[..., None, None], -2)[..., 0, :] for x in (wide_p, whole_q))
        rest = jnp.maximum(row_p - row_q, 0.0)
        rest = jnp.where(jnp.sum(rest, -1, keepdims=True) > 0, rest, row_p)
        logits = jnp.log(rest)
        last = sample(jax.random.fold_in(key, 1) if not key.shape else _folded(key), logits)
    place = jnp.arange(n + 1, dtype=jnp.int32)
    padded = jnp.concatenate([drafts, jnp.full((*batch, 1), -1, jnp.int32)], -1)
    tokens = jnp.where(place == accepted[..., None], last[..., None], padded)
    return jnp.where(place <= accepted[..., None], tokens, -1).astype(jnp.int32), accepted


def _folded(keys: jax.Array) -> jax.Array:
    return jax.vmap(lambda k: jax.random.fold_in(k, 1))(keys.reshape(-1)).reshape(keys.shape)


def _checked(drafts: Any, draft_probs: Any, target_probs: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    drafts, q, p = jnp.asarray(drafts), jnp.asarray(draft_probs), jnp.asarray(target_probs)
    if not jnp.issubdtype(drafts.dtype, jnp.integer) or drafts.ndim < 1:
        remedy = "Pass the drafted tokens, (..., n)."
        raise WrongType("drafts", f"dtype {drafts.dtype}, shape {drafts.shape}", "integers (..., n)", remedy)
    size = p.shape[-1] if p.ndim else 0
    for name, x, more in (("draft_probs", q, 0), ("target_probs", p, 1)):
        shape = (*drafts.shape[:-1], drafts.shape[-1] + more, size)
        if x.shape != shape or not size:
            expected = f"{(*shape[:-1], 'tokens')}, with as many tokens in both"
            raise WrongValue(name, f"shape {x.shape}", expected, "Give one row a place, tokens last.")
        if not traced(x):
            found = np.asarray(x, np.float64)
            empty = ~(np.sum(found, -1, keepdims=True) > 0)
            wrong = found[~(found >= 0)]
            if wrong.size or empty.any():
                value = float(wrong[0]) if wrong.size else "a row of zeros"
                expected = "probabilities, some of each row positive"
                raise WrongValue(name, value, expected, "Pass what categorical.probs gives.")
    if not traced(drafts) and drafts.size and not (int(drafts.min()) >= 0 and int(drafts.max()) < size):
        remedy = "Pass indices along the axis of the tokens."
        raise WrongValue("drafts", f"{int(drafts.min())} to {int(drafts.max())}", f"0 to {size - 1}", remedy)
    return drafts.astype(jnp.int32), q, p

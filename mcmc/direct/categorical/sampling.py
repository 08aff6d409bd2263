"""Draws from categorical distributions, and their probabilities, log probabilities, entropy."""

from __future__ import annotations

import math
from typing import Literal, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mcmc.direct.categorical.arguments import Truncation, given, keys_of, of_tracers, traced
from mcmc.direct.categorical.distribution import (
    cut_logits,
    draw_rows,
    entropies,
    first_greatest,
    log_probs,
    of_distribution,
    probabilities,
)
from mcmc.direct.reparam.implicit import discrete
from mcmc.errors import WrongType, WrongValue


def sample(
    key: jax.Array,
    logits: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    temperature: ArrayLike = 1.0,
    top_k: ArrayLike | None = None,
    top_p: ArrayLike | None = None,
    min_p: ArrayLike | None = None,
    typical_p: ArrayLike | None = None,
    epsilon_cutoff: ArrayLike | None = None,
    eta_cutoff: ArrayLike | None = None,
    top_n_sigma: ArrayLike | None = None,
    order: Literal["sequential", "joint"] = "sequential",
    filters: tuple[str, ...] | None = None,
    axis: int = -1,
) -> jax.Array:
    r"""Draw token i with probability p_i, proportional to exp(logit_i / temperature) over the tokens that are kept.

    Arithmetic is in float32, or float64 for float64 logits, sums in float64, whatever the logits' dtype. +inf logits
    share all mass, masked ones (-inf) are never drawn. Filters act in the order in which they stand here. None costs
    nothing; each parameter may be an array over the batch, or any shape that broadcasts to it.

    Tokens whose weight exp((x - max) / temperature) is equal after rounding are ties. Ties at a boundary are all kept.

    Args:
        key: one key, or an array of keys of the batch's shape; then a row's draw does not depend on the other rows.
        logits: unnormalised log probabilities, tokens along `axis`; the other axes are the batch.
        shape: the full shape of the result, which ends with the batch's; None: the batch's.
        temperature: 0: the first greatest logit; inf: uniform over the logits that are not -inf.
        top_k: keep the k greatest logits; 0 or -1 keeps all.
        top_p: keep the smallest set of the likeliest with probability p or more (Holtzman et al. 2020); 1 keeps all, 0
            the likeliest.
        min_p: keep p_i >= min_p max p (Nguyen et al. 2024).
        typical_p: keep the smallest set with probability p or more of the tokens whose -log p_i is nearest to the
            entropy (Meister et al. 2023).
        epsilon_cutoff: keep p_i >= epsilon (Hewitt et al. 2022), and the likeliest in any case.
        eta_cutoff: the same with eta = min(epsilon, sqrt(epsilon) exp(-entropy)).
        top_n_sigma: keep the logits within n standard deviations of the greatest; the standard deviation is that of
            the logits that are not masked, with divisor their number (Tang et al. 2024).
        order: "sequential": each filter is given the distribution that those before it left, normalised; "joint": each
            is given the whole distribution at this temperature, and the tokens that all keep are kept.
        filters: the names of the filters in the order in which they act, each given what those before it left. With
            "temperature" among them, those before it see temperature 1: llama.cpp has it last. Without, it acts first.
        axis: of the tokens.

    Returns:
        int32 indices. A row with NaN or no token, or one whose filters leave none in common, is an error; under jit,
        vmap or grad, where nothing can be raised, it is -1, as is one with a parameter out of its domain.

    Raises:
        ValueError: an invalid row, or an argument out of its domain or of a wrong shape.
        TypeError: an argument of a wrong type; a gradient in the logits or another parameter, see `reparam.discrete`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc.direct import categorical
        >>> logits = jnp.log(jnp.array([0.5, 0.3, 0.2]))
        >>> draws = categorical.sample(jax.random.key(0), logits, shape=(1000,), top_p=0.6)
        >>> int(draws.max())
        1
    """
    limits = {
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "typical_p": typical_p,
        "epsilon_cutoff": epsilon_cutoff,
        "eta_cutoff": eta_cutoff,
        "top_n_sigma": top_n_sigma,
    }
    call = given(logits, temperature=temperature, order=order, filters=filters, axis=axis, **limits)
    shape = call.batch if shape is None else tuple(shape)
    lead = shape[: len(shape) - len(call.batch)]
    if lead + call.batch != shape:
        remedy = "Give the full shape of the result."
        raise WrongValue("shape", shape, f"a shape that ends with the batch's, {call.batch}", remedy)
    with jax.enable_x64(True):
        index = draw_rows(keys_of(key, call.batch), call.rows, call.order, lead, call.batch)
    if not traced(index):
        call.refuse(np.all(np.asarray(index).reshape(math.prod(lead), -1) >= 0, axis=0))
    return discrete(index, *of_tracers(logits, temperature, limits))


def argmax(logits: ArrayLike, *, axis: int = -1) -> jax.Array:
    """The first greatest logit: i = argmax x_i, as `sample` at temperature 0.

    Args:
        logits: any shape, tokens along `axis`.
        axis: of the tokens.

    Returns:
        int32 indices of the batch's shape; an invalid row (NaN, no token) is an error, or -1 under jit.

    Raises:
        ValueError: an invalid row.

    Example:
        >>> from mcmc.direct import categorical
        >>> int(categorical.argmax([1.0, 3.0, 3.0]))
        1
    """
    call = given(logits, axis=axis)
    index = first_greatest(call.rows.x).reshape(call.batch)
    call.refuse(index >= 0)
    return index


def filter_logits(logits: ArrayLike, **truncation: Unpack[Truncation]) -> jax.Array:
    """The logits over the temperature, -inf where cut off: softmax of the result is what `sample` draws from.

    At temperature 0 the first greatest keeps its logit and the rest is cut off. Where x / temperature overflows, the
    row is (x - max) / temperature instead, which is the same distribution.

    Args:
        logits: any shape, tokens along `axis`.
        truncation: temperature, filters, order and axis, as in `sample`.

    Returns:
        The logits' shape, float32 (float64 for float64 logits); an invalid row is NaN under jit.

    Raises:
        ValueError: an invalid row or argument, as in `sample`.

    Example:
        >>> from mcmc.direct import categorical
        >>> categorical.filter_logits([1.0, 3.0, 2.0], top_k=2).tolist()
        [-inf, 3.0, 2.0]
    """
    call, out = of_distribution(logits, truncation, cut_logits)
    return call.restore(out)


def probs(logits: ArrayLike, **truncation: Unpack[Truncation]) -> jax.Array:
    """p_i = exp(s_i) / sum over kept j of exp(s_j), s = logits / temperature; 0 where cut off.

    Differentiable in the logits and the temperature; which tokens are kept counts as constant.

    Args:
        logits: any shape, tokens along `axis`.
        truncation: temperature, filters, order and axis, as in `sample`.

    Returns:
        The logits' shape, float32 (float64 for float64 logits); an invalid row is NaN under jit.

    Raises:
        ValueError: an invalid row or argument, as in `sample`.

    Example:
        >>> from mcmc.direct import categorical
        >>> categorical.probs([0.0, 0.0, -1.0], top_k=2).tolist()
        [0.5, 0.5, 0.0]
    """
    call, out = of_distribution(logits, truncation, probabilities)
    return call.restore(out)


def log_prob(index: ArrayLike, logits: ArrayLike, **truncation: Unpack[Truncation]) -> jax.Array:
    """The log probability s_i - log sum over kept j of exp(s_j), s = logits / temperature; -inf where cut off.

    Differentiable in the logits and the temperature; which tokens are kept counts as constant.

    Args:
        index: integers of the batch's shape, with any axes before it, as `sample` returns them.
        logits: any shape, tokens along `axis`.
        truncation: temperature, filters, order and axis, as in `sample`.

    Returns:
        The index's shape; NaN under jit for an invalid row or an index out of range.

    Raises:
        ValueError: an invalid row or argument, as in `sample`, or an index out of range.

    Example:
        >>> from mcmc.direct import categorical
        >>> round(float(categorical.log_prob(0, [0.0, 0.0, -1.0], top_k=2)), 4)
        -0.6931
    """
    call, log_p = of_distribution(logits, truncation, log_probs)
    index = jnp.asarray(index)
    if not jnp.issubdtype(index.dtype, jnp.integer):
        raise WrongType("index", f"dtype {index.dtype}", "integers", "Pass what sample returned.")
    lead = index.shape[: index.ndim - len(call.batch)]
    if lead + call.batch != index.shape:
        remedy = "Pass one index a row."
        raise WrongValue("index", f"shape {index.shape}", f"a shape that ends with {call.batch}", remedy)
    inside = (index >= 0) & (index < call.size)
    if not traced(index) and not bool(np.all(inside)):
        remedy = "Pass indices along the axis of the tokens."
        raise WrongValue("index", int(np.asarray(index)[~np.asarray(inside)][0]), f"0 to {call.size - 1}", remedy)
    rows = jnp.broadcast_to(jnp.arange(math.prod(call.batch)).reshape(call.batch), index.shape)
    found = log_p[rows, jnp.clip(index, 0, call.size - 1)]
    return jnp.where(inside, found, jnp.nan)


def entropy(logits: ArrayLike, **truncation: Unpack[Truncation]) -> jax.Array:
    """H = -sum of p_i log p_i over the kept tokens, in nats.

    Differentiable in the logits and the temperature; which tokens are kept counts as constant.

    Args:
        logits: any shape, tokens along `axis`.
        truncation: temperature, filters, order and axis, as in `sample`.

    Returns:
        The batch's shape; an invalid row is NaN under jit.

    Raises:
        ValueError: an invalid row or argument, as in `sample`.

    Example:
        >>> from mcmc.direct import categorical
        >>> round(float(categorical.entropy([0.0, 0.0, -1.0], top_k=2)), 4)
        0.6931
    """
    call, out = of_distribution(logits, truncation, entropies)
    return out.reshape(call.batch)

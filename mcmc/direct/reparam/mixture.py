"""Normal mixture draws with exact gradients in weights, locations and scales."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import log_ndtr
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import (
    FINITE,
    POSITIVE,
    Call,
    Condition,
    batch_shape,
    both,
    check,
    exponential_noise,
    float_dtype,
    full_shape,
    real_array,
    single_key,
)
from mcmc.errors import got
from mcmc.random import draws as random

LOGITS = Condition(lambda x: x < np.inf, "numbers below infinity, −∞ for no weight", "Check for a NaN upstream.")


def normal_mixture(
    key: jax.Array,
    logits: ArrayLike,
    locs: ArrayLike,
    scales: ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Draws of a mixture of normals: p(x) = Σₖ wₖ N(x; locₖ, scaleₖ²), with w = softmax(logits).

    The gradient is that of the mixture's distribution function F: dx/dθ = −(∂F/∂θ) / p. Differentiating through
    the component that was drawn would lose the weights.

    Args:
        key: one JAX key, of any implementation.
        logits: (..., k), unnormalised.
        locs: (..., k), the means.
        scales: (..., k), positive.
        shape: the full shape of the result, without k; None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: an argument outside its range, all logits of a mixture −∞, or a shape that doesn't fit. Where
            values are traced the draw is NaN instead.

    Source: Graves 2016, Stochastic backpropagation through mixture density distributions; Figurnov, Mohamed & Mnih
        2018.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> locs, scales = jnp.array([-1.0, 1.0]), jnp.array([0.5, 0.5])
        >>> mean = lambda l: reparam.normal_mixture(jax.random.key(0), l, locs, scales, shape=(100_000,)).mean()
        >>> [round(float(g), 1) for g in jax.grad(mean)(jnp.zeros(2))]
        [-0.5, 0.5]
    """
    values = {"logits": real_array("logits", logits), "locs": real_array("locs", locs)}
    values["scales"] = real_array("scales", scales)
    common = batch_shape(**values)
    if not common:
        raise ValueError(got("logits", logits, "an array (..., k)", "For k = 1 take reparam.normal."))
    valid = check("logits", values["logits"], LOGITS)
    some = Condition(lambda x: (x > -np.inf).any(-1), "a finite logit in every mixture", "Give one component weight.")
    if np.ndim(logits):
        valid = both(_all(valid), check("logits", values["logits"], some))
    for name, condition in (("locs", FINITE), ("scales", POSITIVE)):
        valid = both(valid, _all(check(name, values[name], condition)))
    full = full_shape(shape, common[:-1])
    return Call(single_key(key), full, float_dtype(dtype, *values.values()), tuple(values.values()), valid).draw(_draw)


def _all(valid: Any) -> Any:
    return valid if valid is None or not jnp.ndim(valid) else jnp.all(valid, -1)


def _draw(key: jax.Array, shape: tuple, dtype: Any, logits: jax.Array, locs: jax.Array, scales: jax.Array) -> jax.Array:
    wide = (*shape, jnp.broadcast_shapes(logits.shape, locs.shape, scales.shape)[-1])
    logits, locs, scales = (jnp.broadcast_to(a, wide) for a in (logits, locs, scales))
    chosen = jnp.argmax(logits - jnp.log(exponential_noise(key, wide, dtype, stream=1)), -1)[..., None]
    loc, scale = (jnp.take_along_axis(a, chosen, -1)[..., 0] for a in (locs, scales))
    x = lax.stop_gradient(lax.optimization_barrier(loc + scale * random.normal(key, shape, dtype)))
    return _with_gradient(x, jax.nn.log_softmax(logits), locs, scales)


@jax.custom_jvp
def _with_gradient(x: jax.Array, log_weights: jax.Array, locs: jax.Array, scales: jax.Array) -> jax.Array:
    return x


@_with_gradient.defjvp
def _with_gradient_jvp(primals: tuple, tangents: tuple) -> tuple:
    """With r the responsibilities: dx = Σ rₖ (dlocₖ + zₖ dscaleₖ) − Σ wₖ dlog wₖ (Φ(zₖ) − F) / p.

    On the right of the median Φ − F is taken as S − Sₖ, so that tails keep their precision.
    """
    x, log_weights, locs, scales = primals
    x = _with_gradient(x, log_weights, locs, scales)
    z = (x[..., None] - locs) / scales
    log_parts = log_weights - z * z / 2 - jnp.log(scales) - np.log(2 * np.pi) / 2
    log_p = jax.nn.logsumexp(log_parts, -1, keepdims=True)
    below, above = jnp.exp(log_weights + log_ndtr(z) - log_p), jnp.exp(log_weights + log_ndtr(-z) - log_p)
    left = jnp.sum(below, -1, keepdims=True) < jnp.sum(above, -1, keepdims=True)
    share = jnp.where(left, below, -above)
    share = share - jnp.exp(log_weights) * jnp.sum(share, -1, keepdims=True)
    moved = jnp.exp(log_parts - log_p) * (tangents[2] + z * tangents[3]) - share * tangents[1]
    return x, tangents[0] + jnp.sum(moved, -1)

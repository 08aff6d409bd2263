"""Categorical draws that carry gradients: Gumbel-softmax, its density, and its Rao-Blackwellised gradient."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike

from mcmc.direct.categorical.arguments import given, keys_of, traced
from mcmc.errors import WrongType, WrongValue
from mcmc.random.draws import uniform_open


def gumbel_softmax(
    key: jax.Array, logits: ArrayLike, *, temperature: ArrayLike = 1.0, hard: bool = False, axis: int = -1
) -> jax.Array:
    r"""A relaxed one-hot draw x = softmax((logits + g) / temperature), g standard Gumbel noise.

    Its greatest component is an exact categorical draw at every temperature. With `hard` the value is one-hot there,
    and the gradient is exactly that of the soft draw (straight through).

    Args:
        key: one key, or one a row.
        logits: unnormalised log probabilities, tokens along `axis`; masked ones (-inf) get 0.
        temperature: above 0; a number or an array over the batch.
        hard: whether to return one-hot values.
        axis: of the tokens.

    Returns:
        The logits' shape, float32 (float64 for float64 logits); an invalid row is NaN under jit.

    Raises:
        ValueError: an invalid row (NaN, +inf, no token), or a temperature that is not above 0.
        TypeError: a tuple, which is a shape in the wrong place.

    Source: Jang, Gu & Poole 2017, Categorical reparameterization with Gumbel-softmax.

    Example:
        >>> import jax
        >>> from mcmc.direct import categorical
        >>> x = categorical.gumbel_softmax(jax.random.key(0), [0.0, 1.0, 2.0], hard=True)
        >>> sorted(x.tolist())
        [0.0, 0.0, 1.0]
    """
    if isinstance(logits, tuple):
        remedy = "Draws have the logits' shape: broadcast them for more."
        raise WrongType("logits", logits, "an array, not a tuple", remedy)
    x, temperature, key = _relaxed_arguments(key, logits, temperature, axis)
    soft = soften(x + gumbels(key, x.shape, x.dtype), temperature)
    return jnp.moveaxis(straight_through(soft) if hard else soft, -1, axis)


def gumbel_rao(
    key: jax.Array, logits: ArrayLike, *, temperature: ArrayLike = 1.0, samples: int = 10, axis: int = -1
) -> jax.Array:
    r"""A one-hot categorical draw D with gradient E[d softmax((logits + g) / T) | D], by `samples` draws of g.

    The straight-through Gumbel-softmax gradient with the noise averaged out given the draw: the same mean, a
    smaller variance, one evaluation of what comes after.

    Args:
        key: one key, or one a row.
        logits: unnormalised log probabilities, tokens along `axis`.
        temperature: above 0; a number or an array over the batch.
        samples: how many conditional draws of the noise are averaged.
        axis: of the tokens.

    Returns:
        One-hot values of the logits' shape, float32 (float64 for float64 logits).

    Raises:
        ValueError: an invalid row, a temperature that is not above 0, or samples below 1.

    Source: Paulus, Maddison & Krause 2021, Rao-Blackwellizing the straight-through Gumbel-softmax gradient estimator.

    Example:
        >>> import jax
        >>> from mcmc.direct import categorical
        >>> x = categorical.gumbel_rao(jax.random.key(0), [0.0, 1.0, 2.0])
        >>> sorted(x.tolist())
        [0.0, 0.0, 1.0]
    """
    if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 1:
        raise WrongValue("samples", samples, "an integer not below 1", "Ten are plenty.")
    x, temperature, key = _relaxed_arguments(key, logits, temperature, axis)
    fixed = lax.stop_gradient(x)
    drawn = fixed + gumbels(key, x.shape, x.dtype)
    hot = one_hot(drawn)
    u = jnp.stack([uniforms(key, x.shape, x.dtype, stream=i + 1) for i in range(samples)])
    noise = lax.stop_gradient(given_draw(fixed, hot, u)) - jnp.where(fixed > -jnp.inf, fixed, 0)
    soft = jnp.mean(soften(x + noise, temperature), axis=0)
    return jnp.moveaxis(hot + (soft - lax.stop_gradient(soft)), -1, axis)


def relaxed_log_prob(x: ArrayLike, logits: ArrayLike, temperature: ArrayLike, *, axis: int = -1) -> jax.Array:
    r"""The log density of a Gumbel-softmax draw x (the Concrete distribution) on the simplex of K tokens.

    .. math:: log Γ(K) + (K − 1) log T + Σ (l_k − (T + 1) log x_k) − K log Σ exp(l_k − T log x_k)

    The density is with respect to K − 1 of the components. Masked tokens (-inf) do not count.

    Args:
        x: points of the simplex, of the logits' shape with any axes before.
        logits: unnormalised log probabilities l, tokens along `axis`.
        temperature: T above 0; a number or an array over the batch.
        axis: of the tokens.

    Returns:
        The log density, without the axis of the tokens; NaN under jit where x is not inside the simplex.

    Raises:
        ValueError: x with a component that is not above 0 (at low temperatures they underflow), or that does not add
            up to 1; an invalid row; a temperature that is not above 0.

    Source: Maddison, Mnih & Teh 2017, The Concrete distribution.

    Example:
        >>> from mcmc.direct import categorical
        >>> round(float(categorical.relaxed_log_prob([0.2, 0.3, 0.5], [0.0, 0.0, 0.0], 1.0)), 4)
        0.7001
    """
    axis = axis if axis < 0 else axis - np.ndim(logits)
    logits, temperature, _ = _relaxed_arguments(None, logits, temperature, axis)
    x = jnp.moveaxis(jnp.asarray(x), axis, -1).astype(logits.dtype)
    if x.shape[x.ndim - logits.ndim :] != logits.shape:
        remedy = "Pass what gumbel_softmax returned."
        raise WrongValue("x", f"shape {x.shape}", f"a shape that ends with the logits' {logits.shape}", remedy)
    kept = logits > -jnp.inf
    near = 1e-4 if x.dtype == jnp.float32 else 1e-8
    inside = jnp.all(jnp.where(kept, x > 0, x == 0), axis=-1) & (jnp.abs(jnp.sum(x, axis=-1) - 1) < near)
    if not traced(inside) and not bool(jnp.all(inside)):
        remedy = "Draw in float64 or at a higher temperature where components underflow to 0."
        raise WrongValue("x", "a point outside", "points inside the simplex of the tokens not masked", remedy)
    log_x = jnp.log(jnp.where(kept, x, 1))
    terms = jnp.where(kept, logits, 0) - (temperature + 1) * log_x
    size = jnp.sum(kept, axis=-1).astype(x.dtype)
    scores = jnp.where(kept, jnp.where(kept, logits, 0) - temperature * log_x, -jnp.inf)
    total = jnp.sum(jnp.where(kept, terms, 0), axis=-1) - size * jax.nn.logsumexp(scores, axis=-1)
    log_density = lax.lgamma(size) + (size - 1) * jnp.log(temperature[..., 0]) + total
    return jnp.where(inside, log_density, jnp.nan)


# --- parts ----------------------------------------------------------------------------------------------


def _relaxed_arguments(key: Any, logits: Any, temperature: Any, axis: int) -> tuple[jax.Array, jax.Array, Any]:
    """Logits with tokens last, a temperature (..., 1), the key; invalid rows are NaN, or an error."""
    if not traced(temperature) and not np.all(np.asarray(temperature) > 0):
        remedy = "Choose 0.1 to 2; for exact draws use sample()."
        raise WrongValue("temperature", np.min(np.asarray(temperature)).item(), "a number above 0", remedy)
    call = given(logits, temperature=temperature, axis=axis)
    batch = call.batch
    x = jnp.moveaxis(jnp.asarray(logits).astype(call.rows.x.dtype), axis, -1)
    valid = jnp.all(x < jnp.inf, axis=-1) & jnp.any(x > -jnp.inf, axis=-1)
    call.refuse(valid, "" if not np.any(np.isposinf(_concrete(x))) else "+inf")
    t = jnp.ones((), x.dtype) if call.rows.temperature is None else jnp.asarray(call.rows.temperature).reshape(batch)
    t = jnp.broadcast_to(t, batch)[..., None].astype(x.dtype)
    x = jnp.where(valid[..., None] & (t > 0), x, jnp.nan)
    return x, t, None if key is None else keys_of(key, batch)


def _concrete(x: Any) -> Any:
    return np.zeros(()) if traced(x) else np.asarray(x)


def uniforms(key: jax.Array, shape: tuple, dtype: Any, stream: int = 0) -> jax.Array:
    """Uniforms (..., K): row by row where there is a key a row."""
    batch, size = shape[:-1], shape[-1]
    if key.shape != batch:
        return uniform_open(key, shape, dtype, stream=stream)
    each = jax.vmap(lambda k: uniform_open(k, (size,), dtype, stream=stream))
    return each(key.reshape(math.prod(batch))).reshape(shape)


def gumbels(key: jax.Array, shape: tuple, dtype: Any) -> jax.Array:
    """Standard Gumbel noise, its long tail from the fine end of the uniforms."""
    return -jnp.log(-jnp.log1p(-uniforms(key, shape, dtype)))


def soften(y: jax.Array, temperature: float | jax.Array) -> jax.Array:
    """softmax(y / temperature) over the last axis, 0 and with no gradient where y is -inf."""
    kept = y > -jnp.inf
    top = lax.stop_gradient(jnp.max(y, axis=-1, keepdims=True))
    s = jnp.where(kept, jnp.where(kept, y, 0) - jnp.where(jnp.isfinite(top), top, 0), 0) / temperature
    w = jnp.where(kept, jnp.exp(s), 0)
    return jnp.where(jnp.isnan(top), jnp.nan, w / jnp.sum(w, axis=-1, keepdims=True))


def one_hot(y: jax.Array) -> jax.Array:
    """1 at the first greatest, else 0; NaN stays."""
    hot = jax.nn.one_hot(jnp.argmax(y, axis=-1), y.shape[-1], dtype=y.dtype)
    return jnp.where(jnp.any(jnp.isnan(y), axis=-1, keepdims=True), jnp.nan, hot)


def straight_through(soft: jax.Array) -> jax.Array:
    """One-hot in value, `soft` in gradient: what is added is exactly 0."""
    return one_hot(lax.stop_gradient(soft)) + (soft - lax.stop_gradient(soft))


def given_draw(x: jax.Array, hot: jax.Array, u: jax.Array) -> jax.Array:
    """Logits plus Gumbel noise, given that its greatest component is the one that is hot; u: uniforms.

    With E_i standard exponentials and Z the sum of exp(x_i): log Z - log E_hot there, and
    -log(E_i exp(-x_i) + E_hot / Z) elsewhere. Differentiable in x.
    """
    kept = x > -jnp.inf
    log_z = jax.nn.logsumexp(x, axis=-1, keepdims=True)
    log_e = jnp.log(-jnp.log1p(-u))
    log_hot = jnp.sum(jnp.where(hot > 0, log_e, 0), axis=-1, keepdims=True)
    other = -jnp.logaddexp(log_e - jnp.where(kept, x, 0), log_hot - log_z)
    return jnp.where(kept, jnp.where(hot > 0, log_z - log_hot, other), -jnp.inf)

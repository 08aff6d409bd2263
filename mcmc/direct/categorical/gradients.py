"""Unbiased gradients of E[f(z)] in the logits of categorical variables z, for an f of any kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike

from mcmc.direct.categorical.arguments import given, keys_of, traced
from mcmc.direct.categorical.distribution import draw_rows
from mcmc.direct.categorical.relaxed import given_draw, gumbels, one_hot, soften, uniforms
from mcmc.errors import WrongValue

MOST_STATES = 100_000


def exact_gradient(f: Callable[[jax.Array], jax.Array], logits: ArrayLike) -> jax.Array:
    r"""The gradient of E[f(z)] in the logits by going through every state: Σ f(z) ∇ p(z).

    Args:
        f: a function of one-hot z of the logits' shape; a scalar.
        logits: (..., K): independent variables, each with K tokens; at most 100,000 states in all.

    Returns:
        The gradient, of the logits' shape.

    Raises:
        ValueError: too many states, or an f that is not a scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> from mcmc.direct import categorical
        >>> g = categorical.exact_gradient(lambda z: z @ jnp.array([1.0, 0.0]), [0.0, 0.0])
        >>> g.tolist()
        [0.25, -0.25]
    """
    x = _variables(f, logits)
    size, count = x.shape[-1], math.prod(x.shape[:-1])
    if count * math.log(size) > math.log(MOST_STATES):
        remedy = "Use score_gradient or rebar_gradient."
        raise WrongValue("logits", f"{size} ** {count} states", f"at most {MOST_STATES:,}", remedy)
    states = jnp.arange(size**count)[:, None] // (size ** np.arange(count)) % size
    hot = jax.nn.one_hot(states, size, dtype=x.dtype).reshape(-1, *x.shape)
    values = lax.stop_gradient(lax.map(f, hot, batch_size=min(1024, len(hot))))
    log_p = jnp.where(hot > 0, jax.nn.log_softmax(x), 0).sum(tuple(range(1, hot.ndim)))
    weight = (jnp.exp(log_p) * values).reshape(-1, *[1] * x.ndim)
    return jnp.sum(weight * (hot - jax.nn.softmax(x)), axis=0)


def score_gradient(
    key: jax.Array, f: Callable[[jax.Array], jax.Array], logits: ArrayLike, *, samples: int = 16
) -> jax.Array:
    r"""An unbiased estimate of the gradient of E[f(z)] from values of f alone, each draw's baseline the others' mean.

    .. math:: 1/(n − 1) Σ (f(z_i) − mean of f) (z_i − p)

    Args:
        key: a JAX key.
        f: a function of one-hot z of the logits' shape; a scalar. It need not be differentiable.
        logits: (..., K): independent variables, each with K tokens.
        samples: n, 2 or more.

    Returns:
        The gradient, of the logits' shape.

    Raises:
        ValueError: fewer than 2 samples, or an f that is not a scalar.

    Source: Kool, van Hoof & Welling 2019, Buy 4 REINFORCE samples, get a baseline for free.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc.direct import categorical
        >>> f = lambda z: z @ jnp.array([1.0, 0.0])
        >>> categorical.score_gradient(jax.random.key(0), f, [0.0, 0.0]).shape
        (2,)
    """
    x = _variables(f, logits)
    if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 2:
        raise WrongValue("samples", samples, "an integer not below 2", "The baseline needs another draw.")
    call = given(x)
    with jax.enable_x64(True):
        index = draw_rows(keys_of(key, ()), call.rows, call.order, (int(samples),), call.batch)
    hot = jax.nn.one_hot(index, x.shape[-1], dtype=x.dtype)
    values = lax.stop_gradient(jax.vmap(f)(hot)).astype(x.dtype)
    away = (values - jnp.mean(values)).reshape(-1, *[1] * x.ndim)
    return jnp.sum(away * (hot - jax.nn.softmax(x)), axis=0) / (samples - 1)


def rebar_gradient(
    key: jax.Array,
    f: Callable[[jax.Array], jax.Array],
    logits: ArrayLike,
    *,
    temperature: float | jax.Array = 0.5,
    scale: float | jax.Array = 1.0,
    samples: int = 1,
) -> jax.Array:
    r"""An unbiased estimate of the gradient of E[f(z)], with a relaxed draw and one given z as control variates.

    .. math:: (f(z) − η f(x')) ∇ log p(z) + η ∇ f(x) − η ∇ f(x'), x = softmax(y / T), x' = softmax(y' / T)

    y = logits + Gumbel noise, z its greatest component, y' a second such y given z. Unbiased for every T and η.

    Args:
        key: a JAX key.
        f: a differentiable function of z of the logits' shape, also between one-hot values; a scalar.
        logits: (..., K): independent variables, each with K tokens.
        temperature: T above 0.
        scale: η; 0 is the score function without a baseline.
        samples: how many estimates are averaged.

    Returns:
        The gradient, of the logits' shape.

    Raises:
        ValueError: a temperature that is not above 0, samples below 1, or an f that is not a scalar.

    Source: Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein 2017, REBAR: low-variance, unbiased gradient estimates.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc.direct import categorical
        >>> f = lambda z: (z @ jnp.array([1.0, 0.0]) - 0.45) ** 2
        >>> categorical.rebar_gradient(jax.random.key(0), f, [0.0, 0.0]).shape
        (2,)
    """
    x = _variables(f, logits)
    if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 1:
        raise WrongValue("samples", samples, "an integer not below 1", "One is an estimate.")
    if not traced(temperature) and not np.all(np.asarray(temperature) > 0):
        raise WrongValue("temperature", temperature, "a number above 0", "Choose 0.1 to 2.")

    def estimate(key):
        g = gumbels(key, x.shape, x.dtype)
        hot = lax.stop_gradient(one_hot(x + g))
        u = uniforms(key, x.shape, x.dtype, stream=1)

        def control(x):
            free = f(soften(x + g, temperature))
            tied = f(soften(given_draw(x, hot, u), temperature))
            return free - tied, tied

        gradient, tied = jax.grad(control, has_aux=True)(x)
        return (f(hot) - scale * tied) * (hot - jax.nn.softmax(x)) + scale * gradient

    return jnp.mean(jax.vmap(estimate)(jax.random.split(keys_of(key, ()), samples)), axis=0)


def _variables(f: Callable, logits: Any) -> jax.Array:
    """The logits in float32 or float64, checked, as is the shape of what f returns."""
    call = given(logits)
    x = jnp.asarray(logits).astype(call.rows.x.dtype)
    valid = jnp.all(x < jnp.inf, axis=-1) & jnp.any(x > -jnp.inf, axis=-1)
    call.refuse(valid)
    shape = jax.eval_shape(f, jax.ShapeDtypeStruct(x.shape, x.dtype)).shape
    if shape != ():
        raise WrongValue("f", f"a result of shape {shape}", "a scalar", "Sum or index the result.")
    return lax.stop_gradient(x)

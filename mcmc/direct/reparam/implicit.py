"""Implicit reparameterisation: exact pathwise gradients from a distribution function; an error for discrete draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from numpy.typing import ArrayLike

from mcmc.direct.categorical.relaxed import gumbel_softmax as gumbel_softmax
from mcmc.direct.reparam.arguments import (
    Condition,
    prepare,
    two_sided,
)
from mcmc.errors import WrongType, WrongValue

REMEDY = (
    "A discrete draw carries no gradient: relax it (mcmc.categorical.gumbel_softmax), sum over its values, use a "
    "score-function estimator, or say that none is wanted with jax.lax.stop_gradient of the parameters."
)


def implicit(
    draw: ArrayLike, cdf: Callable[..., jax.Array], *params: Any, log_prob: Callable[..., jax.Array] | None = None
) -> jax.Array:
    r"""The same draw, with exact pathwise gradients in `params`, from its distribution function F.

    F(x; θ) stays what it is as θ changes, so that

    .. math:: dx/dθ = -(∂F/∂θ) / (∂F/∂x)

    whatever made the draw: a rejection loop, a table, another library. Gradients that the draw already has are
    dropped. Derivatives of `cdf` are JAX's, so higher orders and forward mode work too. What `cdf` closes over is
    differentiated like a parameter; `log_prob` may close over the same.

    Args:
        draw: an array of floating draws.
        cdf: `cdf(x, *params)`, elementwise in x: the distribution function, or one minus it (the survival function
            is as good, and more precise in an upper tail), or its logarithm; monotone in x.
        params: the parameters that gradients are wanted in: arrays or pytrees of them.
        log_prob: `log_prob(x, *params)`, the logarithm of |∂F/∂x| where that is known better than JAX derives it.

    Raises:
        TypeError: integer draws, which can carry no gradient.
        ValueError: a `cdf` whose result has not the shape of the draws.

    Source: Figurnov, Mohamed & Mnih 2018, Implicit reparameterization gradients.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> cdf = lambda x, rate: 1 - jnp.exp(-rate * x)
        >>> draw = lambda rate: reparam.implicit(jax.random.exponential(jax.random.key(0)) / rate, cdf, rate)
        >>> bool(jnp.allclose(jax.grad(draw)(2.0), -draw(2.0) / 2))
        True
    """
    draw = jnp.asarray(draw)
    if not jnp.issubdtype(draw.dtype, jnp.floating):
        raise WrongType("draw", f"{draw.dtype} draws", "floating draws", REMEDY)
    draw = lax.stop_gradient(draw)
    shape = jax.eval_shape(cdf, draw, *params).shape
    if shape != draw.shape:
        remedy = "Write cdf elementwise, with parameters that broadcast to the draws."
        raise WrongValue("cdf", f"a result of shape {shape}", f"that of the draws, {draw.shape}", remedy)
    hoisted, captured = jax.closure_convert(cdf, draw, *params)
    hoisted_log_prob, more = (None, []) if log_prob is None else jax.closure_convert(log_prob, draw, *params)
    n, m = len(params), len(params) + len(captured)

    @jax.custom_jvp
    def attached(x: jax.Array, given: tuple) -> jax.Array:
        return x

    @attached.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple:
        x, given = primals
        x = attached(x, given)
        _, by_params = jax.jvp(lambda p: hoisted(x, *p), (given[:m],), (tangents[1][:m],))
        _, by_x = jax.jvp(lambda x: hoisted(x, *given[:m]), (x,), (jnp.ones_like(x),))
        if hoisted_log_prob is not None:
            by_x = jnp.sign(by_x) * jnp.exp(hoisted_log_prob(x, *given[:n], *given[m:]))
        return x, tangents[0] - (by_params / by_x).astype(x.dtype)

    return attached(draw, jax.tree.map(jnp.asarray, (*params, *captured, *more)))


def discrete(draw: ArrayLike, *params: Any) -> jax.Array:
    """The same draw, but to differentiate it in `params` is an error, where JAX would say zero.

    Args:
        draw: an array of draws that jump as the parameters change.
        params: the parameters they were drawn with: arrays or pytrees of them.

    Raises:
        TypeError: when a gradient in one of `params` is asked for; the message says what to do instead.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> def loss(rate):
        ...     return reparam.discrete(jax.random.poisson(jax.random.key(0), rate), rate).astype(float)
        >>> jax.grad(loss)(3.0)
        Traceback (most recent call last):
        mcmc.errors.WrongType: params: got a gradient asked for in them; expected none. A discrete draw ...: ...
    """
    held = lax.stop_gradient(jnp.asarray(draw))
    return _jumps(held, jax.tree.map(jnp.asarray, params)) if jax.tree.leaves(params) else held


@jax.custom_jvp
def _jumps(draw: jax.Array, params: Any) -> jax.Array:
    return draw


def _refuse(primals: tuple, tangents: tuple) -> tuple:
    if not all(isinstance(t, SymbolicZero) for t in jax.tree.leaves(tangents[1])):
        raise WrongType("params", "a gradient asked for in them", "none", REMEDY)
    return primals[0], tangents[0]


_jumps.defjvp(_refuse, symbolic_zeros=True)


PROBABILITY = Condition(lambda x: (x >= 0) & (x <= 1), "numbers from 0 to 1", "Take jax.nn.sigmoid of a logit.")


def bernoulli(key: jax.Array, probs: ArrayLike = 0.5, *, shape: tuple[int, ...] | None = None) -> jax.Array:
    """Bernoulli draws, 0 or 1 as int32 (−1 where a traced `probs` is bad), that refuse to be differentiated.

    Args:
        key: one JAX key, of any implementation.
        probs: the probability of 1.
        shape: the full shape of the result; None: that of `probs`.

    Raises:
        ValueError: a probability outside [0, 1], or a shape that doesn't fit.
        TypeError: a gradient in `probs` is asked for, see `discrete`.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.bernoulli(jax.random.key(0), 0.3, shape=(5,)).shape
        (5,)
    """
    call = prepare(key, shape, None, probs=(probs, PROBABILITY))
    held = lax.stop_gradient(jnp.asarray(call.values[0], call.dtype))
    u, _ = two_sided(call.key, call.shape, call.dtype)
    drawn = (u < held).astype(jnp.int32)
    return discrete(drawn if call.valid is None else jnp.where(call.valid, drawn, -1), call.values[0])

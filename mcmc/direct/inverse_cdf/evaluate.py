"""The functions of a law that has been set up, each one compiled program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from mcmc.direct.inverse_cdf.cumulative import tail
from mcmc.direct.inverse_cdf.far import far_quantile
from mcmc.direct.inverse_cdf.lookup import inside, quantile, sides, typed

if TYPE_CHECKING:
    from mcmc.direct.inverse_cdf.inverse_cdf import InverseCDF


def evaluate(body: Callable, s: InverseCDF, x: jax.Array) -> jax.Array:
    """body(s, x) as one program, with the arrays of s as arguments in the precision of x.

    Quantiles do not need the density unless they are differentiated: laws with tables of one size then share a program.
    """
    s = dataclasses.replace(s, table=s.table.cast(x.dtype), ranges=cast(s.ranges, x.dtype), far=cast(s.far, x.dtype))
    if body in (_icdf, _isf) and not any(isinstance(a, Tracer) for a in (x, *jax.tree.leaves(s))):
        s = dataclasses.replace(s, log_density=_none, params=(), ranges=None, log_normalizer=None, u_error=None)
    elif not getattr(s.log_density, "compiles", True):
        return body(s, x)
    leaves, tree = jax.tree.flatten(s.params)
    fixed = tuple(a if isinstance(a, bool | int | str) else None for a in leaves)
    arrays = [a if f is None else None for a, f in zip(leaves, fixed, strict=True)]
    s = dataclasses.replace(s, params=())
    return _program(body, tree, fixed, s, arrays, x)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _program(body: Callable, tree: Any, fixed: tuple, s: InverseCDF, arrays: list, x: jax.Array) -> jax.Array:
    params = tree.unflatten([a if f is None else f for a, f in zip(arrays, fixed, strict=True)])
    return body(dataclasses.replace(s, params=params), x)


def _none(x: jax.Array) -> jax.Array:
    return x


def icdf(s: InverseCDF, u: jax.Array) -> jax.Array:
    """Q(u); NaN outside [0, 1]."""
    return evaluate(_icdf, s, u)


def isf(s: InverseCDF, q: jax.Array) -> jax.Array:
    """Q(1 − q); NaN outside [0, 1]."""
    return evaluate(_isf, s, q)


def cdf(s: InverseCDF, x: jax.Array) -> jax.Array:
    """F(x)."""
    return evaluate(_cdf, s, x)


def sf(s: InverseCDF, x: jax.Array) -> jax.Array:
    """1 − F(x)."""
    return evaluate(_sf, s, x)


def log_prob(s: InverseCDF, x: jax.Array) -> jax.Array:
    """The normalised log density."""
    return evaluate(_log_prob, s, x)


def _icdf(s: InverseCDF, u: jax.Array) -> jax.Array:
    x = invert(s, *sides(jnp.where((u > 0) & (u < 1), u, 0.5)))
    x = jnp.where(u == 0, s.support[0], jnp.where(u == 1, s.support[1], x))
    return jnp.where((u >= 0) & (u <= 1), x, jnp.nan).astype(u.dtype)


def _isf(s: InverseCDF, q: jax.Array) -> jax.Array:
    right, w = sides(jnp.where((q > 0) & (q < 1), q, 0.5))
    x = invert(s, ~right, w)
    x = jnp.where(q == 0, s.support[1], jnp.where(q == 1, s.support[0], x))
    return jnp.where((q >= 0) & (q <= 1), x, jnp.nan).astype(q.dtype)


def _cdf(s: InverseCDF, x: jax.Array) -> jax.Array:
    return _tail(s, x, False)


def _sf(s: InverseCDF, x: jax.Array) -> jax.Array:
    return _tail(s, x, True)


def _tail(s: InverseCDF, x: jax.Array, right: bool) -> jax.Array:
    within = jnp.clip(x, *inside(s.support, x.dtype))
    value = tail(partial(_density, s), s.ranges, s.support, within, jnp.full(x.shape, right), s.ranges.mass)
    first, last = (1.0, 0.0) if right else (0.0, 1.0)
    value = jnp.where(x <= s.support[0], first, jnp.where(x >= s.support[1], last, jnp.clip(value, 0, 1)))
    return jnp.where(jnp.isnan(x), jnp.nan, value).astype(x.dtype)


def _log_prob(s: InverseCDF, x: jax.Array) -> jax.Array:
    lo, hi = s.support
    out = (x < lo) | (x > hi)
    middle = invert(s, jnp.zeros((), bool), jnp.asarray(0.5, x.dtype))
    value = _density(s, jnp.where(out, jax.lax.stop_gradient(middle), x))
    return jnp.where(out, -jnp.inf, value).astype(x.dtype)


def _density(s: InverseCDF, x: jax.Array) -> jax.Array:
    return s.log_density(x, *s.params) - jnp.asarray(s.log_normalizer, x.dtype)


@jax.custom_jvp
def invert(s: InverseCDF, right: jax.Array, w: jax.Array) -> jax.Array:
    r"""x with the mass w to its left, or where `right` to its right: ∂x/∂u = 1/f, ∂x/∂θ = −∂_θF / f."""
    x = quantile(s.table, right, w)
    return x if s.far is None else far_quantile(s.far, s.support, right, w, x)


@invert.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    s, right, w = primals
    x = invert(s, right, w)

    def density(params: Any) -> Callable:
        return lambda x: s.log_density(x, *params) - jax.lax.stop_gradient(jnp.asarray(s.log_normalizer, x.dtype))

    change = jnp.asarray(tangents[2])
    if jax.tree.leaves(s.params):
        _, moved = jax.jvp(
            lambda params: tail(density(params), s.ranges, s.support, x, right), (s.params,), (tangents[0].params,)
        )
        change = change - moved
    return x, jnp.where(right, -change, change) * jnp.exp(-density(s.params)(x))


def cast(tree: Any, dtype: Any) -> Any:
    """The floating arrays of panels in this type."""
    return jax.tree.map(lambda a: typed(a, dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)

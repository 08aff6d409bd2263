"""Samplers from a known distribution function or quantile function, by bracketed root-finding."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.inverse_cdf.arguments import hashable, no_mass, within
from mcmc.errors import WrongType, WrongValue
from mcmc.random.draws import uniform_open

if TYPE_CHECKING:
    from mcmc.steps.inverse_cdf import InverseCDFSteps


@partial(jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["function", "support", "known", "mass"])
@dataclass(frozen=True)
class Solved:
    """Independent draws x = Q(u), where F or Q is known and the other is found by bounded root-finding.

    Made by `InverseCDF.from_cdf` and `InverseCDF.from_icdf`; `icdf`, `cdf`, `log_prob` and `sample` as there.
    """

    params: tuple
    function: Callable[..., jax.Array]
    support: tuple[float, float]
    known: str
    mass: float = 1.0

    @staticmethod
    def of_cdf(cdf: Callable, support: tuple[float, float], params: tuple) -> Solved:
        """From F; checked at the ends and between where it is concrete."""
        if not callable(cdf):
            raise WrongType("cdf", cdf, "a function of x", "Give F(x, *params).")
        s = Solved(params, hashable(cdf), support, "cdf")
        if not _traced(params):
            x = _spread(support)
            _check("cdf", x, np.asarray(cdf(jnp.asarray(x), *params)), (0.0, 1.0))
        return s

    @staticmethod
    def of_icdf(icdf: Callable, params: tuple) -> Solved:
        """From Q; checked to rise where it is concrete."""
        if not callable(icdf):
            raise WrongType("icdf", icdf, "a function of u", "Give Q(u, *params).")
        support = -math.inf, math.inf
        if not _traced(params):
            u = np.linspace(0, 1, 66)[1:-1].astype(jnp.result_type(float))
            _check("icdf", u, np.asarray(icdf(jnp.asarray(u), *params)), None)
            ends = np.asarray(icdf(jnp.asarray([0.0, 1.0]), *params))
            low, high = (float(e) if not math.isnan(e) else s for e, s in zip(ends, support, strict=True))
            support = low, high
        return Solved(params, hashable(icdf), support, "icdf")

    @property
    def log_normalizer(self) -> float:
        """0: what is given is normalised."""
        return 0.0

    @property
    def u_error(self) -> float:
        """What rounding leaves: the function itself is taken for exact. More after `truncated` to a small mass."""
        return float(np.finfo(jnp.result_type(float)).eps) / self.mass

    def icdf(self, u: ArrayLike) -> jax.Array:
        """Q(u). 0 and 1 give the ends; outside [0, 1] and NaN give NaN."""
        return (_icdf if self.known == "icdf" else _icdf_program)(self, _float(u))

    def cdf(self, x: ArrayLike) -> jax.Array:
        """F(x)."""
        return (_cdf if self.known == "cdf" else _cdf_program)(self, _float(x))

    def sf(self, x: ArrayLike) -> jax.Array:
        """1 − F(x), as precise as F is near 1."""
        return 1 - self.cdf(x)

    def isf(self, q: ArrayLike) -> jax.Array:
        """Q(1 − q)."""
        return self.icdf(1 - _float(q))

    def truncated(self, low: float = -math.inf, high: float = math.inf) -> Solved:
        """The law given that low < x < high: (F(x) − F(low)) / (F(high) − F(low)), or its inverse.

        The functions given have no digits beyond those of numbers near 1: `u_error` grows with 1 / mass. Tails far out
        need `InverseCDF.fit`.

        Raises:
            ValueError: ends that are no numbers in order. SamplingError: there is no mass between them, or less than a
                hundred times what rounding leaves.

        Example:
            >>> import jax.numpy as jnp
            >>> from mcmc import InverseCDF
            >>> s = InverseCDF.from_cdf(lambda x: 1 - jnp.exp(-x), (0.0, float("inf"))).truncated(1.0)
            >>> round(float(s.icdf(0.5)), 4)  # 1 + log 2
            1.6931
        """
        ends = within((low, high), self.support)
        at = self.cdf(jnp.asarray(ends, jnp.result_type(float)))
        mass = 1.0
        if not isinstance(at, Tracer):
            mass = float(at[1] - at[0])
            if not mass > 100 * self.u_error:
                no_mass(*ends)
            mass *= self.mass
        return Solved((at, *self.params), partial(_between, self.function, self.known), ends, self.known, mass)

    def log_prob(self, x: ArrayLike) -> jax.Array:
        """log F'(x), by derivatives of the function given; −inf outside the support."""
        return _log_prob(self, _float(x))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = (), dtype: DTypeLike | None = None) -> jax.Array:
        """Independent draws Q(u), u of the open interval (31 bits in float32, 52 in float64)."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        dtype = jnp.dtype(dtype or jnp.result_type(float))
        with jax.enable_x64(True) if dtype == jnp.float64 else contextlib.nullcontext():
            return self.icdf(uniform_open(key, shape, dtype))

    def steps(self, key: jax.Array, n: int) -> InverseCDFSteps:
        """As `InverseCDF.steps`; the support is the only panel."""
        from mcmc.steps.counting import check_count
        from mcmc.steps.inverse_cdf import inverse_cdf_steps

        check_count(n)
        u = uniform_open(key, (n,))
        return inverse_cdf_steps(self, u, self.icdf(u), self.support, [1.0])

    def _known(self, x: jax.Array) -> jax.Array:
        return self.function(x, *self.params)

    @property
    def domain(self) -> tuple[float, float]:
        """Where the function given is defined."""
        return self.support if self.known == "cdf" else (0.0, 1.0)


def _icdf(s: Solved, u: jax.Array) -> jax.Array:
    inner = jnp.where((u > 0) & (u < 1), u, 0.5)
    x = s._known(inner) if s.known == "icdf" else solve(s, inner)
    x = jnp.where(u == 0, s.support[0], jnp.where(u == 1, s.support[1], x))
    return jnp.where((u >= 0) & (u <= 1), x, jnp.nan).astype(u.dtype)


def _cdf(s: Solved, x: jax.Array) -> jax.Array:
    inner = jnp.clip(x, *_open(s.support, x.dtype))
    value = s._known(inner) if s.known == "cdf" else solve(s, inner)
    value = jnp.where(x <= s.support[0], 0.0, jnp.where(x >= s.support[1], 1.0, value))
    return jnp.where(jnp.isnan(x), jnp.nan, value).astype(x.dtype)


_icdf_program, _cdf_program = jax.jit(_icdf), jax.jit(_cdf)


@jax.jit
def _log_prob(s: Solved, x: jax.Array) -> jax.Array:
    out = (x < s.support[0]) | (x > s.support[1])
    inner = jnp.clip(x, *_open(s.support, x.dtype))
    derivative = _derivative(s, inner if s.known == "cdf" else solve(s, inner))
    value = jnp.log(derivative) if s.known == "cdf" else -jnp.log(derivative)
    return jnp.where(out, -jnp.inf, jnp.where(jnp.isnan(x), jnp.nan, value)).astype(x.dtype)


def _between(function: Callable, known: str, x: jax.Array, at: jax.Array, *params: Any) -> jax.Array:
    """The function of the law between two points, by that of the whole and its distribution function there."""
    low, width = at[0].astype(x.dtype), (at[1] - at[0]).astype(x.dtype)
    return (function(x, *params) - low) / width if known == "cdf" else function(low + x * width, *params)


@jax.custom_jvp
def solve(s: Solved, to: jax.Array) -> jax.Array:
    """The argument at which the function that is known has the value `to`: derivatives by the implicit function."""
    lo, hi = _open(s.domain, to.dtype)
    low, high = (jnp.full(to.shape, _ordered(end)) for end in (lo, hi))
    bits = 8 * to.dtype.itemsize

    def unfinished(state: tuple) -> jax.Array:
        low, high, _, i = state
        return (i < bits) & jnp.any(_distant(low, high))

    def step(state: tuple) -> tuple:
        low, high, _, i = state
        low, high = _narrow(s, to, low, high, _middle(low, high))
        x = _number(low, to.dtype)
        value, derivative = s._known(x), _derivative(s, x)
        newton = x + (to - value) / jnp.where(derivative > 0, derivative, jnp.inf)
        newton = jnp.clip(newton, _number(low, to.dtype), _number(high, to.dtype))
        for side in (1 - 8 * jnp.finfo(to.dtype).eps, 1 + 8 * jnp.finfo(to.dtype).eps):  # close in from both sides
            at = jnp.clip(_ordered(newton * side), low, high)
            low, high = _narrow(s, to, low, high, at)
        return low, high, newton, i + 1

    low, high, _, _ = lax.while_loop(unfinished, step, (low, high, jnp.zeros_like(to), 0))
    return _number(high, to.dtype)


@solve.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    s, to = primals
    x = solve(s, to)
    change = jnp.asarray(tangents[1])
    if jax.tree.leaves(s.params):
        _, moved = jax.jvp(lambda params: s.function(x, *params), (s.params,), (tangents[0].params,))
        change = change - moved
    return x, change / _derivative(s, x)


def _narrow(s: Solved, to: jax.Array, low: jax.Array, high: jax.Array, at: jax.Array) -> tuple:
    below = s._known(_number(at, to.dtype)) < to
    return jnp.where(below, at, low), jnp.where(below, high, at)


def _middle(low: jax.Array, high: jax.Array) -> jax.Array:
    return (low >> 1) + (high >> 1) + (low & high & 1)


def _distant(low: jax.Array, high: jax.Array) -> jax.Array:
    return (high > low) & (high - 1 > low)


def _ordered(x: Any) -> Any:
    """Floats as integers in the same order, so that bisection halves the count of numbers between."""
    x = jnp.asarray(x)
    kind = jnp.int32 if x.dtype == jnp.float32 else jnp.int64
    i = lax.bitcast_convert_type(x, kind)
    return jnp.where(i < 0, jnp.iinfo(kind).min - i, i)


def _number(i: jax.Array, dtype: Any) -> jax.Array:
    return lax.bitcast_convert_type(jnp.where(i < 0, jnp.iinfo(i.dtype).min - i, i), dtype)


def _derivative(s: Solved, x: jax.Array) -> jax.Array:
    return jax.jvp(s._known, (x,), (jnp.ones_like(x),))[1]


def _open(support: tuple[float, float], dtype: Any) -> tuple[jax.Array, jax.Array]:
    from mcmc.direct.inverse_cdf.lookup import inside

    big = np.finfo(dtype).max
    low, high = inside(support, dtype)
    return jnp.asarray(max(low, -big), dtype), jnp.asarray(min(high, big), dtype)


def _float(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def _traced(params: tuple) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params))


def _spread(support: tuple[float, float]) -> np.ndarray:
    """Points over the support, both ends among them."""
    lo, hi = support
    e = np.exp(np.linspace(-30, 30, 61))
    x = [np.array([lo, hi]), *([np.linspace(lo, hi, 65)] if math.isfinite(lo) and math.isfinite(hi) else [])]
    x += [lo + e] if math.isfinite(lo) else [-e, [0.0]]
    x += [hi - e] if math.isfinite(hi) else [e]
    x = np.unique(np.concatenate(x).astype(jnp.result_type(float)))
    return x[(x >= lo) & (x <= hi)]


def _check(name: str, x: np.ndarray, value: np.ndarray, ends: tuple[float, float] | None) -> None:
    if value.shape != x.shape:
        raise WrongValue(name, f"shape {value.shape} for {x.shape}", "the points' shape", "Make it elementwise.")
    if np.isnan(value).any():
        raise WrongValue(name, f"NaN at {x[np.isnan(value)][0]:g}", "numbers", "Mend it there.")
    slack = 1e-5 if value.dtype == np.float32 else 1e-12
    fall = np.flatnonzero(np.diff(value) < -slack * (1 + np.abs(value[:-1])))
    if fall.size:
        i = fall[0]
        found = f"{value[i]:g} at {x[i]:g} and {value[i + 1]:g} at {x[i + 1]:g}"
        raise WrongValue(name, found, "a function that does not fall", "Check its sign and its support.")
    if ends and not (abs(value[0] - ends[0]) < 100 * slack and abs(value[-1] - ends[1]) < 100 * slack):
        found = f"{value[0]:g} and {value[-1]:g} at the ends"
        raise WrongValue(name, found, "0 and 1 at the ends of the support", "Give the support that it has.")

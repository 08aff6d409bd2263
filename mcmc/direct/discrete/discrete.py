"""Discrete: independent draws from any law on integers, by an alias table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike

from mcmc.direct.discrete.alias import Alias, alias_table, whole_weights
from mcmc.direct.discrete.log_pmf import TRIED, LogPmf
from mcmc.direct.discrete.window import MOST, Window, window
from mcmc.errors import SamplingError, WrongType, WrongValue

TOL, LEAST_TOL, MOST_TOL = 1e-12, 1e-15, 1e-2
ARRAYS, NUMBERS = ("table", "log_p", "below", "above"), ("first", "log_normalizer", "u_error")


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, init=False, eq=False)
class Discrete:
    r"""Independent draws from a law on integers, known up to a factor: P(k) = w_k / Σ w.

    `Discrete(log_weights)` has the values 0 ... n − 1; `Discrete.fit(log_pmf, support)` any integers. One setup on the
    host, then one look-up a draw in an alias table of whole numbers, whose law is that of the weights rounded to
    2⁻⁶³ of the whole. It is a pytree, may be a proposal of `mcmc.IndependentMetropolis`, and be sampled with
    `mcmc.sample`.

    Args:
        log_weights: (n,) log probabilities, unnormalised; −inf is never drawn.

    Attributes:
        log_normalizer: log Σ w.
        u_error: a bound on the mass outside the table, relative: 0 but for unbounded support.
        support: the first and the last value of the table.

    Raises:
        TypeError, ValueError: weights that are traced, not one-dimensional, NaN, +inf, or nowhere finite.

    Source: Walker 1977, An efficient method for generating discrete random variables with general distributions; made
    from prefix sums as in Hübschle-Schneider & Sanders 2022, Parallel weighted random sampling.

    Example:
        >>> import jax, mcmc
        >>> die = mcmc.Discrete([0.0] * 6)
        >>> rolls = die.sample(jax.random.key(0), (1000,))
        >>> int(rolls.min()), int(rolls.max())
        (0, 5)
    """

    table: Alias
    log_p: np.ndarray
    below: np.ndarray
    above: np.ndarray
    first: int
    log_normalizer: float
    u_error: float

    def __init__(self, log_weights: ArrayLike):
        self._set(_weights(log_weights), 0, 0.0, 0.0)

    def _set(self, log_weights: np.ndarray, first: int, top: float, u_error: float) -> None:
        most = log_weights.max()
        weights = np.exp(log_weights - most)
        p = weights / weights.sum()
        above = np.cumsum(p[::-1])[::-1]  # P(k or more)
        made = {
            "table": alias_table(whole_weights(p)),
            "log_p": log_weights - most - math.log(weights.sum()),
            "below": np.minimum(np.cumsum(p), 1.0),
            "above": np.append(np.minimum(above[1:], 1.0), 0.0),
            "first": first,
            "log_normalizer": float(top + most + math.log(weights.sum())),
            "u_error": u_error,
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    @staticmethod
    def fit(
        log_pmf: Callable[..., Any],
        support: tuple[float, float] = (0, math.inf),
        *,
        tol: float | None = None,
        params: tuple = (),
    ) -> Discrete:
        """The law of a log probability on the integers of a support; what lies outside the table is bounded.

        The mass beyond an end of the table is held under a geometric or a power law from there, which no point on the
        way to 2⁶² may exceed; it is at most tol.

        Args:
            log_pmf: log f(k, *params), unnormalised: elementwise, of float64 or int64 arrays, in JAX, NumPy or SciPy;
                or of one number, in JAX (`lax.cond`), or of a Python integer with branches and `math`. From some value
                on it falls on each side; values without mass may lie between.
            support: the first and the last value, either infinite.
            tol: the mass that may be left out, relative; None: 1e-12. Tails heavy as k⁻² need a larger one.
            params: more arguments of log_pmf, not traced ones.

        Raises:
            TypeError, ValueError: a bad argument. SamplingError: NaN or +inf, nowhere a finite value, or a tail that
                can't be bounded within 2²⁴ values, with its mass.

        Example:
            >>> import jax.numpy as jnp, mcmc
            >>> from jax.scipy.special import gammaln
            >>> s = mcmc.Discrete.fit(lambda k: k * jnp.log(3.0) - gammaln(k + 1))  # Poisson(3)
            >>> round(float(s.cdf(2)), 6)
            0.42319
        """
        low, high = _support(support)
        allowed = _tolerance(tol)
        density = LogPmf(*_function(log_pmf, params), _near(low, high))
        found = Window(int(low), int(high), 0.0, 0.0) if high - low < MOST else window(density, low, high, allowed)
        log_weights = _weights(density(np.arange(found.first, found.last + 1, dtype=np.float64)) - found.top)
        error = found.outside / float(np.exp(log_weights).sum()) if found.outside else 0.0
        if error > allowed:
            text = f"log_pmf: got a law with {error:.2g} of its mass beyond {found.first} to {found.last}"
            raise SamplingError(f"{text}; expected at most {allowed:.2g}. Allow a larger tol.")
        new = object.__new__(Discrete)
        new._set(log_weights, found.first, found.top, error)
        return new

    def tree_flatten(self) -> tuple[tuple, tuple]:
        """The arrays of the table, and the numbers beside it."""
        return tuple(getattr(self, n) for n in ARRAYS), tuple(getattr(self, n) for n in NUMBERS)

    @classmethod
    def tree_unflatten(cls, numbers: tuple, arrays: Iterable) -> Discrete:
        """The sampler of these, which may be traced."""
        new = object.__new__(cls)
        for name, value in zip((*ARRAYS, *NUMBERS), (*arrays, *numbers), strict=True):
            object.__setattr__(new, name, value)
        return new

    @property
    def support(self) -> tuple[int, int]:
        """The first and the last value of the table."""
        return self.first, self.first + len(self.log_p) - 1

    def sample(self, key: jax.Array, shape: tuple[int, ...] = (), dtype: DTypeLike | None = None) -> jax.Array:
        """Independent draws: int32, or int64 where values need it and 64 bits are on.

        Raises:
            ValueError: values that 32 bits can't hold, without 64 bits.
        """
        kind = jnp.dtype(dtype or (jnp.int32 if _fits(self.support) else jnp.int64))
        if not _fits(self.support) and kind.kind in "iu" and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
            remedy = "Draw within jax.enable_x64(True)."
            raise WrongValue("dtype", f"values up to {self.support[1]:,} in 32 bits", "64 bits", remedy)
        drawn = self.table.draw(key, (shape,) if isinstance(shape, int) else tuple(shape))
        return drawn if kind == jnp.int32 and self.first == 0 else drawn.astype(kind) + np.asarray(self.first, kind)

    def log_prob(self, x: ArrayLike) -> jax.Array:
        """The log probability of values; −inf outside the table and between integers."""
        k, whole, inside = self._index(x)
        return jnp.where(whole & inside, _as_float(self.log_p)[k], -jnp.inf)

    def cdf(self, x: ArrayLike) -> jax.Array:
        """P(X ≤ x)."""
        k, _, inside = self._index(x)
        low, nan = jnp.asarray(x) < self.first, jnp.isnan(jnp.asarray(x, float))
        return jnp.where(nan, jnp.nan, jnp.where(inside, _as_float(self.below)[k], jnp.where(low, 0.0, 1.0)))

    def sf(self, x: ArrayLike) -> jax.Array:
        """P(X > x), exact where it is small."""
        k, _, inside = self._index(x)
        low, nan = jnp.asarray(x) < self.first, jnp.isnan(jnp.asarray(x, float))
        return jnp.where(nan, jnp.nan, jnp.where(inside, _as_float(self.above)[k], jnp.where(low, 1.0, 0.0)))

    def icdf(self, u: ArrayLike) -> jax.Array:
        """The least value k with P(X ≤ k) ≥ u, as a float; NaN where u is not in [0, 1]."""
        u = jnp.asarray(u, float)
        positive = jnp.isfinite(jnp.asarray(self.log_p))
        ends = jnp.argmax(positive), positive.size - 1 - jnp.argmax(positive[::-1])
        k = jnp.clip(jnp.searchsorted(_as_float(self.below), u), *ends)
        value = k.astype(u.dtype) + jnp.asarray(float(self.first), u.dtype)
        return jnp.where((u >= 0) & (u <= 1), value, jnp.nan)

    def _index(self, x: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The place in the table of floor(x), whether x is whole, and whether it is in the table."""
        x = jnp.asarray(x)
        at = jnp.floor(x) if jnp.issubdtype(x.dtype, jnp.floating) else x
        first, last = self.support
        inside = (at >= first) & (at <= last)
        k = (jnp.where(inside, at, first) - first).astype(jnp.int32)
        return k, at == x, inside


# --- helpers ----------------------------------------------------------------------------------------------


def _as_float(x: Any) -> jax.Array:
    return jnp.asarray(x, jnp.result_type(float))


def _fits(support: tuple[int, int]) -> bool:
    info = np.iinfo(np.int32)
    return support[0] >= info.min and support[1] <= info.max


def _weights(log_weights: Any) -> np.ndarray:
    if isinstance(log_weights, Tracer):
        remedy = "Make it outside of jit, or use mcmc.categorical.sample(key, log_weights)."
        raise WrongType("log_weights", "a traced array", "numbers that are known", remedy)
    x = np.asarray(log_weights, np.float64)
    if x.ndim != 1 or not x.size:
        raise WrongValue("log_weights", f"shape {x.shape}", "shape (n,)", "Give one log weight a value.")
    if np.isnan(x).any() or (x == np.inf).any():
        k = int(np.flatnonzero(np.isnan(x) | (x == np.inf))[0])
        raise WrongValue(f"log_weights[{k}]", float(x[k]), "a finite number, or -inf", "Check it there.")
    if not np.isfinite(x).any():
        raise WrongValue("log_weights", "-inf throughout", "a finite one", "Give some value a weight.")
    return x


def _support(support: Any) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in support)
    except (TypeError, ValueError):
        raise WrongType("support", support, "a pair (first, last)", "Write (0, math.inf).") from None
    bounded = [end for end in (low, high) if math.isfinite(end)]
    if not low <= high or low == math.inf or high == -math.inf or any(end != int(end) for end in bounded):
        raise WrongValue("support", (low, high), "whole numbers in order, or infinite", "Put the first one first.")
    return low, high


def _tolerance(tol: Any) -> float:
    tol = TOL if tol is None else tol
    if isinstance(tol, bool) or not isinstance(tol, int | float) or not LEAST_TOL <= tol <= MOST_TOL:
        raise WrongValue("tol", tol, f"a number from {LEAST_TOL} to {MOST_TOL}", "Leave it out for 1e-12.")
    return float(tol)


def _function(log_pmf: Any, params: Any) -> tuple[Callable, tuple]:
    """The function and its parameters, as they are given to it."""
    if not callable(log_pmf):
        raise WrongType("log_pmf", log_pmf, "a function of k", "Give log f(k).")
    if not isinstance(params, tuple | list):
        raise WrongType("params", params, "a tuple of arguments", "Write params=(a,) for one parameter a.")
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
        remedy = "Fit outside of jit, or use mcmc.categorical.sample(key, log_weights)."
        raise WrongType("params", "traced arrays", "numbers that are known", remedy)
    return log_pmf, tuple(np.asarray(p) if isinstance(p, jax.Array) else p for p in params)


def _near(low: float, high: float) -> np.ndarray:
    """Some values of the support, in order: the first or the last ones."""
    first = low if math.isfinite(low) else high - TRIED + 1 if math.isfinite(high) else 0.0
    at = first + np.arange(TRIED)
    return at[at <= high]

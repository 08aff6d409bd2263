"""The arguments of `InverseCDF`, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import SamplingError, WrongType, WrongValue

TOL, LEAST_TOL, MOST_TOL = 1e-10, 1e-12, 1e-2


def as_float(x: Any) -> jax.Array:
    """An array of a floating type."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def hashable(function: Callable) -> Callable:
    """The function, in what can name a compiled program."""
    return function if isinstance(function, Hashable) else partial(function)


def check_dtype(dtype: Any) -> Any:
    """float32 or float64."""
    dtype = jnp.dtype(dtype or jnp.result_type(float))
    if dtype not in (jnp.float32, jnp.float64):
        raise WrongValue("dtype", str(dtype), '"float32" or "float64"', "Convert the draws afterwards.")
    return dtype


def check_support(support: Any) -> tuple[float, float]:
    """Two numbers in order, as floats."""
    try:
        lo, hi = (float(end) for end in support)
    except (TypeError, ValueError, jax.errors.ConcretizationTypeError):
        remedy = "Give numbers, math.inf among them; scale x where an end is to be a parameter."
        raise WrongType("support", support, "a pair of numbers (lo, hi)", remedy) from None
    if not lo < hi or lo == math.inf or hi == -math.inf:
        raise WrongValue("support", (lo, hi), "lo < hi, neither NaN", "Put the lower end first.")
    return lo, hi


def within(interval: Any, support: tuple[float, float]) -> tuple[float, float]:
    """The ends of what an interval and a support have in common."""
    low, high = check_support(interval)
    ends = max(low, support[0]), min(high, support[1])
    if not ends[0] < ends[1]:
        remedy = "Give an interval that has points in common with it."
        raise WrongValue("low, high", (low, high), f"two ends around a part of the support {support}", remedy)
    return ends


def no_mass(low: float, high: float) -> NoReturn:
    """An error: a law can't be truncated to where it is 0."""
    raise SamplingError(f"truncated: got no mass between {low:g} and {high:g}; expected some. Give a wider interval.")


def check_breaks(breaks: Any, support: tuple[float, float]) -> tuple[float, ...]:
    """Points inside the support, in order."""
    try:
        points = tuple(sorted(float(b) for b in np.atleast_1d(np.asarray(breaks, float))))
    except (TypeError, ValueError):
        raise WrongType("breaks", breaks, "a tuple of numbers", "Give points inside the support.") from None
    if not all(support[0] < b < support[1] for b in points):
        raise WrongValue("breaks", points, f"points inside {support}", "Leave out the ends and what is outside.")
    return points


def check_tol(tol: Any) -> float:
    """The largest u-error allowed; None: 1e-10."""
    if tol is None:
        return TOL
    if not isinstance(tol, int | float) or not LEAST_TOL <= tol <= MOST_TOL:
        raise WrongValue("tol", tol, f"a number from {LEAST_TOL:g} to {MOST_TOL:g}", "Leave it out for 1e-10.")
    return float(tol)

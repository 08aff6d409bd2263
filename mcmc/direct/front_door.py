"""Functions of one number as people have them: in JAX, in NumPy or SciPy, or with branches and `math`, for one number.

What JAX can't trace is evaluated on the host, in float64: where values are known at once, in compiled code by a call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import WrongType, WrongValue
from mcmc.target.host_call import call_host
from mcmc.user_code import explained

TRIED = 3  # points of the trial


class HostFunction:
    """A function of NumPy arrays that compiled programs can call, elementwise; `host` is the function itself.

    It is called inside the support only, an open interval.
    """

    def __init__(self, function: Callable, elementwise: bool, support: tuple[float, float]):
        self.function, self.elementwise = function, elementwise
        self.ends = np.nextafter(support[0], np.inf), np.nextafter(support[1], -np.inf)

    def host(self, x: np.ndarray) -> np.ndarray:
        """Its values at an array of points, float64."""
        x = np.clip(np.asarray(x, np.float64), *self.ends)
        with np.errstate(all="ignore"):
            if self.elementwise:
                return np.array(self.function(x), np.float64)
            return np.array([one_number(self.function, v) for v in x.ravel().tolist()]).reshape(x.shape)

    def __call__(self, x: Any) -> jax.Array:
        """The same for JAX, in compiled code too."""
        x = jnp.asarray(x)
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))
        made = (jax.ShapeDtypeStruct(x.shape, x.dtype),)
        return call_host(lambda x: (self.host(x).astype(x.dtype),), made, x)[0]


def as_given(
    argument: str,
    function: Callable,
    params: tuple,
    points: np.ndarray,
    support: tuple[float, float],
    scalar: bool,
) -> tuple[Callable, tuple]:
    """The function and its parameters, where JAX can trace it; else a `HostFunction` that holds them, and none.

    Args:
        argument: its name in messages.
        function: of x and the parameters, which are known.
        params: the parameters.
        points: where it may be tried, inside its support.
        support: its ends.
        scalar: whether JAX's version is to take one number, or an array.

    Raises:
        ValueError: a result of another shape than the points'. TypeError: neither JAX nor NumPy nor Python takes it.
    """
    if isinstance(function, HostFunction) or hasattr(function, "host"):
        return function, params
    points = np.asarray(points, np.float64)[:TRIED]
    try:
        jax.eval_shape(
            lambda x: function(x, *params),
            jax.ShapeDtypeStruct(() if scalar else (len(points),), jnp.result_type(float)),
        )
    except Exception as error:
        if explained(argument, error, function, "InverseCDF") is None and not isinstance(error, TypeError | ValueError):
            raise
        if not scalar and _traces_numbers(function, params):
            return partial(_mapped, function), params
        known = tuple(np.asarray(p) if isinstance(p, jax.Array) else p for p in params)
        bound = partial(_bound, function, known) if known else function
        return HostFunction(bound, _takes_arrays(argument, bound, points, error), support), ()
    return function, params


def _traces_numbers(function: Callable, params: tuple) -> bool:
    """Whether JAX traces the function of one number: with `lax.cond`, say."""
    try:
        one = jax.ShapeDtypeStruct((), jnp.result_type(float))
        return jax.eval_shape(lambda x: function(x, *params), one).shape == ()
    except Exception:
        return False


def _mapped(function: Callable, x: Any, *params: Any) -> jax.Array:
    x = jnp.asarray(x)
    return jax.vmap(lambda one: function(one, *params))(x.ravel()).reshape(x.shape)


def _bound(function: Callable, params: tuple, x: Any) -> Any:
    return function(x, *params)


def _takes_arrays(argument: str, function: Callable, points: np.ndarray, traced: Exception) -> bool:
    """Whether a function that JAX can't trace takes arrays; if not, it must take numbers."""
    try:
        with np.errstate(all="ignore"):
            given = np.array(function(points.copy()), np.float64)
    except (TypeError, ValueError):
        try:
            for v in points.tolist():
                one_number(function, v)
        except (TypeError, ValueError):
            raise traced from None
        return False
    if given.shape != points.shape:
        remedy = "Write it elementwise: an array of points in, an array of that shape out."
        raise WrongValue(argument, f"shape {given.shape} for {points.shape}", "the points' shape", remedy)
    return True


def one_number(function: Callable, x: float, argument: str = "log_density") -> float:
    """The value at one number; NaN where Python's arithmetic ends, as NumPy has it."""
    try:
        value = function(x)
        if value is None or isinstance(value, str | complex | np.complexfloating):
            raise WrongType(argument, f"{value!r} at {x!r}", "a real number", "Return the logarithm.")
        return float(value)
    except ArithmeticError:
        return float("nan")
    except ValueError as error:
        if str(error).startswith(("math ", "expected a ")):  # a domain or a range error, as Python's version has it
            return float("nan")
        raise

"""Bijectors of scalars, integers and unit vectors: to the constrained value and back, with the log-Jacobian.

The constructors that users call, with their checks and equations, are in `support.py`.
"""

import math
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from mcmc.errors import WrongValue
from mcmc.target.branches import same_either_way

type Params = Mapping[str, Any]
type Bound = float | tuple | Callable[[Params], ArrayLike] | None
type Shape = int | Iterable[int] | None
_RADIUS_SD = 0.3  # of the log radius, in which a direction is embedded
INT32_MAX = 2**31 - 1


# --- the interface ------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Support:
    """What supports share: shapes, checks and repr; each gives `_forward`, `_inverse` and `_holds`."""

    shape: tuple[int, ...] = ()

    name: ClassVar[str] = "support"
    discrete: ClassVar[bool] = False
    reach: ClassVar[str] = ""  # "bounded" or "circular", which draws keep as their attribute `support`
    event: ClassVar[int] = 0  # how many trailing axes of `shape` make up one value

    @property
    def k(self) -> int:
        """The length of the last axis."""
        return self.shape[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        """The leading axes, over which values repeat."""
        return self.shape[: len(self.shape) - self.event]

    @property
    def position_shape(self) -> tuple[int, ...]:
        """The shape of the unconstrained array."""
        return self.shape

    @property
    def size(self) -> int:
        """How many unconstrained numbers there are."""
        return math.prod(self.position_shape)

    def constrain(self, y: ArrayLike, p: Params | None = None) -> tuple[Array, Array]:
        """Map a position to a value; return it with the scalar log-Jacobian."""
        x, terms = self._forward(_floating(y, self.position_shape, f"{self}.constrain: y"), p or {})
        return x, jnp.sum(terms)

    def unconstrain(self, x: ArrayLike, p: Params | None = None) -> Array:
        """Map a value back to its position; off the support the result means nothing."""
        return self._inverse(_floating(x, self.shape, f"{self}.unconstrain: x"), p or {})

    def contains(self, x: ArrayLike, p: Params | None = None) -> Array:
        """Whether all of x lies in the interior of the support: a scalar boolean."""
        return jnp.all(self._holds(_floating(x, self.shape, f"{self}.contains: x"), p or {}))

    def restore(self, x: Any) -> Any:
        """Cast a constrained value to the dtype it has by nature; NumPy arrays stay NumPy arrays."""
        return x

    def _forward(self, y: Array, p: Params) -> tuple[Array, Array]:
        return y, jnp.zeros_like(y)

    def _inverse(self, x: Array, p: Params) -> Array:
        return x

    def _holds(self, x: Array, p: Params) -> Array:
        return jnp.isfinite(x)

    def _arguments(self) -> list[str]:
        return [repr(self.k)] if self.event else []

    def __repr__(self) -> str:
        shape = [f"shape={self.batch}"] if self.batch else []
        return f"{self.name}({', '.join(self._arguments() + shape)})"


def _floating(value: ArrayLike, shape: tuple[int, ...], where: str) -> Array:
    value = jnp.asarray(value)
    if value.shape != shape:
        raise WrongValue.told("parameters", f"{where} must have shape {shape}, got {value.shape}.")
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.result_type(float))


class Real(Support):
    """All real numbers; see `real`."""

    name = "real"


# --- numbers with bounds ------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Bounded(Support):
    """What the supports with ends share; a bound that is None is absent."""

    a: Bound = None
    b: Bound = None

    def _end(self, end: str, p: Params, dtype: Any) -> Array:
        value = getattr(self, end)
        if callable(value):
            try:
                value = value(p)
            except KeyError as error:
                raise WrongValue.told(
                    "parameters",
                    f"{self}: the function for {end} asks for parameter {error}, but the parameters before "
                    f"this one are {sorted(p)}. List that parameter earlier.",
                ) from error
        value = jnp.asarray(value if isinstance(value, Array) else np.asarray(value), dtype)
        if together(value.shape, self.shape) != self.shape:
            raise WrongValue.told(
                "parameters", f"{self}: {end} must broadcast to shape {self.shape}, got shape {value.shape}."
            )
        return jnp.broadcast_to(value, self.shape)

    def _arguments(self) -> list[str]:
        return [show(bound) for bound in (self.a, self.b) if bound is not None]


def together(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape to which these broadcast, or None."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def show(bound: Bound) -> str:
    """A bound as text: a function by its name."""
    return getattr(bound, "__name__", repr(bound)) if callable(bound) else reprlib.repr(bound)


def _off(x: Array, end: Array, inward: int) -> Array:
    """Move an x that was rounded to a nonzero end one last place inward, keeping its gradient."""
    fixed = lax.stop_gradient(end)
    gap = inward * jnp.abs(jnp.nextafter(fixed, jnp.full_like(fixed, inward * jnp.inf)) - fixed)
    return x + lax.stop_gradient(jnp.where((x == end) & (end != 0), gap, jnp.zeros_like(x)))


class Lower(Bounded):
    """Numbers above a; see `lower`."""

    name = "lower"

    def _forward(self, y, p):
        a = _finite(self._end("a", p, y.dtype))
        return _off(a + jnp.exp(y), a, 1), jnp.where(jnp.isnan(a), jnp.nan, y)

    def _inverse(self, x, p):
        return jnp.log(x - self._end("a", p, x.dtype))

    def _holds(self, x, p):
        return jnp.isfinite(x) & (x > _finite(self._end("a", p, x.dtype)))


class Positive(Lower):
    """Numbers above zero; see `positive`."""

    name = "positive"

    def _forward(self, y, p):
        return jnp.exp(y), y

    def _arguments(self):
        return []


class Upper(Bounded):
    """Numbers below b; see `upper`."""

    name = "upper"

    def _forward(self, y, p):
        b = _finite(self._end("b", p, y.dtype))
        return _off(b - jnp.exp(y), b, -1), jnp.where(jnp.isnan(b), jnp.nan, y)

    def _inverse(self, x, p):
        return jnp.log(self._end("b", p, x.dtype) - x)

    def _holds(self, x, p):
        return jnp.isfinite(x) & (x < _finite(self._end("b", p, x.dtype)))


class Interval(Bounded):
    """Numbers between a and b; see `interval`."""

    name = "interval"
    reach = "bounded"

    def _forward(self, y, p):
        a, b = self._end("a", p, y.dtype), self._end("b", p, y.dtype)
        width = jnp.where(b > a, _finite(b - a), jnp.nan)
        x = same_either_way(y < 0, a + width * jax.nn.sigmoid(y), b - width * jax.nn.sigmoid(-y))
        return _off(_off(x, a, 1), b, -1), jnp.log(width) - jax.nn.softplus(y) - jax.nn.softplus(-y)

    def _inverse(self, x, p):
        return jnp.log(x - self._end("a", p, x.dtype)) - jnp.log(self._end("b", p, x.dtype) - x)

    def _holds(self, x, p):
        a, b = self._end("a", p, x.dtype), self._end("b", p, x.dtype)
        return jnp.isfinite(b - a) & (x > a) & (x < b)


def _finite(x: Array) -> Array:
    """NaN in place of an infinity, so that everything computed from it is NaN."""
    return jnp.where(jnp.isfinite(x), x, jnp.nan)


# --- discrete values ----------------------------------------------------------------------------------


class Integer(Bounded):
    """Whole numbers from a to b, both included; see `integer`."""

    name = "integer"
    discrete = True

    def _range(self, p: Params, dtype: Any) -> tuple[Array, Array]:
        largest = min(2 ** (jnp.finfo(dtype).nmant + 1), INT32_MAX)  # beyond it floats skip integers, or int32 ends
        for bound in (self.a, self.b):
            if bound is not None and not callable(bound) and np.any(np.abs(np.asarray(bound)) > largest):
                raise WrongValue.told(
                    "parameters",
                    f"{self}: a and b must lie within ±{largest}, as far as {jnp.dtype(dtype).name} counts "
                    "exactly. Use float64, or count from another origin.",
                )
        limit = jnp.full(self.shape, largest, dtype)
        a = -limit if self.a is None else jnp.maximum(jnp.ceil(_finite(self._end("a", p, dtype))), -limit)
        b = limit if self.b is None else jnp.minimum(jnp.floor(_finite(self._end("b", p, dtype))), limit)
        return a, b

    def _forward(self, y, p):
        a, b = self._range(p, y.dtype)
        x = jnp.round(y)
        value = jnp.nan_to_num(jnp.clip(x, a, b)).astype(jnp.int32)
        return value, jnp.where((x >= a) & (x <= b), jnp.zeros_like(y), -jnp.inf)

    def _holds(self, x, p):
        a, b = self._range(p, x.dtype)
        return (x == jnp.round(x)) & (x >= a) & (x <= b)

    def restore(self, x):
        """The nearest whole numbers, as int32."""
        return (jnp if isinstance(x, Array) else np).round(x).astype(np.int32)

    def _arguments(self):
        shown = [show(self.a), show(self.b)]
        return shown if self.b is not None else shown[:1] if self.a is not None else []


class Boolean(Support):
    """True or False; see `boolean`."""

    name = "boolean"
    discrete = True

    def _forward(self, y, p):
        x = jnp.round(y)
        return x > 0, jnp.where((x == 0) | (x == 1), jnp.zeros_like(y), -jnp.inf)

    def _holds(self, x, p):
        return (x == 0) | (x == 1)

    def restore(self, x):
        """The nearest of 0 and 1, as booleans."""
        return (x if isinstance(x, Array) else np.asarray(x)) > 0.5


# --- directions ---------------------------------------------------------------------------------------


def _direction(y: Array) -> tuple[Array, Array]:
    """The direction of y, and log f(r) - (k - 1) log r; at the origin, some direction and -inf."""
    k = y.shape[-1]
    origin = jnp.all(y == 0, axis=-1, keepdims=True)
    safe = jnp.where(origin, jnp.ones_like(y), y)
    scale = lax.stop_gradient(jnp.max(jnp.abs(safe), axis=-1, keepdims=True))  # so that no square leaves the range
    norm = jnp.sqrt(jnp.sum((safe / scale) ** 2, axis=-1, keepdims=True))
    log_r = jnp.log(scale) + jnp.log(norm)
    constant = math.log(_RADIUS_SD * math.sqrt(2 * math.pi))
    log_law = -k * log_r - 0.5 * (log_r / _RADIUS_SD) ** 2 - constant
    return safe / scale / norm, jnp.where(origin, -jnp.inf, log_law)[..., 0]


class UnitVector(Support):
    """Directions in k dimensions; see `unit_vector`."""

    name = "unit_vector"
    reach = "bounded"
    event = 1

    def _forward(self, y, p):
        return _direction(y)

    def _holds(self, x, p):
        return close(jnp.sum(x * x, axis=-1), 1)


class Circular(Support):
    """Angles; see `circular`."""

    name = "circular"
    reach = "circular"

    @property
    def position_shape(self):
        """The shape of the unconstrained array: points of the plane."""
        return (*self.shape, 2)

    def _forward(self, y, p):
        unit, log_law = _direction(y)
        angle = jnp.arctan2(unit[..., 1], unit[..., 0])
        return same_either_way(angle >= math.pi, angle - 2 * math.pi, angle), log_law

    def _inverse(self, x, p):
        return jnp.stack([jnp.cos(x), jnp.sin(x)], axis=-1)

    def _holds(self, x, p):
        return (x >= -math.pi) & (x < math.pi)


def close(x: Array, to: ArrayLike, scale: ArrayLike = 1) -> Array:
    """Whether equal but for rounding: half the digits of the dtype."""
    return jnp.abs(x - to) <= scale * math.sqrt(float(jnp.finfo(x.dtype).eps))

r"""Supports: where a parameter lives, as a bijector from unconstrained space with its log-Jacobian.

A support is a small frozen description, hashable and free of arrays. All of them answer to

- `shape`, `position_shape`, `size`: of the constrained array, the unconstrained one, its number of entries;
- `discrete`: whether the values are integers or booleans, kept as exact floats in a position;
- `constrain(y, p) -> (x, log_jacobian)`: from a position to a value, with the scalar log|det dx/dy| for the
  free coordinates of x (Stan's conventions), summed over the batch; p holds the parameters before this one;
- `unconstrain(x, p) -> y`: the inverse;  `contains(x, p)`: whether x lies in the interior;
- `restore(x)`: x in its own dtype (int32, bool; floats as they are).

All are traceable and keep the dtype of y. A density p(x) becomes p(x(y)) exp(log_jacobian) in y.
"""

import math
import operator
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

type Params = Mapping[str, Any]
type Bound = float | tuple | Callable[[Params], ArrayLike] | None
type Shape = int | Iterable[int] | None
_RADIUS_SD = 0.3  # of the log radius, in which a direction is embedded
_INT32_MAX = 2**31 - 1


# --- the interface ------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Support:
    """What supports share: shapes, checks and repr; each gives `_forward`, `_inverse` and `_holds`."""

    shape: tuple[int, ...] = ()

    name: ClassVar[str] = "support"
    discrete: ClassVar[bool] = False
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
        raise ValueError(f"{where} must have shape {shape}, got {value.shape}.")
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
                raise ValueError(
                    f"{self}: the function for {end} asks for parameter {error}, but the parameters before "
                    f"this one are {sorted(p)}. List that parameter earlier."
                ) from error
        value = jnp.asarray(value if isinstance(value, Array) else np.asarray(value), dtype)
        if _together(value.shape, self.shape) != self.shape:
            raise ValueError(f"{self}: {end} must broadcast to shape {self.shape}, got shape {value.shape}.")
        return jnp.broadcast_to(value, self.shape)

    def _arguments(self) -> list[str]:
        return [_show(bound) for bound in (self.a, self.b) if bound is not None]


def _together(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape to which these broadcast, or None."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _show(bound: Bound) -> str:
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

    def _forward(self, y, p):
        a, b = self._end("a", p, y.dtype), self._end("b", p, y.dtype)
        width = jnp.where(b > a, _finite(b - a), jnp.nan)
        x = jnp.where(y < 0, a + width * jax.nn.sigmoid(y), b - width * jax.nn.sigmoid(-y))
        return _off(_off(x, a, 1), b, -1), jnp.log(width) - jax.nn.softplus(y) - jax.nn.softplus(-y)

    def _inverse(self, x, p):
        return jnp.log(x - self._end("a", p, x.dtype)) - jnp.log(self._end("b", p, x.dtype) - x)

    def _holds(self, x, p):
        a, b = self._end("a", p, x.dtype), self._end("b", p, x.dtype)
        return jnp.isfinite(b - a) & (x > a) & (x < b)


def _finite(x: Array) -> Array:
    """NaN in place of an infinity, so that nothing computed from it looks right."""
    return jnp.where(jnp.isfinite(x), x, jnp.nan)


# --- discrete values ----------------------------------------------------------------------------------


class Integer(Bounded):
    """Whole numbers from a to b, both included; see `integer`."""

    name = "integer"
    discrete = True

    def _range(self, p: Params, dtype: Any) -> tuple[Array, Array]:
        largest = min(2 ** (jnp.finfo(dtype).nmant + 1), _INT32_MAX)  # beyond it floats skip integers, or int32 ends
        for bound in (self.a, self.b):
            if bound is not None and not callable(bound) and np.any(np.abs(np.asarray(bound)) > largest):
                raise ValueError(
                    f"{self}: a and b must lie within ±{largest}, as far as {jnp.dtype(dtype).name} counts "
                    "exactly. Use float64, or count from another origin."
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
        shown = [_show(self.a), _show(self.b)]
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
    event = 1

    def _forward(self, y, p):
        return _direction(y)

    def _holds(self, x, p):
        return _close(jnp.sum(x * x, axis=-1), 1)


class Circular(Support):
    """Angles; see `circular`."""

    name = "circular"

    @property
    def position_shape(self):
        """The shape of the unconstrained array: points of the plane."""
        return (*self.shape, 2)

    def _forward(self, y, p):
        unit, log_law = _direction(y)
        angle = jnp.arctan2(unit[..., 1], unit[..., 0])
        return jnp.where(angle >= math.pi, angle - 2 * math.pi, angle), log_law

    def _inverse(self, x, p):
        return jnp.stack([jnp.cos(x), jnp.sin(x)], axis=-1)

    def _holds(self, x, p):
        return (x >= -math.pi) & (x < math.pi)


# --- vectors ------------------------------------------------------------------------------------------


class Ordered(Support):
    """Increasing vectors; see `ordered`."""

    name = "ordered"
    event = 1

    def _forward(self, y, p):
        steps = jnp.concatenate([y[..., :1], jnp.exp(y[..., 1:])], axis=-1)
        return jnp.cumsum(steps, axis=-1), y[..., 1:]

    def _inverse(self, x, p):
        return jnp.concatenate([x[..., :1], jnp.log(jnp.diff(x, axis=-1))], axis=-1)

    def _holds(self, x, p):
        return jnp.all(jnp.isfinite(x), axis=-1) & jnp.all(x[..., 1:] > x[..., :-1], axis=-1)


class PositiveOrdered(Ordered):
    """Increasing vectors of positive numbers; see `positive_ordered`."""

    name = "positive_ordered"

    def _forward(self, y, p):
        return jnp.cumsum(jnp.exp(y), axis=-1), y

    def _inverse(self, x, p):
        return jnp.log(jnp.diff(x, axis=-1, prepend=jnp.zeros_like(x[..., :1])))

    def _holds(self, x, p):
        return super()._holds(x, p) & (x[..., 0] > 0)


class Simplex(Support):
    """Vectors of k positive numbers that sum to one; see `simplex`."""

    name = "simplex"
    event = 1

    @property
    def position_shape(self):
        """The shape of the unconstrained array: one entry fewer in the last axis."""
        return (*self.batch, self.k - 1)

    def _basis(self, dtype: Any) -> tuple[Array, Array]:  # column j of Helmert's V: j times 1/norm, then -j/norm
        j = np.arange(1.0, self.k)
        return jnp.asarray(j, dtype), jnp.asarray(np.sqrt(j * (j + 1)), dtype)

    def _forward(self, y, p):
        j, norm = self._basis(y.dtype)
        after = lax.cumsum(y / norm, axis=y.ndim - 1, reverse=True)
        zero = jnp.zeros_like(y[..., :1])
        logits = jnp.concatenate([after, zero], -1) - jnp.concatenate([zero, y * (j / norm)], -1)
        log_x = jax.nn.log_softmax(logits, axis=-1)
        return jax.nn.softmax(logits, axis=-1), jnp.sum(log_x, axis=-1) + 0.5 * math.log(self.k)

    def _inverse(self, x, p):
        j, norm = self._basis(x.dtype)
        log_x = jnp.log(x)
        return (jnp.cumsum(log_x, axis=-1)[..., :-1] - j * log_x[..., 1:]) / norm

    def _holds(self, x, p):
        return jnp.all(x > 0, axis=-1) & _close(jnp.sum(x, axis=-1), 1)


def _close(x: Array, to: ArrayLike, scale: ArrayLike = 1) -> Array:
    return jnp.abs(x - to) <= scale * math.sqrt(float(jnp.finfo(x.dtype).eps))


# --- matrices -----------------------------------------------------------------------------------------


class CholeskyFactorCorr(Support):
    """Cholesky factors of correlation matrices; see `cholesky_factor_corr`."""

    name = "cholesky_factor_corr"
    event = 2

    @property
    def position_shape(self):
        """The shape of the unconstrained array: the strictly lower triangle, row by row."""
        return (*self.batch, self.k * (self.k - 1) // 2)

    def _factor(self, y: Array) -> tuple[Array, Array, Array]:
        """The factor, the log of its diagonal, and log|det dL/dy|."""
        below = jnp.asarray(np.tri(self.k, k=-1, dtype=bool))
        y = _lower_triangle(y, self.k, -1)
        log_rest = 2 * (math.log(2) - jnp.logaddexp(y, -y))  # log(1 - z^2) of z = tanh(y), zero off the triangle
        log_rest = jnp.where(below, log_rest, 0)
        log_room = 0.5 * (jnp.cumsum(log_rest, axis=-1) - log_rest)  # of what earlier columns leave of a row's norm
        log_diagonal = jnp.diagonal(log_room, axis1=-2, axis2=-1)
        eye = jnp.asarray(np.eye(self.k, dtype=bool))
        factor = jnp.where(eye, 1, jnp.tanh(y)) * jnp.exp(log_room)
        return factor, log_diagonal, jnp.sum(jnp.where(below, log_rest + log_room, 0), axis=(-2, -1))

    def _forward(self, y, p):
        factor, _, log_jacobian = self._factor(y)
        return factor, log_jacobian

    def _inverse(self, x, p):
        right = lax.cumsum(x * x, axis=x.ndim - 1, reverse=True)  # the room left, without a cancellation
        rows, columns = np.tril_indices(self.k, -1)
        return jnp.arcsinh(x[..., rows, columns] / jnp.sqrt(right[..., rows, columns + 1]))

    def _holds(self, x, p):
        triangular = jnp.all(jnp.triu(x, 1) == 0, axis=(-2, -1))
        diagonal = jnp.diagonal(x, axis1=-2, axis2=-1)
        return triangular & jnp.all(_close(jnp.sum(x * x, axis=-1), 1) & (diagonal > 0), axis=-1)


class CorrMatrix(CholeskyFactorCorr):
    """Correlation matrices; see `corr_matrix`."""

    name = "corr_matrix"

    def _forward(self, y, p):
        factor, log_diagonal, log_jacobian = self._factor(y)
        powers = jnp.arange(self.k - 1, -1, -1, dtype=y.dtype)
        eye = jnp.asarray(np.eye(self.k, dtype=bool))
        return jnp.where(eye, 1, _gram(factor)), log_jacobian + jnp.sum(powers * log_diagonal, axis=-1)

    def _inverse(self, x, p):
        return super()._inverse(jnp.linalg.cholesky(x), p)

    def _holds(self, x, p):
        return _positive_definite(x) & jnp.all(_close(jnp.diagonal(x, axis1=-2, axis2=-1), 1), axis=-1)


class CovMatrix(Support):
    """Covariance matrices; see `cov_matrix`."""

    name = "cov_matrix"
    event = 2

    @property
    def position_shape(self):
        """The shape of the unconstrained array: the lower triangle, row by row."""
        return (*self.batch, self.k * (self.k + 1) // 2)

    def _forward(self, y, p):
        log_diagonal = y[..., np.cumsum(np.arange(1, self.k + 1)) - 1]
        eye = jnp.asarray(np.eye(self.k, dtype=bool))
        factor = jnp.where(eye, jnp.exp(log_diagonal)[..., None], _lower_triangle(y, self.k, 0))
        powers = jnp.arange(self.k + 1, 1, -1, dtype=y.dtype)
        return _gram(factor), jnp.sum(math.log(2) + powers * log_diagonal, axis=-1)

    def _inverse(self, x, p):
        factor = jnp.linalg.cholesky(x)
        rows, columns = np.tril_indices(self.k)
        diagonal = jnp.where(rows == columns, factor[..., rows, columns], 1)
        return jnp.where(rows == columns, jnp.log(diagonal), factor[..., rows, columns])

    def _holds(self, x, p):
        return _positive_definite(x)


def _lower_triangle(y: Array, k: int, offset: int) -> Array:
    """Rows of a lower triangle (below the diagonal for offset -1) as a matrix with zeros elsewhere."""
    return jnp.zeros((*y.shape[:-1], k, k), y.dtype).at[(..., *np.tril_indices(k, offset))].set(y)


def _gram(factor: Array) -> Array:
    product = jnp.matmul(factor, jnp.swapaxes(factor, -1, -2), precision="highest")
    return 0.5 * (product + jnp.swapaxes(product, -1, -2))


def _positive_definite(x: Array) -> Array:
    scale = jnp.max(jnp.abs(x), axis=(-2, -1), keepdims=True)
    symmetric = jnp.all(_close(x, jnp.swapaxes(x, -1, -2), scale), axis=(-2, -1))
    diagonal = jnp.diagonal(jnp.linalg.cholesky(x), axis1=-2, axis2=-1)
    return symmetric & jnp.all(jnp.isfinite(diagonal) & (diagonal > 0), axis=-1)


# --- checks at construction ---------------------------------------------------------------------------


def _size(name: str, argument: str, value: Any, least: int, remedy: str) -> int:
    expected = f"{name}: {argument} must be a whole number, at least {least}; got {value!r}. {remedy}"
    try:
        size = operator.index(value)
    except TypeError:
        raise TypeError(expected) from None
    if isinstance(value, bool):
        raise TypeError(expected)
    if size < least:
        raise ValueError(expected)
    return size


def _sizes(name: str, positional: tuple, shape: Shape) -> tuple[int, ...]:
    if positional and shape is not None:
        raise ValueError(
            f"{name}: the shape was given twice, as {positional} and as shape={shape!r}. Keep one of the two."
        )
    sizes = positional if shape is None else shape if isinstance(shape, Iterable) else (shape,)
    return tuple(_size(name, "each size in shape", n, 1, "Write the sizes as in shape=(3, 2).") for n in sizes)


def _bound(name: str, argument: str, value: Any, instead: str) -> np.ndarray | Callable:
    if callable(value):
        return value
    try:
        array = np.asarray(value)
        unusable = array.dtype.kind in "bcOSUmM"
        array = array if unusable or name == "integer" else array.astype(np.float64)
    except (TypeError, ValueError):
        unusable, array = True, np.zeros(())
    if unusable:
        raise TypeError(
            f"{name}: {argument} must be a number, an array known at construction, or a function of the "
            f"parameters before this one; got {value!r}. For no bound, use {instead}."
        )
    if np.any(np.isnan(array)):
        raise ValueError(f"{name}: {argument} must be a number, got NaN in {value!r}. Check what it is computed from.")
    if np.any(np.isinf(array)):
        raise ValueError(f"{name}: {argument} must be finite, got {value!r}. For no bound, use {instead}.")
    return array


def _whole(argument: str, value: Any) -> np.ndarray | Callable | None:
    bound = None if value is None else _bound("integer", argument, value, "None")
    if not isinstance(bound, np.ndarray):
        return bound
    if np.any(bound != np.round(bound)):
        raise ValueError(f"integer: {argument} must be a whole number, got {value!r}. Round it first.")
    if np.any(np.abs(bound.astype(np.float64)) > _INT32_MAX):
        raise ValueError(f"integer: {argument} must fit in int32, got {value!r}. Count from another origin.")
    return bound.astype(np.int64)


def _frozen(bound: np.ndarray | Callable | None) -> Any:
    def freeze(value: Any) -> Any:
        return tuple(map(freeze, value)) if isinstance(value, list) else value

    return freeze(bound.tolist()) if isinstance(bound, np.ndarray) else bound


def _bounded[S: Bounded](kind: type[S], a: Any, b: Any, sizes: tuple, shape: Shape) -> S:
    arrays = [bound for bound in (a, b) if isinstance(bound, np.ndarray)]
    given = None if shape is None and not sizes else _sizes(kind.name, sizes, shape)
    shapes = [array.shape for array in arrays]
    whole = _together(*shapes, given or ())
    if whole is None or given not in (None, whole):
        wanted = "one another" if given is None else f"shape {given}"
        raise ValueError(f"{kind.name}: the bounds must broadcast to {wanted}; got bounds of shapes {shapes}.")
    if len(arrays) == 2 and not np.all(arrays[0] <= arrays[1] if kind is Integer else arrays[0] < arrays[1]):
        relation = "at or below" if kind is Integer else "below"
        raise ValueError(
            f"{kind.name}: a must lie {relation} b everywhere; got a={_show(_frozen(a))} and "
            f"b={_show(_frozen(b))}. Exchange them, or leave out a parameter that can't vary."
        )
    return kind(whole, _frozen(a), _frozen(b))


def _event[S: Support](kind: type[S], k: Any, least: int, shape: Shape, remedy: str = "") -> S:
    k = _size(kind.name, "k", k, least, remedy)
    return kind(_sizes(kind.name, (), shape) + (k,) * kind.event)


# --- the public names ---------------------------------------------------------------------------------


def real(*sizes: int, shape: Shape = None) -> Real:
    """Any real number: x = y.

    `real(3, 2)` and `real(shape=(3, 2))` are (3, 2) arrays, with positions of the same shape; `real()` is a
    scalar. ValueError or TypeError for a size that is no positive whole number, or a shape given both ways.

    >>> mcmc.real(3).size
    3
    """
    return Real(_sizes("real", sizes, shape))


def positive(*sizes: int, shape: Shape = None) -> Positive:
    """A number above zero: x = exp(y), log|dx/dy| = y.

    Shapes and errors as for `real`. Where exp underflows, x is exactly 0. Source: Stan reference manual,
    "Lower bounded scalar".

    >>> mcmc.positive(8).contains([1.0] * 8).item()
    True
    """
    return Positive(_sizes("positive", sizes, shape), 0.0)


def lower(a: Any, *sizes: int, shape: Shape = None) -> Lower:
    """A number above a: x = a + exp(y), log|dx/dy| = y.

    `a` is a number, an array that broadcasts to the shape (and is the shape where none is given), or a
    function of the dict of parameters before this one. A function whose result is not finite makes x and the
    log-Jacobian NaN. ValueError for a NaN or infinite bound or a bound that does not broadcast, TypeError for
    one that is no number; for shapes as for `real`. Source: Stan reference manual, "Lower bounded scalar".

    >>> x, log_jacobian = mcmc.lower(2.0).constrain(0.0)
    >>> float(x), float(log_jacobian)
    (3.0, 0.0)
    """
    return _bounded(Lower, _bound("lower", "a", a, "real()"), None, sizes, shape)


def upper(b: Any, *sizes: int, shape: Shape = None) -> Upper:
    """A number below b: x = b - exp(y), log|dx/dy| = y.

    Bound, shapes and errors as for `lower`. Source: Stan reference manual, "Upper bounded scalar".

    >>> float(mcmc.upper(2.0).unconstrain(1.0))
    0.0
    """
    return _bounded(Upper, None, _bound("upper", "b", b, "real()"), sizes, shape)


def interval(a: Any, b: Any, *sizes: int, shape: Shape = None) -> Interval:
    """A number between a and b: x = a + (b - a) s(y), s(y) = 1 / (1 + exp(-y)).

    log|dx/dy| = log(b - a) + log s(y) + log s(-y). Each bound is a number, an array that broadcasts to the
    shape, or a function of the dict of parameters before this one. Functions whose results are reversed,
    equal or not finite make x and the log-Jacobian NaN, and contain nothing. x is measured from the nearer
    end and kept one last place off it (off an end at 0, until it underflows). ValueError for a >= b and
    infinite bounds; otherwise errors as for `lower`. Source: Stan reference manual, "Lower and upper bounded
    scalar".

    >>> mcmc.interval(0.0, 1.0, 3)
    interval(0.0, 1.0, shape=(3,))
    >>> x, _ = mcmc.interval(0.0, lambda p: 1 - p["alpha"]).constrain(0.0, {"alpha": 0.5})
    >>> float(x)
    0.25
    """
    low = _bound("interval", "a", a, "upper(b), or real() where neither end is bounded")
    high = _bound("interval", "b", b, "lower(a), positive(), or real() where neither end is bounded")
    return _bounded(Interval, low, high, sizes, shape)


def circular(*sizes: int, shape: Shape = None) -> Circular:
    """An angle in [-pi, pi): x = atan2(y2, y1), so that -pi and pi are neighbours.

    Positions have shape (*shape, 2). The radius and its law are those of `unit_vector` for k = 2; the angle's
    law is exactly the target. Shapes and errors as for `real`. Source: Stan user's guide, "Circular
    statistics".

    >>> mcmc.circular(5).position_shape
    (5, 2)
    """
    return Circular(_sizes("circular", sizes, shape))


def unit_vector(k: int, *, shape: Shape = None) -> UnitVector:
    """A direction in k dimensions: x = y / |y|, a vector of length one.

    There are k coordinates for k - 1 degrees of freedom, so the radius r = |y| gets a law of its own: log r
    is normal(0, 0.3), with density f(r) of r. As dy = r^(k-1) dr dx, the density of y that has the target's
    density of x (with respect to area on the sphere) and f of r is p(x) f(r) / r^(k-1); thus "log-Jacobian"
    means

        log f(r) - (k - 1) log r = -k log r - (log r / 0.3)^2 / 2 - log(0.3 sqrt(2 pi)).

    x and r are independent: expectations over x are exactly right whatever the radius does. The density is a
    ring (a shell), zero at the origin, so chains stay clear of the singular point that a normal law of y
    would leave open. `unconstrain` gives radius one, the median. Shapes: x and y are both (*shape, k).
    ValueError for k < 2; for shapes as for `real`. Source: Stan reference manual, "Unit vector" (with another
    law of the radius).

    >>> x, _ = mcmc.unit_vector(2).constrain([3.0, 4.0])
    >>> [round(float(v), 6) for v in x]
    [0.6, 0.8]
    """
    return _event(UnitVector, k, 2, shape, "In one dimension the directions are a boolean().")


def ordered(k: int, *, shape: Shape = None) -> Ordered:
    """An increasing vector: x1 = y1, x_i = x_(i-1) + exp(y_i), log|det dx/dy| = y_2 + ... + y_k.

    Shapes: x and y are both (*shape, k). ValueError or TypeError where k or shape has no positive whole
    numbers. Source: Stan reference manual, "Ordered vector".

    >>> mcmc.ordered(3).constrain([0.0, 0.0, 0.0])[0].tolist()
    [0.0, 1.0, 2.0]
    """
    return _event(Ordered, k, 1, shape)


def positive_ordered(k: int, *, shape: Shape = None) -> PositiveOrdered:
    """An increasing vector of positive numbers: x_i = exp(y_1) + ... + exp(y_i).

    log|det dx/dy| = y_1 + ... + y_k. Shapes and errors as for `ordered`. Source: Stan reference manual,
    "Positive ordered vector".

    >>> mcmc.positive_ordered(2).constrain([0.0, 0.0])[0].tolist()
    [1.0, 2.0]
    """
    return _event(PositiveOrdered, k, 1, shape)


def simplex(k: int, *, shape: Shape = None) -> Simplex:
    """Positive numbers, k of them, that sum to one: x = softmax(V y), by the isometric log-ratio.

    V (k rows, k - 1 columns) is Helmert's orthonormal basis of the vectors that sum to zero, applied in O(k);
    log|det d(x_1 ... x_(k-1))/dy| = log x_1 + ... + log x_k + log(k) / 2. No entry is favoured, as one is by
    stick-breaking, and y = 0 is the centre. Shapes: x is (*shape, k), y is (*shape, k - 1). ValueError for k
    < 2; for shapes as for `real`. Source: Egozcue et al. 2003, Mathematical Geology 35, "Isometric logratio
    transformations".

    >>> mcmc.simplex(4, shape=(10,))
    simplex(4, shape=(10,))
    >>> mcmc.simplex(4).constrain([0.0, 0.0, 0.0])[0].tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    return _event(Simplex, k, 2, shape, "A simplex of one entry is the constant 1: leave it out.")


def cholesky_factor_corr(k: int, *, shape: Shape = None) -> CholeskyFactorCorr:
    """The Cholesky factor of a correlation matrix, lower triangular with rows of length one.

    L_ij = z_ij sqrt((1 - z_i1^2) ... (1 - z_i(j-1)^2)) for j < i with partial correlations z = tanh(y), and
    L_ii the root of all that is left; the log-Jacobian is with respect to the strictly lower triangle.
    Shapes: x is (*shape, k, k), y is (*shape, k (k - 1) / 2), row by row. ValueError for k < 2; for shapes as
    for `real`. Source: Lewandowski, Kurowicka and Joe 2009, J. Multivariate Analysis 100; Stan reference
    manual, "Cholesky factors of correlation matrices".

    >>> mcmc.cholesky_factor_corr(2).constrain([0.0])[0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return _event(CholeskyFactorCorr, k, 2, shape, "A correlation matrix of one entry is the constant 1.")


def corr_matrix(k: int, *, shape: Shape = None) -> CorrMatrix:
    """A correlation matrix R = L L' with L as in `cholesky_factor_corr`, which is faster and rounds less.

    log|det dR/dy| = log|det dL/dy| + sum over j of (k - j) log L_jj, for the strictly lower triangle of R.
    Shapes, errors and source as for `cholesky_factor_corr`.

    >>> mcmc.corr_matrix(3).position_shape
    (3,)
    """
    return _event(CorrMatrix, k, 2, shape, "A correlation matrix of one entry is the constant 1.")


def cov_matrix(k: int, *, shape: Shape = None) -> CovMatrix:
    """A covariance matrix S = L L', L lower triangular with L_ij = y_ij for j < i and L_ii = exp(y_ii).

    log|det dS/dy| = k log 2 + sum over i of (k - i + 2) y_ii, for the lower triangle of S with its diagonal.
    Where k is more than a few, scales with a `cholesky_factor_corr` sample better. Shapes: x is (*shape, k,
    k), y is (*shape, k (k + 1) / 2), row by row. ValueError or TypeError where k or shape has no positive
    whole numbers. Source: Stan reference manual, "Covariance matrices".

    >>> mcmc.cov_matrix(2).constrain([0.0, 0.0, 0.0])[0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return _event(CovMatrix, k, 1, shape)


def integer(a: Any = None, b: Any = None, *sizes: int, shape: Shape = None) -> Integer:
    """A whole number from a to b, both included; x = round(y) as int32, log-Jacobian 0.

    A bound is None (none), a whole number, an array of them, or a function of the parameters before this one.
    Positions outside get the nearest value inside, with log-Jacobian -inf: probability zero. A position is an
    exact float, so float32 reaches to 2^24 either way, float64 to all of int32. ValueError for a > b or
    bounds that are not whole or beyond int32; otherwise errors as for `lower`.

    >>> x, _ = mcmc.integer(0, 10).constrain(3.0)
    >>> x.item(), str(x.dtype)
    (3, 'int32')
    """
    return _bounded(Integer, _whole("a", a), _whole("b", b), sizes, shape)


def boolean(*sizes: int, shape: Shape = None) -> Boolean:
    """True or False: x = (y rounds to 1), log-Jacobian 0; a y that rounds to neither 0 nor 1 gets -inf.

    Shapes and errors as for `real`.

    >>> mcmc.boolean(3).constrain([0.0, 1.0, 1.0])[0].tolist()
    [False, True, True]
    """
    return Boolean(_sizes("boolean", sizes, shape))

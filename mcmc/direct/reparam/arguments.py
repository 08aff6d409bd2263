"""Argument checks and two-tailed noise, shared by the reparameterised samplers.

A sampler is `prepare(...)`, which checks what is concrete, then `Call.draw(body)`, which runs a compiled body
`body(key, shape, dtype, *values)`; values that only the compiled code can see give NaN draws where they are bad.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from mcmc.errors import WrongType, WrongValue
from mcmc.random.draws import bits


class Condition(NamedTuple):
    """What an argument must fulfil, as a function of NumPy or JAX arrays and as text."""

    holds: Callable[[Any], Any]
    expected: str
    remedy: str


FINITE = Condition(lambda x: abs(x) < np.inf, "finite numbers", "Check for an overflow or a NaN upstream.")
POSITIVE = Condition(
    lambda x: (x > 0) & (x < np.inf), "positive, finite numbers", "Take jax.nn.softplus or exp of a free parameter."
)
NON_NEGATIVE = Condition(
    lambda x: (x >= 0) & (x < np.inf),
    "finite numbers, not negative",
    "Take jax.nn.softplus or exp of a free parameter.",
)


def above(name: str, low: Any) -> Condition:
    """Greater than another argument."""
    low = real_array(name, low)
    low = low if isinstance(low, Tracer) else np.asarray(low)
    return Condition(lambda x: x > low, f"numbers above {name}", "Exchange the ends, or widen the interval.")


class Call(NamedTuple):
    """The checked arguments of one call of a sampler."""

    key: jax.Array
    shape: tuple[int, ...]
    dtype: Any
    values: tuple
    valid: Any = None  # of what could not be checked: where the values are good

    def draw(self, body: Callable) -> jax.Array:
        """The compiled body's draws in the dtype asked for, NaN where an argument is bad."""
        return _run(body, self.shape, self.dtype, self.key, self.valid, *self.values)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _run(body: Callable, shape: tuple, dtype: Any, key: jax.Array, valid: Any, *values: Any) -> jax.Array:
    wide = computing(dtype)
    x = body(key, shape, wide, *(jnp.asarray(v, wide) for v in values))
    if valid is not None:
        x = x * one_if(valid, wide)
    return x.astype(dtype)


def one_if(valid: Any, dtype: Any) -> jax.Array:
    """1 where valid, else NaN: a factor, so that gradients are NaN too.

    The barrier hides the NaN from the compiler: XLA's CPU code makes any number of the exponential of a constant NaN.
    """
    return lax.optimization_barrier(jnp.where(valid, 1.0, jnp.nan).astype(dtype))


def computing(dtype: Any) -> Any:
    """The dtype of the arithmetic: float32 at least."""
    return jnp.dtype(jnp.float64) if dtype == jnp.float64 else jnp.dtype(jnp.float32)


def prepare(key: Any, shape: Any, dtype: Any, /, **params: tuple[Any, Condition]) -> Call:
    """Check a sampler's elementwise arguments, each given as (value, condition)."""
    values = {name: real_array(name, value) for name, (value, _) in params.items()}
    dtype = float_dtype(dtype, *values.values())
    shape = full_shape(shape, batch_shape(**values))
    valid = None
    for name, (_, condition) in params.items():
        valid = both(valid, check(name, values[name], condition))
    return Call(single_key(key), shape, dtype, tuple(values.values()), valid)


def check(name: str, value: Any, condition: Condition) -> Any:
    """None if the concrete value is good, an error if not; of a traced one where it is good."""
    holds = condition.holds(value if isinstance(value, Tracer) else np.asarray(value))
    if isinstance(holds, Tracer):
        return holds
    if not np.all(holds):
        shown = "a bad value" if isinstance(value, Tracer) else np.asarray(value)  # under grad alone
        raise WrongValue(name, shown, condition.expected, condition.remedy)
    return None


def both(a: Any, b: Any) -> Any:
    """Where two validities hold, None being everywhere."""
    return b if a is None else a if b is None else a & b


def real_array(name: str, value: Any) -> Any:
    """The value as a real array or Python number; no tuple, which is a shape in the wrong place."""
    if isinstance(value, tuple):
        remedy = f"A shape goes by name, shape={value}; numbers go in an array."
        raise WrongType(name, value, "a number or an array, not a tuple", remedy)
    array = value if isinstance(value, jax.Array | np.ndarray | np.generic | float | int) else np.asarray(value)
    kind = jnp.result_type(array)
    if not (jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)):
        raise WrongType(name, str(kind), "real numbers", "Convert the argument to floats.")
    return array


def float_dtype(dtype: Any, *values: Any) -> Any:
    """The dtype of the draws: as asked, or the result type of the parameters, float32 at least."""
    if dtype is None:
        found = jnp.result_type(*values)
        found = found if jnp.issubdtype(found, jnp.floating) else jnp.result_type(float)
        return computing(jnp.dtype(found))
    dtype = jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        remedy = "A reparameterised draw is continuous; leave dtype out for the parameters' own."
        raise WrongValue("dtype", str(dtype), "a floating dtype", remedy)
    if dtype == jnp.float64 and jnp.result_type(float) != jnp.float64:
        raise WrongValue("dtype", "float64", "float32 here", "Call it inside `with jax.enable_x64(True):`.")
    return dtype


def batch_shape(**values: Any) -> tuple[int, ...]:
    """The common shape of elementwise arguments."""
    return common_shape(**{name: np.shape(value) for name, value in values.items()})


def common_shape(**shapes: tuple[int, ...]) -> tuple[int, ...]:
    """What shapes broadcast to."""
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        remedy = "Reshape one of them, or use jax.vmap."
        raise WrongValue(", ".join(shapes), list(shapes.values()), "shapes that broadcast", remedy) from None


def full_shape(shape: Any, batch: tuple[int, ...], event: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The shape of the result, batch and event, if the parameters' batch shape fits `shape`, that of the batch."""
    if shape is None:
        return (*batch, *event)
    try:
        wide = tuple(operator.index(n) for n in (shape if np.iterable(shape) else (shape,)))
        fits = np.broadcast_shapes(wide, batch) == wide
    except (TypeError, ValueError):
        wide, fits = (), False
    if not fits or min(wide, default=0) < 0:
        remedy = "It is that of the draws, e.g. (1000, *parameters' shape)" + (
            f"; the shape {event} of one draw is added." if event else "."
        )
        raise WrongValue("shape", repr(shape), f"a shape that ends in {batch} or broadcasts it", remedy)
    return (*wide, *event)


def single_key(key: Any) -> jax.Array:
    """One typed key, of any implementation; a raw one as `jax.random.PRNGKey` gives is wrapped."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.ndim:
            raise WrongValue("key", f"keys of shape {key.shape}", "one key", "Use jax.vmap for a key a row.")
        return key
    return jax.random.wrap_key_data(key)


# --- noise --------------------------------------------------------------------------------------------


def two_sided(key: jax.Array, shape: tuple, dtype: Any, *, stream: int = 0) -> tuple[jax.Array, jax.Array]:
    """A uniform u and 1 − u, the smaller to full relative precision: both tails reach 2⁻³³, in float64 2⁻⁵⁴."""
    if dtype == jnp.float64:
        word = bits(key, 64, shape, stream)
        near = ((word >> np.uint64(12)).astype(dtype) + 0.5) * 2.0**-53
        side = (word & np.uint64(1)) == 0
    else:
        word = bits(key, 32, shape, stream)
        near = (lax.bitcast_convert_type(word >> np.uint32(1), jnp.int32).astype(dtype) + 0.5) * 2.0**-32
        near = jnp.minimum(near, np.float32(0.5))
        side = (word & np.uint32(1)) == 0
    return jnp.where(side, near, 1 - near), jnp.where(side, 1 - near, near)


def exponential_noise(key: jax.Array, shape: tuple, dtype: Any, *, stream: int = 0) -> jax.Array:
    """Standard exponentials, precise near zero and far out."""
    u, q = two_sided(key, shape, dtype, stream=stream)
    return lax.optimization_barrier(jnp.where(u < 0.5, -jnp.log1p(-u), -jnp.log(q)))


def same_value(x: jax.Array, value: jax.Array) -> jax.Array:
    """The value of `value` with the gradient of `x`."""
    return x + lax.stop_gradient(value - x)

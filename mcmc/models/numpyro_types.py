"""A NumPyro model in runs of 64 bits, where its own integers have 32 of them."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_jaxpr

NEEDS_NUMBERS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)
TYPES_DIFFER = re.compile(r"(int|float)(32|64)")
_types: ContextVar[Any] = ContextVar("types", default=(float, int))


class Traced(NamedTuple):
    """A function's jaxpr, of floats of 64 bits; the shapes of what it gives; whether it computes with 32 bits."""

    closed: Any
    shapes: Any
    narrow: bool = False


def default_number(x: Any) -> Any:
    """Floats and signed integers in the types of the day: a scan wants one throughout, as in NumPyro's own runs."""
    if x is None:
        return x
    kind, (floats, integers) = jnp.result_type(x), _types.get()
    if jnp.issubdtype(kind, jnp.floating):
        return jnp.asarray(x, floats)
    return jnp.asarray(x, integers) if jnp.issubdtype(kind, jnp.signedinteger) and kind.itemsize >= 4 else x


def whole_number(x: Any) -> Any:
    """A number or a boolean as an integer of the day."""
    return jnp.asarray(x, _types.get()[1])


def in_own_types(function: Callable) -> Callable:
    """A function of arrays, traced with NumPyro's types where those of 64 bits don't fit together.

    NumPyro's integers have 32 bits by default: a loop that begins with `jnp.int32` and goes on with a sum of booleans
    fits together there alone. Then, in turn, the model's arguments have such integers, all its integers have 32 bits
    beside floats of 64, and it is computed in 32 bits, as in NumPyro's own runs.
    """

    def call(*args: Any) -> Any:
        if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
            return function(*args)
        try:
            return function(*args)
        except TypeError as error:
            if not _types_differ(error):
                raise
            closed, shapes, _ = _traced_by_defaults(function, args, error)
            made = eval_jaxpr(closed.jaxpr, closed.consts, *jax.tree.leaves(args))
            return jax.tree.unflatten(jax.tree.structure(shapes), made)

    return call


def methods_in_own_types(method: Callable) -> Callable:
    """The same for a method."""

    @functools.wraps(method)
    def call(self: Any, *args: Any) -> Any:
        return in_own_types(functools.partial(method, self))(*args)

    return call


def traced(function: Callable, *args: Any) -> Traced:
    """The same function's jaxpr at these arguments, arrays or their shapes."""
    try:
        return Traced(*jax.make_jaxpr(function, return_shape=True)(*args))
    except TypeError as error:
        if not _types_differ(error):
            raise
        return _traced_by_defaults(function, args, error)


def _types_differ(error: TypeError) -> bool:
    return not isinstance(error, NEEDS_NUMBERS) and bool(TYPES_DIFFER.search(str(error)))


def _traced_by_defaults(function: Callable, args: tuple, error: TypeError) -> Traced:
    for trace in (_with_short_arguments, _with_short_integers, _in_32_bits):
        try:
            return trace(function, args)
        except NEEDS_NUMBERS:
            raise
        except TypeError:
            continue
    raise error


def _with_short_arguments(function: Callable, args: tuple) -> Traced:
    """With arguments whose integers have 32 bits, and JAX's defaults of 64."""
    with _numbers(np.float64, np.int32):
        return Traced(*jax.make_jaxpr(function, return_shape=True)(*args))


def _with_short_integers(function: Callable, args: tuple) -> Traced:
    """With integers of 32 bits, JAX's defaults too, and arguments whose floats have 64."""
    before = jax.config.jax_explicit_x64_dtypes  # pyright: ignore[reportAttributeAccessIssue]
    try:
        jax.config.update("jax_explicit_x64_dtypes", "allow")
        with _numbers(np.float64, np.int32), jax.enable_x64(False):
            return Traced(*jax.make_jaxpr(function, return_shape=True)(*args))
    finally:
        jax.config.update("jax_explicit_x64_dtypes", before)


def _in_32_bits(function: Callable, args: tuple) -> Traced:
    """All in 32 bits but for what comes in and goes out."""

    def narrow(x: Any) -> Any:
        if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            return x
        of_shape = isinstance(x, jax.ShapeDtypeStruct)
        return jax.ShapeDtypeStruct(x.shape, np.float32) if of_shape else jnp.asarray(x, np.float32)

    given = jax.tree.map(narrow, args)
    with _numbers(np.float32, np.int32), jax.enable_x64(False):
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*given)

    def widened(*args: Any) -> Any:
        made = eval_jaxpr(closed.jaxpr, closed.consts, *map(narrow, jax.tree.leaves(args)))
        return jax.tree.unflatten(jax.tree.structure(shapes), map(default_number, made))

    return Traced(*jax.make_jaxpr(widened, return_shape=True)(*args), narrow=True)


@contextlib.contextmanager
def _numbers(floats: Any, integers: Any) -> Iterator[None]:
    """The types that `default_number` gives."""
    token = _types.set((floats, integers))
    try:
        yield
    finally:
        _types.reset(token)

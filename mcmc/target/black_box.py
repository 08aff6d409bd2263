"""Black boxes: log densities that are any Python function, called on the host with the chains' parameters."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import JaxRuntimeError
from jax.experimental.buffer_callback import buffer_callback

from mcmc.errors import got
from mcmc.target.space import Leaf, get

NO_GRADIENT = "a black box has no gradient\n" + got(
    "kernel",
    "one that uses gradients",
    "one that does not",
    "Leave kernel out, or use mcmc.DifferentialEvolution(), mcmc.Stretch() or mcmc.RandomWalk().",
)


class Host:
    """A black box's function, called from compiled programs with NumPy arrays; keeps what it raised."""

    def __init__(self, fn: Callable, leaves: tuple[Leaf, ...], data: Any, vectorized: bool):
        self.fn, self.leaves, self.vectorized = fn, leaves, vectorized
        self.paths = [leaf.path for leaf in leaves]
        self.axes = len(leaves[0].support.shape)  # those of the first parameter; axes before them are chains
        self.nested = any(len(path) > 1 for path in self.paths)
        self.data = () if data is None else (jax.tree.map(np.asarray, data),)
        self.raised: BaseException | None = None
        self.lock = threading.Lock()
        self.called = jax.custom_jvp(self._called)
        self.called.defjvp(_no_gradient)

    def with_data(self, data: Any) -> Host:
        """The same function on other data, which it gets from its next call on."""
        return Host(self.fn, self.leaves, data, self.vectorized)

    def log_density(self, p: Mapping, *_: Any) -> jax.Array:
        """The log density of parameters, for JAX: a call of the host."""
        return self.called(*(get(p, path) for path in self.paths))

    def finished(self, program: Any, args: tuple) -> Any:
        """What a compiled program gives, awaited; what `fn` raised in it comes out as `fn` raised it."""
        try:
            return jax.block_until_ready(program(*args))
        except JaxRuntimeError:
            raised, self.raised = self.raised, None
            if raised is None:
                raise
        raise raised  # outside the handler, which would become its context

    def _called(self, *values: jax.Array) -> jax.Array:
        shape = jax.ShapeDtypeStruct((), jnp.result_type(float))

        def in_place(*values: jax.Array) -> jax.Array:  # 11 µs a call, where `pure_callback` takes 280
            return buffer_callback(self.fill, shape, vmap_method="broadcast_all")(*values)

        def copied(*values: jax.Array) -> jax.Array:
            return jax.pure_callback(partial(self.give, shape.dtype), shape, *values, vmap_method="broadcast_all")

        return jax.lax.platform_dependent(*values, cpu=in_place, default=copied)

    def fill(self, _: Any, out: Any, *values: Any) -> None:
        """Write the log densities into a buffer of XLA's; its inputs are copied, as they do not outlive the call."""
        np.asarray(out)[...] = self.log_densities([np.asarray(x).copy() for x in values])

    def give(self, dtype: Any, *values: Any) -> np.ndarray:
        """The log densities as an array."""
        return self.log_densities([np.asarray(x) for x in values]).astype(dtype)

    def log_densities(self, arrays: list[np.ndarray]) -> np.ndarray:
        """The log densities (...) of parameters (..., *shape)."""
        chains = arrays[0].shape[: arrays[0].ndim - self.axes]
        rows = [x.reshape(-1, *x.shape[len(chains) :]) for x in arrays]
        try:
            with self.lock:
                lp = self._all(rows) if self.vectorized else self._one_by_one(rows)
        except BaseException as error:
            self.raised = self.raised or error
            raise
        return lp.reshape(chains)

    def _all(self, rows: list[np.ndarray]) -> np.ndarray:
        n = len(rows[0])
        lp = self.fn(self._named(rows), *self.data)
        found = np.asarray(lp)
        if found.shape != (n,) or found.dtype.kind not in "fiu":
            remedy = "Sum over the data of each chain, e.g. with axis=-1, and keep the leading chain axis."
            raise _wrong(lp, found, f"an array of {n} real numbers, one a chain", remedy)
        return found

    def _one_by_one(self, rows: list[np.ndarray]) -> np.ndarray:
        lp = np.empty(len(rows[0]))
        for i, values in enumerate(zip(*rows, strict=True)):
            one = self.fn(self._named(values), *self.data)
            if type(one) is not float and type(one) is not np.float64:
                found = np.asarray(one)
                if found.shape != () or found.dtype.kind not in "fiu":
                    remedy = "Return the sum of its terms, or -inf outside the support; for all chains in one call "
                    raise _wrong(one, found, "a real number", remedy + "pass vectorized=True.")
            lp[i] = one
        return lp

    def _named(self, values: Any) -> dict:
        if not self.nested:
            return {path[0]: x for path, x in zip(self.paths, values, strict=True)}
        named: dict = {}
        for path, x in zip(self.paths, values, strict=True):
            inner = named
            for key in path[:-1]:
                inner = inner.setdefault(key, {})
            inner[path[-1]] = x
        return named


def _no_gradient(*_: Any) -> Any:
    raise TypeError(NO_GRADIENT)


def _wrong(value: Any, found: np.ndarray, expected: str, remedy: str) -> Exception:
    number = found.dtype.kind in "fiu"
    shown = f"an array of shape {found.shape}" if number else value
    return (ValueError if number else TypeError)(got("fn", shown, f"that it returns {expected}", remedy))


def check_function(fn: Any, data: Any, vectorized: Any) -> None:
    """Raise TypeError unless a black box's function takes the parameters, and the data where there are any."""
    if not callable(fn):
        raise TypeError(got("fn", fn, "a function of the parameters p", "Pass the function itself."))
    if not isinstance(vectorized, bool):
        raise TypeError(got("vectorized", vectorized, "True or False", "Leave it out for one chain a call."))
    arguments = (None,) if data is None else (None, None)
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # a builtin may have none
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        wanted = "(p)" if data is None else "(p, data)"
        remedy = "Pass data= too." if data is None else "Take data as the last argument."
        raise TypeError(got("fn", str(signature), f"a function of {wanted}", remedy)) from error

"""Black boxes: log densities that are any Python function, called on the host with the chains' parameters."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import JaxRuntimeError

from mcmc.engine.progress_text import duration
from mcmc.errors import WrongType, WrongValue, got
from mcmc.target.host_call import call_host
from mcmc.target.space import Leaf, get
from mcmc.target.workers import Workers

NO_GRADIENT = "a black box has no gradient\n" + got(
    "kernel",
    "one that uses gradients",
    "one that does not",
    "Leave kernel out, use mcmc.DifferentialEvolution(), mcmc.Stretch() or mcmc.RandomWalk(), or give gradient=True.",
)

LONG = 10.0  # seconds that are worth a word before a run


class Host:
    """A black box's function, called from compiled programs with NumPy arrays; keeps what it raised."""

    def __init__(
        self,
        fn: Callable,
        leaves: tuple[Leaf, ...],
        data: Any,
        vectorized: bool,
        gradient: bool = False,
        workers: int | Executor | None = None,
    ):
        self.fn, self.leaves, self.vectorized, self.gradient = fn, leaves, vectorized, gradient
        self.paths = [leaf.path for leaf in leaves]
        self.axes = len(leaves[0].support.shape)  # those of the first parameter; axes before them are chains
        self.nested = any(len(path) > 1 for path in self.paths)
        self.data = () if data is None else (jax.tree.map(np.asarray, data),)
        self.raised: BaseException | None = None
        self.lock = threading.Lock()
        self.workers = None if workers is None else Workers(fn, self.data, workers)
        self.batch_seconds = 0.0  # of the last call for all chains
        if gradient:
            self.called = jax.custom_vjp(lambda *values: self._called(*values)[0])
            self.called.defvjp(self._forward, _backward)
        else:
            self.called = jax.custom_jvp(lambda *values: self._called(*values)[0])
            self.called.defjvp(_no_gradient)

    def with_data(self, data: Any) -> Host:
        """The same function on other data, which it gets from its next call on."""
        return self.calling(self.fn, self.leaves, data)

    def calling(self, fn: Callable, leaves: tuple[Leaf, ...], data: Any) -> Host:
        """Another function, called as this one is."""
        workers = self.workers.given if self.workers else None
        return Host(fn, leaves, data, self.vectorized, self.gradient, workers)

    def log_density(self, p: Mapping, *_: Any) -> jax.Array:
        """The log density of parameters, for JAX: a call of the host."""
        return self.called(*(get(p, path) for path in self.paths))

    def finished(self, program: Any, args: tuple) -> Any:
        """What a compiled program gives, awaited; what `fn` raised in it comes out as `fn` raised it."""
        try:
            if self.workers is None:
                return jax.block_until_ready(program(*args))
            return self._awaited(program, args, self.workers)
        except JaxRuntimeError:
            raised, self.raised = self.raised, None
            if raised is None:
                raise
        raise raised  # outside the handler, which would become its context

    def _awaited(self, program: Any, args: tuple, workers: Workers) -> Any:
        """What a program gives that runs in another thread: here Ctrl-C is heard while workers are at work."""
        wide = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]

        def run() -> Any:
            with jax.enable_x64(wide):  # a setting of each thread
                return jax.block_until_ready(program(*args))

        with ThreadPoolExecutor(1) as thread:
            going = thread.submit(run)
            try:
                return going.result()
            except KeyboardInterrupt:
                workers.stopped.set()
                wait([going])
                workers.stopped.clear()
                workers.close()
                self.raised = None
                raise

    def told(self, iterations: int, has_gradient: bool) -> str:
        """About how long so many iterations of all chains will take; nothing where that is seconds."""
        total = self.batch_seconds * iterations
        if total < LONG and not self.workers:
            return ""
        count = self.workers and self.workers.count
        by = f" by {count} workers" if count else ""
        times = ", times the gradients of an iteration (one of NUTS or HMC takes 3 to 30)" if has_gradient else ""
        one = f"{1e3 * self.batch_seconds:.0f} ms" if self.batch_seconds < 1 else duration(self.batch_seconds)
        all_chains = f"the calls of fn for all chains take {one}{by}"
        return f"{all_chains}: {iterations:,} iterations about {duration(total)}{times}"

    def _forward(self, *values: jax.Array) -> tuple[jax.Array, tuple]:
        lp, *gradients = self._called(*values)
        return lp, tuple(g.astype(x.dtype) for g, x in zip(gradients, values, strict=True))

    def _called(self, *values: jax.Array) -> tuple[jax.Array, ...]:
        """The log density, and its gradient by each of the values where there is one."""
        kind = jnp.result_type(float)
        shapes = [(), *(x.shape for x in values)] if self.gradient else [()]
        made = [jax.ShapeDtypeStruct(shape, kind) for shape in shapes]
        return call_host(lambda *arrays: self.evaluate([*arrays]), made, *values)

    def evaluate(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The log densities (...) of parameters (..., *shape), and gradients (..., *shape) where `fn` gives them."""
        chains = arrays[0].shape[: arrays[0].ndim - self.axes]
        rows = [x.reshape(-1, *x.shape[len(chains) :]) for x in arrays]
        try:
            with self.lock:
                began = time.perf_counter()
                made = self._all(rows) if self.vectorized else self._one_by_one(rows)
                self.batch_seconds = time.perf_counter() - began
        except BaseException as error:
            self.raised = self.raised or error
            raise
        return [x.reshape((*chains, *x.shape[1:])) for x in made]

    def _given(self, arguments: Sequence[Any]) -> Iterable[Any]:
        """What `fn` gives for each, called here or by workers."""
        named = map(self._named, arguments)
        return self.workers.results([*named]) if self.workers else (self.fn(p, *self.data) for p in named)

    def _all(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        """All chains in one call, or as many as there are workers."""
        n = len(rows[0])
        parts = min(n, (self.workers.count or n) if self.workers else 1)
        shares = [np.array_split(row, parts) for row in rows]
        made = []
        for share, given in zip(shares[0], self._given([*zip(*shares, strict=True)]), strict=True):
            made.append(self._of_some(given, len(share)))
        return [np.concatenate(each) for each in zip(*made, strict=True)]

    def _of_some(self, given: Any, n: int) -> list[np.ndarray]:
        lp, gradient = _pair(given) if self.gradient else (given, None)
        found = np.asarray(lp)
        if found.shape != (n,) or found.dtype.kind not in "fiu":
            remedy = "Sum over the data of each chain, e.g. with axis=-1, and keep the leading chain axis."
            raise _wrong(lp, found, f"an array of {n} real numbers, one a chain", remedy)
        return [found, *self._by_parameter(gradient, (n,))] if self.gradient else [found]

    def _one_by_one(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        lp = np.empty(len(rows[0]))
        gradients = [np.empty(row.shape) for row in rows] if self.gradient else []
        for i, one in enumerate(self._given([*zip(*rows, strict=True)])):
            if self.gradient:
                one, gradient = _pair(one)
                for whole, part in zip(gradients, self._by_parameter(gradient, ()), strict=True):
                    whole[i] = part
            if type(one) is not float and type(one) is not np.float64:
                found = np.asarray(one)
                if found.shape != () or found.dtype.kind not in "fiu":
                    remedy = "Return the sum of its terms, or -inf outside the support; for all chains in one call "
                    raise _wrong(one, found, "a real number", remedy + "pass vectorized=True.")
            lp[i] = one
        return [lp, *gradients]

    def _by_parameter(self, gradient: Any, lead: tuple[int, ...]) -> list[np.ndarray]:
        """The gradient as one array a parameter, from a dict of them or from one array along the parameters."""
        shapes = [leaf.support.shape for leaf in self.leaves]
        if isinstance(gradient, Mapping):
            missing = [leaf.name for leaf in self.leaves if get(gradient, leaf.path, missing=None) is None]
            if missing:
                expected = f"derivatives by {', '.join(missing)} too"
                raise WrongValue("fn", f"a gradient by {', '.join(gradient)}", expected, "Name every parameter.")
            parts = [np.asarray(get(gradient, path)) for path in self.paths]
        else:
            whole, sizes = np.asarray(gradient), [math.prod(shape) for shape in shapes]
            if whole.shape != (*lead, sum(sizes)):
                raise _wrong(gradient, whole, f"a gradient of shape {(*lead, sum(sizes))}", "Or give a dict by name.")
            cut = np.split(whole, np.cumsum(sizes)[:-1], axis=-1)
            parts = [x.reshape((*lead, *shape)) for x, shape in zip(cut, shapes, strict=True)]
        for leaf, part, shape in zip(self.leaves, parts, shapes, strict=True):
            if part.shape != (*lead, *shape) or part.dtype.kind not in "fiu":
                remedy = "Give the derivatives by the constrained values, in their shape."
                raise _wrong(part, part, f"a gradient by {leaf.name!r} of shape {(*lead, *shape)}", remedy)
        return parts

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


def _backward(gradients: tuple, scale: jax.Array) -> tuple:
    return tuple(scale * g for g in gradients)


def _pair(given: Any) -> tuple[Any, Any]:
    if not isinstance(given, tuple) or len(given) != 2:
        remedy = "Return (log density, gradient), the gradient a dict by name or one array along the parameters."
        raise WrongType("fn", given, "that it returns a pair, with gradient=True", remedy)
    return given


def _no_gradient(*_: Any) -> Any:
    raise TypeError(NO_GRADIENT)


def _wrong(value: Any, found: np.ndarray, expected: str, remedy: str) -> Exception:
    number = found.dtype.kind in "fiu"
    shown = f"an array of shape {found.shape}" if number else value
    return (ValueError if number else TypeError)(got("fn", shown, f"that it returns {expected}", remedy))


def check_function(fn: Any, data: Any, vectorized: Any, gradient: Any) -> None:
    """Raise TypeError unless a black box's function takes the parameters, and the data where there are any."""
    if not callable(fn):
        raise WrongType("fn", fn, "a function of the parameters p", "Pass the function itself.")
    if not isinstance(vectorized, bool):
        raise WrongType("vectorized", vectorized, "True or False", "Leave it out for one chain a call.")
    if not isinstance(gradient, bool):
        raise WrongType("gradient", gradient, "True or False", "With True, fn returns (value, gradient).")
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
        raise WrongType("fn", str(signature), f"a function of {wanted}", remedy) from error

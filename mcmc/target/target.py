"""Target: a log density over named parameters, and the same density over flat, unconstrained positions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.engine.compilation import compile_program
from mcmc.engine.program_cache import MOST_PROGRAMS, Cache
from mcmc.errors import WrongType, WrongValue, got
from mcmc.target.black_box import Host, check_function
from mcmc.target.data import as_arrays, as_data
from mcmc.target.declared import check_name, leaves, names_in
from mcmc.target.fingerprint import of_static
from mcmc.target.outputs import as_named, check_dims, check_names, scalar
from mcmc.target.prior import Joint, check_parts, parts_at, prior_terms, within
from mcmc.target.space import Leaf, Space, get
from mcmc.target.support import Real, Support
from mcmc.target.traced import Column, Traced, hoist
from mcmc.target.workers import check_workers
from mcmc.user_code import explained, missing_name, of_a_library
from mcmc.words import target_words

type Parameters = Mapping[str, Support | Parameters]
"""Supports by name, which may nest."""


@target_words
class Target(Space):
    r"""A log density over named parameters with supports: what `mcmc.sample` draws from.

    With p = the constrained parameters and y the unconstrained position, the engine works with
    log π(y) = log_density(p(y)) + log |dp/dy|; the user writes the first term only.

    Args:
        log_density: `log_density(p)`, or `log_density(p, data)` where `data` is given: a scalar, priors included,
            any constant left out. `p` is a dict of arrays named and nested as in `parameters`. None: the sum of
            `log_prior` and `log_likelihood`, each of which is then known.
        parameters: names to supports, e.g. `{"mu": mcmc.real(), "tau": mcmc.positive()}`. A dictionary may nest:
            `{"a": {"b": mcmc.real()}}` is `p["a"]["b"]` in the log density and `a.b` in the draws.
        data: any pytree of arrays, an argument of the compiled program (`with_data` doesn't recompile). Arrays of
            a flat dict are recorded as `observed_data`.
        derived: `derived(p[, data]) -> dict`, recorded beside the parameters.
        log_likelihood: `log_likelihood(p[, data]) -> {name: pointwise array}`.
        predictive: `predictive(key, p[, data]) -> dict`, simulated data.
        dims: names of the dimensions by parameter, `{"theta": ["school"]}`.
        coords: labels by dimension, `{"school": names}`.
        log_prior: `log_prior(p[, data])`, a scalar or a dict of terms by name, of any shapes: recorded in the group
            `log_prior`. With None for `log_density`, beside `log_likelihood`.
        prior: `prior(key[, data]) -> dict`, one draw of all parameters from that prior, where it can be drawn from.

    Raises:
        TypeError, ValueError: naming the argument, what it got, what is expected and what to do.

    Example:
        >>> import mcmc
        >>> target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
        >>> target.dim, target.names
        (1, ('x',))
    """

    def __init__(
        self,
        log_density: Callable[..., ArrayLike] | None,
        parameters: Parameters,
        data: Any = None,
        derived: Callable[..., dict[str, Any]] | None = None,
        log_likelihood: Callable[..., dict[str, Any]] | None = None,
        predictive: Callable[..., dict[str, Any]] | None = None,
        dims: Mapping[str, Sequence[str]] | None = None,
        coords: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
        log_prior: Callable[..., Any] | None = None,
        prior: Callable[..., dict[str, Any]] | None = None,
    ):
        functions = {
            "log_density": log_density,
            "derived": derived,
            "log_likelihood": log_likelihood,
            "predictive": predictive,
        }
        for name, function in functions.items():
            if function is not None and not callable(function):
                raise WrongType(name, function, "a function of the parameters p", "Pass the function itself.")
        check_parts(log_density, log_prior, log_likelihood, prior)
        self.log_prior, self.prior = log_prior, prior
        self.log_density: Callable[..., Any] = log_density or Joint(log_prior, log_likelihood)  # type: ignore[arg-type]
        self.derived, self.log_likelihood, self.predictive = derived, log_likelihood, predictive
        self.parameters = parameters
        super().__init__(tuple(leaves(parameters)))
        self.data = as_data(data)
        self.dims = {k: list(v) for k, v in (dims or {}).items()}
        self.coords: dict[str, Any] = dict(coords or {})
        check_dims(self.dims, self.coords, {leaf.name: leaf.support.shape for leaf in self.leaves})
        self.programs = Cache(MOST_PROGRAMS)  # those that are of no use to other targets
        self.host: Host | None = None

    @staticmethod
    def black_box(
        fn: Callable[..., Any],
        parameters: Parameters,
        data: Any = None,
        vectorized: bool = False,
        gradient: bool = False,
        workers: int | Executor | None = None,
        **more: Any,
    ) -> Target:
        """A target whose log density is any Python or NumPy function: proposed on the device, evaluated on the host.

        Args:
            fn: `fn(p)`, or `fn(p, data)` where `data` is given: a number, priors included. `p` is a dict of NumPy
                arrays named as in `parameters`, constrained; NaN is rejected and counted, −inf is outside.
            parameters: as in `Target`.
            data: as in `Target`; NumPy arrays in `fn`.
            vectorized: `fn` takes arrays with a leading chain axis and returns (chain,): one call moves all chains.
            gradient: `fn` returns (log density, gradient): a dict of derivatives by the constrained values, shaped
                like `p`, or one array of them along the parameters. Kernels with gradients then work; they are
                checked against differences at the start.
            workers: a number of processes that call `fn` for the chains side by side, or any
                `concurrent.futures.Executor` (MPI's too), for functions that take milliseconds or more. A process
                gets `fn` pickled (by what it is where it stands in a script or a notebook), with `data`, once; no
                `if __name__ == "__main__"` is needed. About how long a run takes is said before it starts.
            **more: `derived`, `log_likelihood`, `predictive` (JAX functions), `dims` and `coords`, as in `Target`.

        Raises:
            TypeError, ValueError: a bad argument, a kernel that uses gradients where there are none, a gradient that
                is not that of the log density. What `fn` raises comes out of `sample` as it is.
            SamplingError: a worker died. ImportError: `workers=8` without loky installed.

        Example:
            >>> import mcmc
            >>> target = mcmc.Target.black_box(lambda p: -0.5 * float(p["x"]) ** 2, {"x": mcmc.real()})
            >>> target.dim
            1
        """
        check_function(fn, data, vectorized, gradient)
        check_workers(workers)
        target = Target(fn, parameters, data, **more)
        target.host = Host(fn, target.leaves, target.data, vectorized, gradient, workers)
        target.log_density = target.host.log_density
        return target

    def __eq__(self, other: object) -> bool:  # two targets of the same parameters are two targets
        return self is other

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        inside = ", ".join(f"{leaf.name}: {leaf.support!r}" for leaf in self.leaves)
        return f"Target({inside}; {self.dim} dimensions)"

    @property
    def discrete(self) -> tuple[str, ...]:
        """Names of the discrete parameters."""
        return tuple(leaf.name for leaf in self.leaves if leaf.support.discrete)

    def with_data(self, data: Any) -> Target:
        """The same target on other data; nothing is recompiled where shapes and types are equal."""
        if self.data is None:
            raise WrongValue(
                "data", data, "a target made with data=", "Write log_density(p, data) and pass data= first."
            )
        new = Target.__new__(Target)
        new.__dict__.update(self.__dict__, data=as_data(data))
        if self.host:
            new.host = self.host.with_data(new.data)
            new.log_density, new.programs = new.host.log_density, Cache(MOST_PROGRAMS)  # a program keeps its host
        return new

    def with_parameters(self, parameters: Parameters) -> Target:
        """The same target with other supports of some parameters, of the same shapes: `{"mu": mcmc.ordered(3)}`.

        What the log density is at a value stays as it is; what lies outside the new supports is left out.

        Raises:
            ValueError, TypeError: a name that the target has not, a shape that it had not, or no support.

        Example:
            >>> import mcmc
            >>> target = mcmc.Target(lambda p: -0.5 * (p["mu"] ** 2).sum(), {"mu": mcmc.real(2)})
            >>> target.with_parameters({"mu": mcmc.ordered(2)})
            Target(mu: ordered(2); 2 dimensions)
        """
        unknown = sorted(set(parameters) - set(self.parameters))
        if unknown:
            expected = f"names among {', '.join(self.parameters)}"
            raise WrongValue("parameters", unknown, expected, "Make a new Target to add parameters.")
        declared = tuple(leaves({**self.parameters, **parameters}))
        shapes, old = ({leaf.name: leaf.support.shape for leaf in of} for of in (declared, self.leaves))
        if shapes != old:
            name = next(n for n in {**old, **shapes} if old.get(n) != shapes.get(n))
            expected = f"shape {old.get(name)}, as in the target"
            raise WrongValue(f"parameters[{name!r}]", f"shape {shapes.get(name)}", expected, "Keep the shape.")
        return self._copy(parameters={**self.parameters, **parameters}, leaves=declared)

    def restricted_to(self, condition: Callable[[Any], Any]) -> Target:
        """The same target where `condition(p)`, a scalar, holds, and no mass elsewhere.

        Example:
            >>> import mcmc
            >>> target = mcmc.Target(lambda p: -0.5 * (p["at"] ** 2).sum(), {"at": mcmc.real(3, 2)})
            >>> first = target.restricted_to(lambda p: (p["at"][1:, 0] > p["at"][:-1, 0]).all())
        """
        if isinstance(self.log_density, Joint):
            log_prior = within(self.log_density.log_prior, condition)
            joint = Joint(log_prior, self.log_density.log_likelihood)
            return self._copy(log_density=joint, log_prior=log_prior, prior=None)
        inner: Callable[..., Any] = self.host.fn if self.host else self.log_density
        host = self.host
        vectorized, has_gradient = (host.vectorized, host.gradient) if host else (False, False)
        where: Any = np.where if self.host else jnp.where

        def log_density(p: Any, *data: Any) -> Any:  # without self, which no worker could be sent
            holds = jax.vmap(condition)(p) if vectorized else condition(p)
            if has_gradient:
                lp, gradient = inner(p, *data)
                return where(holds, lp, -math.inf), gradient
            return where(holds, inner(p, *data), -math.inf)

        return self._copy(log_density=log_density)

    def _copy(self, **changed: Any) -> Target:
        """The same target with these attributes changed, and programs of its own."""
        new = Target.__new__(type(self))
        new.__dict__.update(self.__dict__, programs=Cache(MOST_PROGRAMS), **changed)
        if self.host:
            fn = changed.get("log_density", self.host.fn)
            new.host = self.host.calling(fn, new.leaves, new.data)
            new.log_density = new.host.log_density
        return new

    # --- for the engine -----------------------------------------------------------------------------------

    def value(self, position: jax.Array, data: Any) -> jax.Array:
        """Log π(y): the log density at a position, Jacobian included."""
        p, log_jacobian = self.constrain(position)
        if isinstance(self.log_density, Joint):
            lp = sum(parts_at(self, p, data))
        else:
            lp = self._call("log_density", self.log_density, p, data)
        if told := of_a_library("log_density", lp, self.log_density):
            raise told
        return scalar(lp).astype(position.dtype) + log_jacobian

    def recorded(self, position: jax.Array, data: Any) -> dict[str, jax.Array]:
        """What is kept of a draw: parameters and derived values, by name."""
        p, _ = self.constrain(position)
        kept = {leaf.name: get(p, leaf.path) for leaf in self.leaves}
        if self.derived is not None:
            extra = self._call("derived", self.derived, p, data)
            if not isinstance(extra, Mapping):
                raise WrongType("derived", type(extra), "a function that returns a dict", "Return {name: array}.")
            clash = sorted(set(extra) & set(kept))
            if clash:
                raise WrongValue("derived", clash, "names that are not parameters", "Rename them.")
            for name in extra:
                check_name("derived", name)
            kept |= {name: jnp.asarray(x) for name, x in extra.items()}
        return kept

    def _call(self, argument: str, function: Callable, *args: Any) -> Any:
        *first, data = args
        arguments = tuple(first) if self.data is None else (*first, data)
        try:
            return function(*arguments)
        except KeyError as error:
            missing = missing_name(argument, function, arguments, len(first) - 1)
            if missing is not None:
                raise missing from error
            raise
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            try:
                inspect.signature(function).bind(*arguments)
            except TypeError:
                taken = {"prior": "key", "predictive": "key, p"}.get(argument, "p")
                wanted = f"({taken})" if self.data is None else f"({taken}, data)"
                remedy = "Pass data= to the Target." if self.data is None else "Take data as the last argument."
                text = got(argument, str(inspect.signature(function)), f"a function of {wanted}", remedy)
                raise TypeError(text) from error
            except ValueError:  # no signature
                pass
            if told := explained(argument, error, function):
                raise told from error
            raise

    def _check_names(self, recorded: Sequence[str]) -> None:
        """Raise ValueError where dims name neither what is recorded nor data."""
        if self.log_likelihood is None and self.predictive is None:  # which may have names of their own
            check_names(self.dims, self.data, recorded)

    def trace(self, dtype: DTypeLike) -> Traced:
        """The target as functions of (arrays, position) in `dtype`; arrays that were captured come out as arguments."""
        if self.host:
            self.host.raised = None
        data = as_arrays(self.data, dtype)
        position = jax.ShapeDtypeStruct((self.dim,), dtype)
        density = hoist(self.value, position, data, differentiated=True)
        shapes: dict = {}
        own = type(self).recorded is Target.recorded and self.derived is None
        plain = own and all(isinstance(leaf.support, Real) for leaf in self.leaves)

        def record(position: jax.Array, data: Any) -> jax.Array:
            kept = self.recorded(position, data)
            shapes.update({k: (v.shape, v.dtype) for k, v in kept.items()})
            if plain:
                return position
            return jnp.concatenate([v.reshape(-1).astype(dtype) for v in kept.values()])

        recording = hoist(record, position, data)
        columns, start = [], 0
        for name, (shape, kind) in shapes.items():
            stop = start + math.prod(shape)
            columns.append(Column(name, tuple(shape), str(kind), start, stop))
            start = stop
        check_dims(self.dims, self.coords, {c.name: c.shape for c in columns})
        self._check_names([c.name for c in columns])
        flat = tuple(jax.tree.leaves(data))
        n = len(flat)
        return Traced(
            log_density=jax.jit(lambda arrays, y: density.call(arrays[n : n + len(density.arrays)], y, arrays[:n])),
            record=lambda arrays, y: recording.call(arrays[n + len(density.arrays) :], y, arrays[:n]),
            arrays=(*flat, *density.arrays, *recording.arrays),
            columns=tuple(columns),
            calls_back=self.host is None and (density.calls_back or recording.calls_back),
            branches=density.branches,
            fingerprint=density.fingerprint.joined(recording.fingerprint, of_static((n, len(density.arrays)))),
        )

    def check_outputs(self, dtype: DTypeLike) -> None:
        """Trace `log_likelihood` and `predictive`, so that their errors come before a run, not after it."""
        position, data = jax.ShapeDtypeStruct((self.dim,), dtype), as_arrays(self.data, dtype)

        def called(key: jax.Array, position: jax.Array, data: Any) -> list:
            p, _ = self.constrain(position)
            made = [("log_likelihood", self.log_likelihood, (p,)), ("predictive", self.predictive, (key, p))]
            if not isinstance(self.log_density, Joint) and self.log_prior is not None:
                prior_terms(self._call("log_prior", self.log_prior, p, data))
            return [as_named(name, self._call(name, f, *args, data)) for name, f, args in made if f is not None]

        if self.log_likelihood is not None or self.predictive is not None or self.log_prior is not None:
            jax.eval_shape(called, jax.random.key(0), position, data)

    def starts(self, init: Mapping) -> Iterator[tuple[Leaf, np.ndarray]]:
        """The arrays of a start, one for each parameter that it names; shapes are the caller's to check."""
        if not isinstance(init, Mapping):
            raise WrongType("init", init, "a dict of constrained starts", f"Give {', '.join(self.names)}.")
        unknown = sorted(names_in(init) - set(self.names))
        if unknown:
            raise WrongValue("init", unknown, f"names among {', '.join(self.names)}", "Remove the unknown ones.")
        if not init:
            names = ", ".join(self.names)
            raise WrongValue("init", "nothing", "a start for a parameter", f"Give some of {names}.")
        for leaf in self.leaves:
            value = init.get(leaf.name) if leaf.name in init else get(init, leaf.path, missing=None)
            if value is None:
                continue
            value = np.asarray(value)
            if value.dtype.kind not in "biuf":
                remedy = "Give a number, or an array of them."
                raise WrongType(f"init[{leaf.name!r}]", value, f"real numbers of shape {leaf.support.shape}", remedy)
            yield leaf, value

    def describe(self, position: np.ndarray) -> dict[str, Any]:
        """The parameters at a position as NumPy arrays, for messages."""
        p = _parameters(Space(self.leaves), np.asarray(position))
        return {leaf.name: np.asarray(get(p, leaf.path)) for leaf in self.leaves}

    def values_at(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters at positions (chain, dim), by name (chain, ...)."""
        p = compile_program(jax.vmap(lambda y: self.constrain(y)[0]), positions)[0](positions)
        return {leaf.name: np.asarray(get(p, leaf.path)) for leaf in self.leaves}


@partial(jax.jit, static_argnums=0)
def _parameters(space: Space, position: jax.Array) -> dict:
    """The parameters at a position, by one program for all targets of these supports."""
    return space.constrain(position)[0]

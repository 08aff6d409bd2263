"""A target as traced functions of arrays and a position: what programs are compiled from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer, eval_jaxpr
from jax.extend.core import jaxprs_in_params

from mcmc.engine.surroundings import refuse_traced
from mcmc.errors import WrongValue
from mcmc.target.branches import NO_BRANCHES, Branches, branches_of
from mcmc.target.fingerprint import Fingerprint, of_density, of_jaxpr, of_static


@dataclass(frozen=True)
class Column:
    """One recorded array: its name, shape and type, and its columns in the row of a draw."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int
    stop: int


@dataclass(frozen=True)
class Traced:
    """The target as pure functions of (arrays, position): what the user's code computes, its data as arguments.

    `log_jacobian` is what a map from the kernel's position to the target's adds to the log density, if there is one.
    `calls_back` says that there are callbacks to Python in it, `branches` where it may jump.
    """

    log_density: Callable
    record: Callable
    arrays: tuple
    columns: tuple[Column, ...]
    fingerprint: Fingerprint
    log_jacobian: Callable | None = None
    calls_back: bool = False
    branches: Branches = NO_BRANCHES

    @property
    def width(self) -> int:
        """How many numbers are recorded of a draw."""
        return self.columns[-1].stop

    def keeping(self, names: tuple[str, ...]) -> Traced:
        """The same target, of which only the columns of these names are recorded."""
        kept = [column for column in self.columns if column.name in names]
        columns, start = [], 0
        for column in kept:
            columns.append(replace(column, start=start, stop=start + column.stop - column.start))
            start = columns[-1].stop

        def record(arrays: tuple, position: jax.Array) -> jax.Array:
            whole = self.record(arrays, position)
            return jnp.concatenate([whole[column.start : column.stop] for column in kept])

        fingerprint = self.fingerprint.joined(of_static([(column.start, column.stop) for column in kept]))
        return replace(self, record=record, columns=tuple(columns), fingerprint=fingerprint)


@dataclass(frozen=True)
class Hoisted:
    """A traced function `call(arrays, position, data)` of one result; the arrays that it captured; what it is."""

    call: Callable
    arrays: tuple
    fingerprint: Fingerprint
    calls_back: bool = False
    branches: Branches = NO_BRANCHES


def calls_back(jaxpr: Any) -> bool:
    """Whether a program has a callback to Python in it."""
    return any(
        eqn.primitive.name in ("pure_callback", "io_callback") or any(map(calls_back, jaxprs_in_params(eqn.params)))
        for eqn in jaxpr.eqns
    )


def _is_single(jaxpr: Any) -> bool:
    """Whether a program has a callback that does not say how it is called for many chains."""
    return any(
        (eqn.primitive.name == "pure_callback" and eqn.params.get("vmap_method") is None)
        or any(map(_is_single, jaxprs_in_params(eqn.params)))
        for eqn in jaxpr.eqns
    )


def _check_callbacks(jaxpr: Any) -> None:
    """Refuse callbacks that can't be called for many chains; a library may have rules of its own for some."""
    if not _is_single(jaxpr.jaxpr):
        return
    position, *data = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in jaxpr.in_avals)
    many = jax.ShapeDtypeStruct((2, *position.shape), position.dtype)
    axes = (0, *(None for _ in data))
    try:
        jax.eval_shape(jax.vmap(partial(eval_jaxpr, jaxpr.jaxpr, jaxpr.consts), axes), many, *data)
    except (NotImplementedError, ValueError) as error:
        remedy = 'Pass vmap_method="sequential"; "expand_dims" where it takes arrays of points.'
        expected = "one: chains are computed together"
        raise WrongValue("jax.pure_callback", "no vmap_method", expected, remedy) from error


def hoist(function: Callable, position: jax.ShapeDtypeStruct, data: Any, differentiated: bool = False) -> Hoisted:
    """Trace once; the arrays that the function captured become arguments, so that new data need no new program."""
    jaxpr = jax.make_jaxpr(function)(position, data)
    _check_callbacks(jaxpr)
    consts = tuple(jaxpr.consts)
    if any(isinstance(c, Tracer) for c in consts):
        refuse_traced()

    def call(arrays: tuple, y: jax.Array, flat_data: tuple) -> jax.Array:
        return eval_jaxpr(jaxpr.jaxpr, list(arrays), y, *flat_data)[0]

    arrays = tuple(c if isinstance(c, jax.Array) else jax.device_put(np.asarray(c)) for c in consts)
    arguments = arrays, position, tuple(jax.tree.leaves(data))
    fingerprint = of_density(call, jaxpr, arguments) if differentiated else of_jaxpr(jaxpr)
    return Hoisted(call, arrays, fingerprint, calls_back(jaxpr.jaxpr), branches_of(jaxpr.jaxpr))

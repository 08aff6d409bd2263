"""Branches of a traced log density on its parameters: where it may jump, or end at −inf."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, jaxprs_in_params

COMPARISONS = {"lt", "gt", "le", "ge"}
SMOOTH = "_same_either_way"
SHAPES = {"broadcast_in_dim", "reshape", "convert_element_type", "neg", "squeeze", "expand_dims"}


def same_either_way(condition: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """`jnp.where` of two forms of one smooth function: no branch."""
    return _same_either_way(condition, one, other)


@jax.jit
def _same_either_way(condition: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.where(condition, one, other)


class Branches(NamedTuple):
    """Whether a log density is ±inf where a comparison of parameters says so (`guards`), or takes other values."""

    guards: bool = False
    others: bool = False


NO_BRANCHES = Branches()


class _Of(NamedTuple):
    """What is known of a variable: it depends on parameters, on a comparison of them, it is ±inf."""

    parameters: bool = False
    comparison: bool = False
    infinite: bool = False


def branches_of(jaxpr: Any) -> Branches:
    """The branches of a jaxpr whose first argument is the position."""
    found = {"guards": False, "others": False}
    given = [_Of(parameters=i == 0) for i in range(len(jaxpr.invars))]
    _walk(jaxpr, given, found)
    return Branches(**found)


def _walk(jaxpr: Any, given: list[_Of], found: dict[str, bool]) -> list[_Of]:
    known = dict(zip(jaxpr.invars, given, strict=True))

    def of(v: Any) -> _Of:
        if isinstance(v, Literal):
            return _Of(infinite=_of_kind(v, np.floating) and bool(np.isinf(v.val).all()))
        return known.get(v, _Of())

    for eqn in jaxpr.eqns:
        ins, name = [of(v) for v in eqn.invars], eqn.primitive.name
        if eqn.params.get("name") == SMOOTH:
            known |= dict.fromkeys(eqn.outvars, _Of(any(i.parameters for i in ins)))
            continue
        parameters, comparison = any(i.parameters for i in ins), any(i.comparison for i in ins)
        if name in ("select_n", "cond") and ins[0].comparison:
            found["guards" if any(i.infinite for i in ins[1:]) else "others"] = True
        if name == "convert_element_type" and comparison and _of_kind(eqn.outvars[0], np.floating):
            found["others"] = True
        infinite = name in SHAPES and ins[0].infinite
        outs = [_Of(parameters, parameters if name in COMPARISONS else comparison, infinite)] * len(eqn.outvars)
        for inner in jaxprs_in_params(eqn.params):
            given = ins[len(ins) - len(inner.invars) :] if len(inner.invars) <= len(ins) else []
            within = _walk(inner, given or [_Of(parameters, comparison)] * len(inner.invars), found)
            outs = within if len(within) == len(outs) else outs
        for v, out in zip(eqn.outvars, outs, strict=True):
            known[v] = out._replace(comparison=False) if _of_kind(v, np.floating) else out
    return [of(v) for v in jaxpr.outvars]


def _of_kind(v: Any, kind: type) -> bool:
    return jnp.issubdtype(v.aval.dtype, kind) if hasattr(v.aval, "dtype") else False  # keys have types of their own

"""Whether two traced functions are one program but for the width of their integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Literal
from jax.interpreters.partial_eval import dce_jaxpr

from mcmc.target.fingerprint import Reader


def is_one_program(one: Any, other: Any) -> bool:
    """Whether two traced functions compute the same from the same arrays, if all integers fit."""
    (first, own), (second, others) = _by_use(one), _by_use(other)
    prints = []
    for jaxpr in (first, second):
        reader = _WidthBlind()
        reader.jaxpr(jaxpr)
        prints.append(reader.fingerprint())
    if prints[0] != prints[1] or prints[0].private:
        return False
    return all(_equal(np.asarray(a), np.asarray(b)) for a, b in zip(own, others, strict=True))


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f")


def _by_use(closed: Any) -> tuple[Any, list]:
    """A function's jaxpr without what is of no use, and what it captured, in the order of its use."""
    jaxpr = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True)[0]
    values = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    read = [*(v for equation in jaxpr.eqns for v in equation.invars), *jaxpr.outvars]
    used = [v for v in dict.fromkeys(v for v in read if not isinstance(v, Literal)) if v in values]
    return jaxpr.replace(constvars=used), [values[v] for v in used]


@dataclass
class _WidthBlind(Reader):
    """Reads integers of every width alike; conversions between them count for nothing."""

    ignored: tuple[str, ...] = ("name", "weak_type")

    def only_renames(self, equation: Any) -> bool:
        """Whether it converts integers to integers, or to the type that they have."""
        if equation.primitive.name != "convert_element_type":
            return False
        before, after = equation.invars[0].aval, equation.outvars[0].aval
        return _kind(before.dtype) == _kind(after.dtype)

    def value(self, x: Any) -> None:
        """As in `Reader`."""
        if isinstance(x, ShapedArray):
            self.put(f"{_kind(x.dtype)} {x.shape}")
        elif isinstance(x, np.dtype):
            self.put(_kind(x))
        else:
            super().value(x)

    def literal(self, x: Any) -> None:
        """As in `Reader`."""
        self.array(np.asarray(x)) if isinstance(x, int) else super().literal(x)

    def array(self, x: Any) -> None:
        """As in `Reader`."""
        is_integer = jnp.issubdtype(x.dtype, jnp.integer)
        super().array(np.asarray(x).astype(np.int64) if is_integer else x)


def _kind(dtype: Any) -> str:
    return "integer" if jnp.issubdtype(dtype, jnp.signedinteger) else str(dtype)

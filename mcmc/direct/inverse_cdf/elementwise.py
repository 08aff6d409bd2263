"""An interpreter for elementwise jax.numpy functions that evaluates them with NumPy, so that setup compiles nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

SAME = ["abs", "sign", "floor", "ceil", "exp", "exp2", "expm1", "log", "log1p", "sqrt", "square", "cbrt", "sin", "cos"]
SAME += ["tan", "sinh", "cosh", "tanh"]
UNARY = {name: getattr(np, name) for name in SAME} | {
    "neg": np.negative,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "is_finite": np.isfinite,
    "not": np.logical_not,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "copy": lambda x: x,
}
BINARY = {
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "rem": np.fmod,
    "pow": np.power,
    "atan2": np.arctan2,
    "max": np.maximum,
    "min": np.minimum,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
}
SIMPLE = (
    UNARY
    | BINARY
    | {
        "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
        "select_n": lambda which, *cases: np.where(which, cases[-1], cases[0]),
    }
)
CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}


def on_host(function: Callable, size: int = 256) -> Callable | None:
    """The same function from float64 arrays to float64 arrays; None where it is not of operations known here."""
    with contextlib.suppress(Exception):  # its own errors show where it is called
        traced: Any = jax.make_jaxpr(function)(jax.ShapeDtypeStruct((size,), np.float64))
        if [v.aval.shape for v in traced.jaxpr.outvars] == [(size,)] and _known(traced, (size,)):
            return lambda x: np.array(np.broadcast_to(_evaluate(traced, x)[0], x.shape), np.float64)
    return None


def _known(closed: Any, shape: tuple[int, ...]) -> bool:
    if not all(np.all(np.equal(c, np.ravel(c)[0])) for c in closed.consts):  # one number, perhaps many times
        return False
    variables = [v for e in closed.jaxpr.eqns for v in (*e.invars, *e.outvars)] + [*closed.jaxpr.constvars]
    if not all(v.aval.dtype in (np.float64, np.bool_) and v.aval.shape in ((), shape) for v in variables):
        return False
    for equation in closed.jaxpr.eqns:
        name = equation.primitive.name
        if name in CALLS:
            if not _known(equation.params[CALLS[name]], shape):
                return False
        elif name not in SIMPLE and name not in ("integer_pow", "broadcast_in_dim", "convert_element_type"):
            return False
    return True


def _evaluate(closed: Any, *args: Any) -> list:
    values = dict(zip(closed.jaxpr.constvars, (np.ravel(c)[0] for c in closed.consts), strict=True))
    values |= dict(zip(closed.jaxpr.invars, args, strict=True))

    def value(v: Any) -> Any:
        return v.val if hasattr(v, "val") else values[v]

    for equation in closed.jaxpr.eqns:
        name, inputs = equation.primitive.name, [value(v) for v in equation.invars]
        if name in CALLS:
            found = _evaluate(equation.params[CALLS[name]], *inputs)
        elif name == "integer_pow":
            found = [_power(inputs[0], equation.params["y"])]
        elif name == "broadcast_in_dim":
            found = inputs
        elif name == "convert_element_type":
            found = [np.asarray(inputs[0]).astype(equation.params["new_dtype"])]
        else:
            found = [SIMPLE[name](*inputs)]
        values |= dict(zip(equation.outvars, found, strict=True))
    return [value(v) for v in closed.jaxpr.outvars]


def _power(x: Any, n: int) -> Any:
    """xⁿ by squaring, as XLA does."""
    out, square = np.ones_like(x), x
    for bit in reversed(bin(abs(n))[2:]):
        if bit == "1":
            out = out * square
        square = square * square
    return out if n >= 0 else 1 / out

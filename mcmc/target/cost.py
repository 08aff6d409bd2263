"""What a log density and its gradient cost: an estimate from what is computed, never from a clock.

The same call must make the same draws, so that nothing that is chosen may depend on how busy a machine is.
"""

from __future__ import annotations

import math
from typing import Any

import jax
from jax.extend.core import jaxprs_in_params

NOMINAL_LANES = 16
MULTIPLY_ADD, CHEAP, COSTLY, SPECIAL, MOVED, BYTE, TURN, CALL, FACTORED = 0.07, 0.25, 5.0, 50.0, 1.0, 0.1, 2.0, 2e4, 0.2
UNKNOWN_TURNS = 16  # of a loop that ends when a condition holds
KINDS = {
    0.0: "broadcast_in_dim reshape squeeze convert_element_type stop_gradient copy iota split slice pad",
    MOVED: "transpose gather scatter scatter-add dynamic_slice dynamic_update_slice concatenate rev",
    COSTLY: "exp exp2 expm1 log log1p logistic tanh sin cos tan asin acos atan atan2 sinh cosh pow erf erfc cbrt",
    SPECIAL: "lgamma digamma polygamma igamma igammac igamma_grad_a random_gamma_grad regularized_incomplete_beta "
    "bessel_i0e bessel_i1e erf_inv zeta",
}
COSTS = {name: cost for cost, names in KINDS.items() for name in names.split()}
FACTORS = {"cholesky": 1 / 3, "lu": 2 / 3, "qr": 4 / 3, "geqrf": 4 / 3, "householder_product": 4 / 3, "eigh": 9.0}
FACTORS["svd"] = 20.0


def traced_gradient(log_density: Any, arrays: tuple, dim: int, dtype: Any) -> Any:
    """The program of a log density and its gradient, as a jaxpr; whatever tracing raises where there is none."""
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arrays)
    position = jax.ShapeDtypeStruct((dim,), dtype)
    return jax.make_jaxpr(lambda a, y: jax.value_and_grad(lambda z: log_density(a, z))(y))(shapes, position).jaxpr


def cost_of(jaxpr: Any) -> float:
    """Nanoseconds that a program takes for one of 16 chains together, on a usual core.

    Counted are the numbers made, by what makes them, multiplications of matrices and what these read, factorisations,
    and turns of loops. Good to a factor of about three; what a call costs besides is not counted.
    """
    return sum(map(_cost_of, jaxpr.eqns))


def _cost_of(equation: Any) -> float:
    """Of one operation."""
    name, params = equation.primitive.name, equation.params
    inner = [cost_of(getattr(sub, "jaxpr", sub)) for sub in jaxprs_in_params(params)]
    made = sum(_size(v) for v in equation.outvars)
    if name == "scan":
        return params["length"] * (sum(inner) + TURN)
    if name == "while":
        return UNKNOWN_TURNS * (sum(inner) + TURN)
    if name == "cond":
        return max(inner)
    if name == "dot_general":
        return _product(equation, made)
    if name == "triangular_solve":
        return _size(equation.invars[1]) * equation.invars[0].aval.shape[-1] * FACTORED
    if name in FACTORS:
        shape = equation.invars[0].aval.shape
        return FACTORS[name] * math.prod(shape) * shape[-1] * FACTORED
    if "callback" in name:
        return CALL
    if inner:
        return sum(inner)
    if name.startswith(("reduce", "cum", "arg")):
        return CHEAP * sum(_size(v) for v in equation.invars)
    if name == "sort":
        return made * math.log2(made + 2) * MOVED
    return COSTS.get(name, CHEAP) * made


def _size(variable: Any) -> int:
    return math.prod(getattr(variable.aval, "shape", ()))


def _product(equation: Any, made: int) -> float:
    """Multiplications of a product of arrays, and its operands, read once for all chains."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    first = equation.invars[0].aval
    terms = math.prod(first.shape[i] for i in contracted)
    read = sum(_size(v) * v.aval.dtype.itemsize for v in equation.invars)
    return 2 * made * terms * MULTIPLY_ADD + read * BYTE / NOMINAL_LANES

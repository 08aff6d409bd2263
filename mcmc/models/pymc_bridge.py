"""PyMC models as targets: the model without its transforms, its graphs as JAX functions of parameters and data."""

# pyright: reportMissingImports=false
# (PyMC is optional; `mcmc.from_pymc` imports this module and says what to install.)

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions import transforms
from pymc.distributions.discrete import DiscreteUniformRV
from pymc.model.transform.conditioning import remove_value_transforms
from pymc.model.transform.optimization import freeze_dims_and_data
from pytensor.compile.mode import JAX, Mode
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.basic import (
    BernoulliRV,
    BetaBinomialRV,
    BinomialRV,
    CategoricalRV,
    GeometricRV,
    NegBinomialRV,
    PoissonRV,
)
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.random.type import RandomType

from mcmc.errors import WrongType, WrongValue
from mcmc.models.data import ModelTarget, axis_names
from mcmc.models.faithful import check_against
from mcmc.models.pymc_compiled import Compiled
from mcmc.target import support as supports
from mcmc.target.matrix_bijectors import PackedCholesky, ZeroSum

_x64 = jax.config.jax_enable_x64
from pytensor.link.jax.dispatch.basic import jax_funcify  # noqa: E402  (which turns x64 on for the whole process)

jax.config.update("jax_enable_x64", _x64)

NO_JAX = (NotImplementedError, RuntimeError)  # of PyTensor, where an operation has no JAX form


def target_of(model: Any) -> ModelTarget:
    """The Target of a PyMC model; see `mcmc.from_pymc`."""
    if not isinstance(model, pm.Model):
        raise WrongType("model", model, "a pymc.Model", "Pass the model, not its draws or a function.")
    if not model.free_RVs:
        raise WrongValue("model", model.basic_RVs, "a free random variable", "Leave out observed= somewhere.")
    with jax.enable_x64(True):
        plain = _without_transforms(model)
        observed = [rv.name for rv in plain.observed_RVs]
        shapes = _shapes(plain)
        graphs = Graphs(plain, shapes)
        parameters, fixed = {}, set()
        for old in model.free_RVs:  # in the order of their making: a bound uses those before it
            rv, transform = plain[old.name], model.rvs_to_transforms[old]
            bounds, used = _bounds(transform, rv, plain, graphs)
            parameters[rv.name] = _support(transform, rv, shapes[rv.name], bounds)
            fixed |= used
        others = [*plain.free_RVs, *plain.potentials]
        pointwise = plain.logp(plain.observed_RVs, sum=False) if observed else []
        named = {rv.name: rv for rv in plain.deterministics if f"{rv.name}_unobserved" not in plain.named_vars}
        recorded = plain.replace_rvs_by_values(list(named.values()))
        density = graphs.function([plain.logp()])
        by_name = graphs.named if (jaxless := _without_jax(plain, graphs, [*recorded, *pointwise])) is None else None
        by_name = by_name or Compiled(plain, graphs).named
        target = ModelTarget(
            fixed=fixed,
            log_density=lambda p, data: density(p, data)[0],
            parameters=parameters,
            data=graphs.data,
            derived=by_name(list(named), recorded) if named else None,
            log_likelihood=by_name(observed, pointwise) if observed else None,
            log_prior=by_name([t.name for t in others], plain.logp(others, sum=False)) if observed else None,
            dims=_dims(plain, {**parameters, **graphs.data, **named}),
            coords={dim: np.asarray(labels) for dim, labels in plain.coords.items() if labels is not None},
        )
        if jaxless is not None:
            Compiled(plain, graphs).give_density(target, jaxless)
            return target
        theirs = plain.compile_logp(mode=Mode(linker="py", optimizer="fast_compile"))
        inputs = {rv.name: plain.rvs_to_values[rv].name for rv in plain.free_RVs}
        check_against(target, lambda p: theirs({inputs[n]: x for n, x in p.items()}), "PyMC")
    return target


def _without_jax(plain: Any, graphs: Graphs, recorded: Sequence[Any]) -> str | None:
    """The names of the variables that have no JAX form, with what PyTensor says; None where all have one."""
    try:
        graphs.function([plain.logp(), *recorded]).compiled(True)
        return None
    except NO_JAX as error:
        said = str(error).splitlines()[0]
    terms = {rv.name: plain.logp([rv]) for rv in [*plain.basic_RVs, *plain.potentials]}
    derived = plain.replace_rvs_by_values(plain.deterministics)
    terms |= {d.name: graph for d, graph in zip(plain.deterministics, derived, strict=True)}
    return f"{', '.join(map(repr, [n for n, graph in terms.items() if not _has_jax(graphs, graph)]))} ({said})"


def _has_jax(graphs: Graphs, graph: Any) -> bool:
    try:
        graphs.function([graph]).compiled(True)
        return True
    except NO_JAX:
        return False


def _without_transforms(model: Any) -> Any:
    """A copy of the model whose value variables are constrained, and whose dims have lengths known by now."""
    frozen = freeze_dims_and_data(model, data=[])
    for rv in frozen.free_RVs:  # of no use here, and refused by the next step
        frozen.rvs_to_initial_values[rv] = None
    return remove_value_transforms(frozen)


def _shapes(plain: Any) -> dict[str, tuple[int, ...]]:
    shapes = {rv.name: rv.type.shape for rv in plain.free_RVs}
    if any(None in shape for shape in shapes.values()):
        found = plain.eval_rv_shapes()
        return {name: tuple(map(int, found[name])) for name in shapes}
    return shapes


def _dims(plain: Any, recorded: Mapping) -> dict[str, list[str]]:
    """The model's dims of what is recorded, less those of observed vectors: their log likelihood has fewer axes."""
    vectors = {rv.name for rv in plain.observed_RVs if getattr(rv.owner.op, "ndim_supp", 0) > 0}
    dims = {}
    for name, labels in plain.named_vars_to_dims.items():
        names = axis_names(name, {i: d for i, d in enumerate(labels) if d is not None}, len(labels))
        if name in recorded and name not in vectors and names:
            dims[name] = names
    return dims


# --- graphs ---------------------------------------------------------------------------------------------


class Graphs:
    """The model's graphs as functions of (p, data): PyTensor's JAX form, observed values and data as arguments.

    `data` are the observed values by the names of their variables, and what else is in `pymc.Data`.
    """

    def __init__(self, plain: Any, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes = shapes
        self.values = {rv.name: plain.rvs_to_values[rv] for rv in plain.free_RVs}
        self.sources = {rv.name: plain.rvs_to_values[rv] for rv in plain.observed_RVs}
        observed = list(self.sources.values())
        graphs = [plain.logp(), *plain.replace_rvs_by_values(plain.deterministics)]
        if (variable := _random_in(graphs)) is not None:
            remedy = "Leave minibatches, simulators and random draws out of the model."
            names = [rv.name for rv in plain.basic_RVs if _random_in([plain.logp([rv])]) is not None]
            where = f"the log density of {', '.join(map(repr, names))}" if names else "a deterministic variable"
            raise WrongValue("model", f"{variable} in {where}", "no random draw in it", remedy)
        for variable in ancestors(graphs, blockers=observed):
            if isinstance(variable, SharedVariable) and variable not in observed:
                self.sources[variable.name] = variable
        self.data = {name: _value(source) for name, source in self.sources.items()}

    def names_in(self, outputs: Sequence[Any]) -> set[str]:
        """The parameters and data that graphs are computed from."""
        found = set(ancestors(outputs))
        return {name for name, variable in (self.values | self.sources).items() if variable in found}

    def as_inputs(self, outputs: Sequence[Any]) -> tuple[dict[str, Any], list]:
        """The graphs with new variables, of known shapes, for the parameters and data in them, and these by name."""
        used = self.names_in(outputs)
        inputs, replace = {}, {}
        for name, variable in (self.values | self.sources).items():
            if name in used:
                shape = self.data[name].shape if name in self.data else self.shapes[name]  # JAX needs known shapes
                inputs[name] = replace[variable] = pt.TensorType(variable.type.dtype, shape)(name)
        return inputs, clone_replace(list(outputs), replace, rebuild_strict=False)

    def function(self, outputs: Sequence[Any]) -> Any:
        """The graphs' values as a JAX function of (p, data), compiled by PyTensor once for each precision."""
        inputs, cloned = self.as_inputs(outputs)

        @functools.cache
        def compiled(wide: bool) -> Callable:
            with jax.ensure_compile_time_eval():  # constants are arrays, whatever is being traced
                return _as_jax(list(inputs.values()), cloned)

        def call(p: Mapping, data: Mapping) -> list:
            for n in set(inputs) & set(self.data):
                if np.shape(data[n]) != self.data[n].shape:
                    shapes = f"shape {np.shape(data[n])}", f"shape {self.data[n].shape}, as the model was read"
                    raise WrongValue(f"data[{n!r}]", *shapes, "Read the model anew for other shapes.")
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Explicitly requested dtype")  # float64 where there is none
                given = [_typed((data if n in self.data else p)[n], v.type.dtype) for n, v in inputs.items()]
                return compiled(bool(jax.config.jax_enable_x64))(*given)

        call.compiled = compiled
        return call

    def named(self, names: Sequence[str], outputs: Sequence[Any]) -> Callable[[Mapping, Mapping], dict]:
        """The graphs' values by name."""
        function = self.function(outputs)
        return lambda p, data: dict(zip(names, map(jnp.asarray, function(p, data)), strict=True))


def _random_in(graphs: Sequence[Any]) -> Any:
    """A random draw, or the state of a generator, that graphs are computed from."""
    for variable in ancestors(graphs):
        if isinstance(variable.type, RandomType) or isinstance(getattr(variable.owner, "op", None), RandomVariable):
            return variable
    return None


def _as_jax(inputs: list, outputs: list) -> Callable:
    graph = FunctionGraph(inputs=inputs, outputs=outputs, clone=True)
    JAX.including("local_check_parameter_to_ninf_switch").optimizer.rewrite(graph)
    return jax_funcify(graph)


def _value(source: Any) -> np.ndarray:
    """The value of a constant, a shared variable, or a cast of one."""
    if isinstance(source, Constant):
        return np.asarray(source.data)
    return np.asarray(source.get_value() if isinstance(source, SharedVariable) else source.eval())


def _typed(x: Any, dtype: str) -> jax.Array:
    """An argument as the graph expects it; floats in the precision they have."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(dtype)


# --- supports -------------------------------------------------------------------------------------------

SCALARS = {
    transforms.LogTransform: supports.positive,
    transforms.LogExpM1: supports.positive,
    transforms.CircularTransform: supports.circular,
}
EVENTS = {  # support of vectors or matrices, axes of one value
    transforms.SimplexTransform: (supports.simplex, 1),
    transforms.CholeskyCorrTransform: (supports.cholesky_factor_corr, 2),
    transforms.CholeskyCovTransform: (supports.cov_matrix, 2),
}
DISCRETE = {  # the first and last value, from the parameters of the distribution
    BernoulliRV: lambda p: (0, 1),
    CategoricalRV: lambda p: (0, p.shape[-1] - 1),
    BinomialRV: lambda n, p: (0, n),
    BetaBinomialRV: lambda n, a, b: (0, n),
    DiscreteUniformRV: lambda low, high: (low, high),
    PoissonRV: lambda mu: (0, None),
    NegBinomialRV: lambda n, p: (0, None),
    GeometricRV: lambda p: (1, None),
}


def _support(transform: Any, rv: Any, shape: tuple[int, ...], bounds: list) -> Any:
    """Our support of a free variable: by its transform or, where it is discrete, by its distribution."""
    kind = type(transform)
    if np.dtype(rv.type.dtype).kind in "biu":
        return supports.boolean(shape=shape) if _op(rv) is BernoulliRV else supports.integer(*bounds, shape=shape)
    if transform is None:
        return supports.real(shape=shape)
    if kind in SCALARS:
        return SCALARS[kind](shape=shape)
    if isinstance(transform, transforms.IntervalTransform | transforms.LogOddsTransform):
        a, b = bounds
        if b is None:
            return supports.lower(a, shape=shape)
        if a is None:
            return supports.upper(b, shape=shape)
        return supports.interval(a, b, shape=shape)
    if kind in EVENTS and not getattr(transform, "upper", False):
        support, event = EVENTS[kind]
        return support(shape[-1], shape=shape[: len(shape) - event])
    if kind is transforms.Ordered and transform.ascending:
        support = supports.positive_ordered if transform.positive else supports.ordered
        return support(shape[-1], shape=shape[:-1])
    if kind is transforms.CholeskyCovPacked:
        return PackedCholesky(shape)
    axes = getattr(transform, "zerosum_axes", ())
    if axes and sorted(axes) == list(range(-len(axes), 0)):
        return ZeroSum(shape, len(axes))
    remedy = "Give the variable another transform, or write the model with another distribution."
    parts = " then ".join(type(t).__name__ for t in getattr(transform, "transform_list", [transform]))
    raise WrongValue("model", f"{rv.name!r} with the transform {parts}", "a support that mcmc has", remedy)


def _op(rv: Any) -> type:
    return type(rv.owner.op)


def _ends(transform: Any, rv: Any) -> tuple:
    """The bounds of a free variable as graphs, numbers or None."""
    if isinstance(transform, transforms.IntervalTransform):
        return transform.args_fn(*rv.owner.inputs)
    if isinstance(transform, transforms.LogOddsTransform):
        return 0.0, 1.0
    if _op(rv) in DISCRETE:
        return DISCRETE[_op(rv)](*rv.owner.op.dist_params(rv.owner))
    return None, None


def _bounds(transform: Any, rv: Any, plain: Any, graphs: Graphs) -> tuple[list, set[str]]:
    """The bounds as arrays, functions of the parameters before this one, or None; and the data they come from."""
    bounds, used = [], set()
    for end, graph in zip(("lower", "upper"), _ends(transform, rv), strict=True):
        if graph is None:
            bounds.append(None)
            continue
        (graph,) = plain.replace_rvs_by_values([pt.as_tensor(graph)])
        names = graphs.names_in([graph])
        used |= names & set(graphs.data)
        function = graphs.function([graph])

        def bound(p: Mapping, function: Callable = function) -> Any:
            return function(p, graphs.data)[0]

        bound.__name__ = f"{end} bound of {rv.name}"
        bounds.append(bound if names & set(graphs.values) else np.asarray(bound({})))
    return bounds, used

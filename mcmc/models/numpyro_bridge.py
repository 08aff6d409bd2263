"""NumPyro models as targets: the model is run once to find its sites, and traced again for the log density."""

# pyright: reportMissingImports=false
# (NumPyro is optional; `mcmc.from_numpyro` imports this module and says what to install.)

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.infer import init_to_feasible
from numpyro.infer.util import compute_log_probs, log_density
from numpyro.primitives import Messenger

from mcmc.errors import got
from mcmc.models.data import ModelTarget, axis_names
from mcmc.models.supports import LowerCholesky, ZeroSum
from mcmc.target import support as supports

NEEDS_NUMBERS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def target_of(model: Callable, args: tuple, kwargs: Mapping) -> ModelTarget:
    """The Target of a NumPyro model; see `mcmc.from_numpyro`."""
    if not callable(model):
        raise TypeError(got("model", model, "a function with NumPyro's primitives", "Pass the model itself."))
    with jax.enable_x64(True):
        arguments = Arguments(model, args, kwargs)
        sites = _run(model, arguments)
        _check(sites)
        observed = [n for n, s in sites.items() if _is_data(s)]
        arguments.rename({n: sites[n]["value"] for n in observed}, set(sites))
        latent = {n: s for n, s in sites.items() if s["type"] == "sample" and not s["is_observed"]}
        varying = _read_bounds(model, arguments, latent)
        parameters = {n: _support(n, s, _bounds(model, arguments, n, s, varying)) for n, s in latent.items()}
        data = {n: np.asarray(sites[n]["value"]) for n in observed} | arguments.arrays
        conditioned = Conditioned(model, arguments, {n: sites[n] for n in observed})
        derived = any(s["type"] == "deterministic" for s in sites.values())
        p = {n: s["value"] for n, s in latent.items()}
        return ModelTarget(
            fixed=arguments.fixed,
            optional=observed,
            log_density=conditioned.log_density,
            parameters=parameters,
            data=data,
            derived=conditioned.derived if derived else None,
            log_likelihood=conditioned.log_likelihood if observed else None,
            predictive=conditioned.predictive if observed and conditioned.can_be_sampled(p, data) else None,
            dims=_dims(sites),
        )


class Conditioned:
    """A model with its observed sites, as functions of (p, data)."""

    def __init__(self, model: Callable, arguments: Arguments, observed: Mapping[str, dict]):
        self.model, self.arguments, self.observed = model, arguments, list(observed)
        self.whole = [n for n, site in observed.items() if _is_whole(site)]  # not broadcast, and so never to be

    def log_density(self, p: Mapping, data: Mapping) -> jax.Array:
        """Log p(x, data): NumPyro's log joint of the constrained sites."""
        missing = sorted(set(self.observed) - set(data))
        if missing:
            raise ValueError(got("data", list(data), f"values for {', '.join(missing)}", "Give what was observed."))
        args, kwargs = self.arguments.given(data)
        lp, sites = log_density(self.model, args, kwargs, self._values(p, data))
        for name in self.whole:
            if not _is_whole(sites[name]):
                shape, expected = np.shape(data[name]), f"shape {sites[name]['fn'].shape()}, as the model has it"
                raise ValueError(got(f"data[{name!r}]", f"shape {shape}", expected, "Give every outcome its value."))
        return jnp.asarray(lp)

    def derived(self, p: Mapping, data: Mapping) -> dict:
        """The deterministic sites."""
        args, kwargs = self.arguments.given(data)
        run = handlers.trace(handlers.substitute(self.model, self._values(p, data)))
        sites = run.get_trace(*args, **kwargs)
        return {n: jnp.asarray(s["value"]) for n, s in sites.items() if s["type"] == "deterministic"}

    def log_likelihood(self, p: Mapping, data: Mapping) -> dict:
        """The pointwise log likelihood of the observed sites that the data give."""
        model, known = self.model, [n for n in self.observed if n in data]
        if len(known) < len(self.observed):
            model = handlers.seed(model, jax.random.key(0))  # a site without its value is drawn, and not looked at
        args, kwargs = self.arguments.given(data)
        terms, _ = compute_log_probs(model, args, kwargs, self._values(p, data), sum_log_prob=False)
        return {n: terms[n] for n in known}

    def predictive(self, key: jax.Array, p: Mapping, data: Mapping) -> dict:
        """Simulated values of the observed sites."""
        args, kwargs = self.arguments.given(data)
        model = handlers.seed(Unobserved(self.model, self.observed), key)
        sites = handlers.trace(handlers.substitute(model, _whole(p))).get_trace(*args, **kwargs)
        return {n: sites[n]["value"] for n in self.observed}

    def can_be_sampled(self, p: Mapping, data: Mapping) -> bool:
        """Whether every observed site has a distribution that can be sampled from."""
        try:
            jax.eval_shape(self.predictive, jax.random.key(0), p, data)
        except RuntimeError:
            return False
        return True

    def _values(self, p: Mapping, data: Mapping) -> dict:
        return _whole(p) | {n: _default_float(jnp.asarray(data[n])) for n in self.observed if n in data}


class Unobserved(Messenger):
    """A handler that forgets what was observed at the named sites, so that they are drawn."""

    def __init__(self, fn: Callable, names: list[str]):
        super().__init__(fn)
        self.names = names

    def process_message(self, msg: Any) -> None:
        """Called by NumPyro for every site."""
        if msg["type"] == "sample" and msg["name"] in self.names:
            msg["value"], msg["is_observed"] = None, False


class Arguments:
    """A model's arguments: arrays by name, which can be exchanged, and the rest, which stays.

    `arrays` are the named ones that are not the value of an observed site; `fixed` the names of those (and of
    observed sites) that keep the values they had.
    """

    def __init__(self, model: Callable, args: tuple, kwargs: Mapping):
        self.signature = inspect.signature(model)
        try:
            bound = self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            remedy = "Pass them as from_numpyro(model, *args, **kwargs)."
            raise TypeError(got("args", str(error), f"the model's arguments {self.signature}", remedy)) from error
        flat, self.structure = jax.tree.flatten_with_path(bound)
        self.leaves = [_copy(leaf) for _, leaf in flat]  # every leaf an object of its own, known by its identity
        names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in flat]
        self.names = {i: n for i, n in enumerate(names) if _is_array(self.leaves[i])}
        self.fixed: set[str] = set()
        self.observed: set[str] = set()

    def rename(self, observed: Mapping[str, Any], taken: set[str]) -> None:
        """Name an argument that is an observed value after its site, and no other like anything in the model."""
        sites = {id(value): name for name, value in observed.items()}
        for i, name in self.names.items():
            free = f"{name}_argument" if name in taken else name
            self.names[i] = sites.get(id(self.leaves[i]), free)
        self.observed = set(observed)

    @property
    def arrays(self) -> dict[str, Any]:
        """The arrays by name, observed values apart."""
        return {n: self.leaves[i] for i, n in self.names.items() if n not in self.observed}

    @property
    def whole(self) -> dict[str, Any]:
        """All arrays by name, those that are observed values too."""
        return {n: self.leaves[i] for i, n in self.names.items()}

    def given(self, data: Mapping | None) -> tuple[tuple, dict]:
        """The model's (args, kwargs) with the data's arrays; None in place of an observed one that is left out."""
        leaves = list(self.leaves)
        for i, name in self.names.items():
            if data is not None and name not in self.fixed:
                leaves[i] = _default_float(data.get(name) if name in self.observed else data[name])
        bound = inspect.BoundArguments(self.signature, jax.tree.unflatten(self.structure, leaves))
        return bound.args, bound.kwargs


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray | jax.Array) and getattr(x.dtype, "kind", "") in ("b", "i", "u", "f")


def _copy(x: Any) -> Any:
    """An array as a new object, floats in float64; anything else as it is."""
    if not _is_array(x):
        return x
    dtype = np.float64 if x.dtype.kind == "f" else x.dtype
    return x.astype(dtype, copy=False).view() if isinstance(x, np.ndarray) else jnp.array(x, dtype)


def _default_float(x: Any) -> Any:
    """Floats in the precision of the day: a scan wants one dtype throughout."""
    return x if x is None or not jnp.issubdtype(jnp.result_type(x), jnp.floating) else jnp.asarray(x, float)


def _whole(p: Mapping) -> dict:
    """The parameters as NumPyro has them: integers of the default type, for booleans too."""
    return {n: x if jnp.issubdtype(jnp.result_type(x), jnp.floating) else jnp.asarray(x, int) for n, x in p.items()}


# --- the sites ------------------------------------------------------------------------------------------


def _run(model: Callable, arguments: Arguments, data: Mapping | None = None, p: Mapping | None = None) -> dict:
    """The sites of one run on the data, or the arguments as they came; latent ones as in p, else in their supports."""
    p = {} if p is None else _whole(p)

    def value(site: dict) -> Any:
        if site["name"] in p:
            return p[site["name"]]
        latent = site["type"] == "sample" and not site["is_observed"]
        no_bijector = latent and isinstance(_constraint(site), type(constraints.sphere))
        return None if no_bijector else init_to_feasible(site)  # None: from the prior

    args, kwargs = arguments.given(data)
    seeded = handlers.seed(model, jax.random.key(0))
    return dict(handlers.trace(handlers.substitute(seeded, substitute_fn=value)).get_trace(*args, **kwargs))


def _is_data(site: dict) -> bool:
    return site["type"] == "sample" and site["is_observed"] and not site["infer"].get("is_auxiliary", False)


def _is_whole(site: dict) -> bool:
    """Whether the value has the distribution's shape."""
    return np.shape(site["value"]) == tuple(site["fn"].shape())


def _check(sites: Mapping[str, dict]) -> None:
    """Raise for what a Target can't have."""
    for name, site in sites.items():
        kind = site["type"]
        if kind not in ("sample", "plate", "deterministic"):
            remedy = "Give it a prior with numpyro.sample, or pass its value as an argument."
            raise ValueError(got("model", f"a {kind} site {name!r}", "sample and deterministic sites", remedy))
        if kind == "plate" and site["args"][1] not in (None, site["args"][0]):
            size, subsample = site["args"]
            remedy = "Minibatches give no posterior: use the whole data."
            raise ValueError(got("model", f"plate {name!r} with {subsample} of {size}", "whole plates", remedy))
        if kind == "sample" and name.endswith("_unobserved") and f"{name[:-11]}_observed" in sites:
            remedy = "Sample the missing values as a site of their own and join them with the others."
            raise ValueError(got("model", f"obs_mask= at {name[:-11]!r}", "fully observed sites", remedy))
    if not any(s["type"] == "sample" and not s["is_observed"] for s in sites.values()):
        raise ValueError(got("model", list(sites), "a latent sample site", "Leave out obs= where you infer."))


def _dims(sites: Mapping[str, dict]) -> dict[str, list[str]]:
    """Plates as dims: of sample sites, and of deterministic sites that have no axes but the plates'."""
    dims = {}
    for name, site in sites.items():
        if site["type"] == "plate":
            continue
        shape = np.shape(site["value"])
        event = site["fn"].event_dim if site["type"] == "sample" else 0
        frames = {len(shape) - event + f.dim: f for f in site["cond_indep_stack"]}
        labels = {i: f.name for i, f in frames.items() if i >= 0 and shape[i] == f.size}
        plain = site["type"] == "sample" or len(labels) == len(shape)
        if _is_data(site) and event:  # the log likelihood of the same name has fewer axes
            continue
        names = axis_names(name, labels, len(shape)) if plain else None
        if names:
            dims[name] = names
    return dims


# --- supports -------------------------------------------------------------------------------------------

BOUNDED = [  # constraint, support, and the constraint's bounds; the first that fits
    (type(constraints.circular), supports.circular, ()),
    (type(constraints.positive), supports.positive, ()),
    (type(constraints.nonnegative), supports.positive, ()),
    (type(constraints.softplus_positive), supports.positive, ()),
    (constraints.greater_than, supports.lower, ("lower_bound",)),
    (constraints.less_than, supports.upper, ("upper_bound",)),
    (constraints.interval, supports.interval, ("lower_bound", "upper_bound")),
    (constraints.integer_interval, supports.integer, ("lower_bound", "upper_bound")),
    (constraints.integer_greater_than, supports.integer, ("lower_bound",)),
    (type(constraints.boolean), supports.boolean, ()),
    (type(constraints.real), supports.real, ()),
]
EVENTS = [  # constraint, support of vectors or matrices, axes of one value
    (type(constraints.simplex), supports.simplex, 1),
    (type(constraints.ordered_vector), supports.ordered, 1),
    (type(constraints.positive_ordered_vector), supports.positive_ordered, 1),
    (type(constraints.sphere), supports.unit_vector, 1),
    (type(constraints.corr_cholesky), supports.cholesky_factor_corr, 2),
    (type(constraints.corr_matrix), supports.corr_matrix, 2),
    (type(constraints.positive_definite), supports.cov_matrix, 2),
]


def _constraint(site: dict) -> Any:
    constraint = site["fn"].support
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    return constraint


def _ends(site: dict) -> dict[str, Any]:
    """The bounds of a site's support, as they are in this run."""
    constraint = _constraint(site)
    names = next((ends for kind, _, ends in BOUNDED if isinstance(constraint, kind)), ())
    return {end: getattr(constraint, end) for end in names}


def _read_bounds(model: Callable, arguments: Arguments, latent: Mapping[str, dict]) -> set[tuple[str, str]]:
    """The (site, end) of bounds that depend on parameters; data that bounds depend on are fixed."""

    def read(p: dict, data: dict) -> dict:
        sites = _run(model, arguments, data, p)
        return {(n, end): jnp.asarray(x) for n in latent for end, x in _ends(sites[n]).items()}

    p, data = {n: jnp.asarray(s["value"]) for n, s in latent.items()}, arguments.whole
    try:
        traced, shapes = jax.make_jaxpr(read, return_shape=True)(p, data)
    except NEEDS_NUMBERS:
        arguments.fixed |= set(data)
        traced, shapes = jax.make_jaxpr(read, return_shape=True)(p, data)
    inputs, varying = [*sorted(p), *sorted(data)], set()  # in JAX's order of dictionaries
    for bound, out in zip(sorted(shapes), traced.jaxpr.outvars, strict=True):
        used = {inputs[i] for i in _used(traced.jaxpr, out)}
        arguments.fixed |= used & set(data)
        if used & set(p):
            varying.add(bound)
    return varying


def _used(jaxpr: Any, out: Any) -> list[int]:
    """Which inputs of a jaxpr one of its outputs is computed from."""
    live = set() if isinstance(out, Literal) else {out}
    for equation in reversed(jaxpr.eqns):
        if not live.isdisjoint(equation.outvars):
            live |= {v for v in equation.invars if not isinstance(v, Literal)}
    return [i for i, v in enumerate(jaxpr.invars) if v in live]


def _bounds(model: Callable, arguments: Arguments, name: str, site: dict, varying: set) -> list:
    """The bounds of a site's support: arrays, or functions of the parameters before it."""

    def bound_of(end: str) -> Callable:
        def bound(p: Mapping) -> Any:
            return _ends(_run(model, arguments, None, p)[name])[end]

        bound.__name__ = f"{end} of {name}"
        return bound

    return [bound_of(end) if (name, end) in varying else np.asarray(x) for end, x in _ends(site).items()]


def _support(name: str, site: dict, bounds: list) -> Any:
    """Our support of a latent site."""
    constraint, shape = _constraint(site), np.shape(site["value"])
    for kind, support, _ in BOUNDED:
        if isinstance(constraint, kind):
            return support(*bounds, shape=shape)
    for kind, support, event in EVENTS:
        if isinstance(constraint, kind):
            return support(shape[-1], shape=shape[: len(shape) - event])
    if isinstance(constraint, type(constraints.lower_cholesky)):
        return LowerCholesky(shape)
    if isinstance(constraint, constraints.zero_sum):
        return ZeroSum(shape, constraint.event_dim)
    remedy = "Write the model with another distribution, or as a transformation of one."
    raise ValueError(got("model", f"site {name!r} on {constraint}", "a support that mcmc has", remedy))

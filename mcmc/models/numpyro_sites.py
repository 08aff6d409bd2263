"""The sites of a NumPyro model: found in one abstract run, told apart by what their values are computed from."""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.contrib.module import ParamShape
from numpyro.distributions import constraints
from numpyro.infer import init_to_feasible
from numpyro.primitives import Messenger

from mcmc.errors import WrongValue, got
from mcmc.models.data import axis_names
from mcmc.models.dependence import Outputs
from mcmc.models.numpyro_arguments import Arguments
from mcmc.models.numpyro_handlers import dotted, is_scanned
from mcmc.models.numpyro_supports import constraint_of, ends_of
from mcmc.models.numpyro_types import whole_number

ALONE = "alone_"  # axes of size one, by their place from the right
DENSITY = "density"  # label of what is only looked at for random draws
KEY = "the key"  # label of the input that random draws come from


@dataclass
class Sites:
    """What a model consists of.

    `latent` are the parameters; `summed` the discrete sites that are summed out; `constant` the values of observed
    sites that come from no argument; `computed` the observed sites whose values do, and from the places of which;
    `given` those that are an argument as it is; `drawn` the observed sites that are without a value. `bounds` are
    arrays, or None where a bound depends on parameters.
    """

    all: dict[str, dict]
    latent: list[str]
    summed: list[str]
    seeded: bool
    history: int
    constant: dict[str, Any] = field(default_factory=dict)
    computed: dict[str, set[int]] = field(default_factory=dict)
    drawn: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    bounds: dict[tuple[str, str], Any] = field(default_factory=dict)

    @property
    def observed(self) -> list[str]:
        """The outcomes, in the model's order."""
        return [n for n in self.all if n in self.constant or n in self.computed or n in self.drawn]

    def of(self, kind: str) -> list[str]:
        """The sites of this type."""
        return [n for n, s in self.all.items() if s["type"] == kind]

    def shapes(self, names: Collection[str]) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of the values of sites, floats as those of the day."""
        values = {n: self.all[n]["value"] for n in names}
        types = {n: jnp.result_type(v) for n, v in values.items()}
        types |= {n: jnp.result_type(float) for n, t in types.items() if jnp.issubdtype(t, jnp.floating)}
        return {n: jax.ShapeDtypeStruct(np.shape(v), types[n]) for n, v in values.items()}


class Watched(Messenger):
    """Notes whether a model asks for a random key, and how many steps its scans look back."""

    asked, history = False, 0

    def process_message(self, msg: Any) -> None:
        """Called by NumPyro for every site."""
        self.asked |= msg["type"] == "prng_key"
        if msg["type"] == "control_flow":
            self.history = max(self.history, msg["kwargs"].get("history", 0))


def run(model: Callable, args: tuple, kwargs: Mapping, p: Mapping | None = None, key: Any = None) -> dict:
    """The sites of one run; latent ones as in p, else somewhere in their supports."""
    p = {} if p is None else whole(p)

    def value(site: dict) -> Any:
        if site["name"] in p:
            return p[site["name"]]
        latent = site["type"] == "sample" and not site["is_observed"]
        no_bijector = latent and isinstance(constraint_of(site), type(constraints.sphere))
        return None if no_bijector else init_to_feasible(site)  # None: from the prior

    seeded = handlers.seed(model, jax.random.key(0) if key is None else key)
    return dict(handlers.trace(handlers.substitute(seeded, substitute_fn=value)).get_trace(*args, **kwargs))


def whole(p: Mapping) -> dict:
    """The parameters as NumPyro has them: integers of the default type, for booleans too."""
    return {n: x if jnp.issubdtype(jnp.result_type(x), jnp.floating) else whole_number(x) for n, x in p.items()}


def find(model: Callable, arguments: Arguments, outcomes: Collection[str] = ()) -> Sites:
    """The sites of a model under `AsRead`, from two abstract runs; nothing is computed but bounds and data."""
    found: dict[str, dict] = {}
    watched = Watched(model)

    def look(data: dict) -> list:
        found.clear()
        found.update(run(watched, *arguments.at(data)))
        return []

    arguments.traced(look)
    check(found)
    free = [n for n, s in found.items() if s["type"] == "sample" and not s["is_observed"] and n not in outcomes]
    summed = _summed(found, free, watched.history)
    sites = Sites(found, [n for n in free if n not in summed], summed, watched.asked, watched.history)
    sites.drawn = [n for n in found if n in outcomes and not found[n]["is_observed"]]
    if not sites.latent:
        raise WrongValue("model", list(found), "a latent sample site", "Leave out obs= where you infer.")
    _read(model, arguments, sites)
    return sites


def _read(model: Callable, arguments: Arguments, sites: Sites) -> None:
    """Tell what the observed values and the bounds are computed from, and take those that are no function of it."""
    labels: list = []

    def values(p: dict, key: jax.Array, data: dict) -> list:
        now = run(model, *arguments.at(data), p, key)
        made = {(n, end): x for n in sites.latent + sites.summed for end, x in ends_of(now[n]).items()}
        made |= {(n, ""): s["value"] for n, s in now.items() if _is_data(s)}
        if sites.seeded:  # what is random at given parameters is refused, wherever it stands
            made |= {(n, DENSITY): s["fn"].log_prob(s["value"]) for n, s in now.items() if s["type"] == "sample"}
            made |= {(n, DENSITY): s["value"] for n, s in now.items() if s["type"] == "deterministic"}
        labels[:] = made
        return [jnp.asarray(x) for x in made.values()]

    p = sites.shapes(sites.latent + sites.summed)
    closed, data = arguments.traced(values, p, jax.random.key(0))
    outputs = Outputs(closed, [*sorted(p), KEY, *sorted(data)])
    aliases: dict = {}
    for k, (site, end) in enumerate(labels):
        used = outputs.sources(k)
        if KEY in used:
            raise ValueError(random_draw(f"at the site {site!r}"))
        if end == DENSITY:
            continue
        if end and site in sites.summed:  # NumPyro enumerates 0, 1, ..., whatever the support
            if end == "lower_bound" and (used & set(p) or np.any(outputs.value(k, data))):
                remedy = "Sample it from 0 and add the first value, or leave the enumeration out."
                raise WrongValue("model", f"site {site!r}, enumerated", "values from 0 on", remedy)
        elif end:
            if hidden := used & set(sites.summed):
                expected = "bounds that come from no site that is summed out"
                remedy = "Leave out the enumeration, or write the model with another distribution."
                raise WrongValue("model", f"site {site!r} with a bound from {min(hidden)!r}", expected, remedy)
            arguments.fixed |= used & set(data)
            sites.bounds[site, end] = None if used & set(p) else np.asarray(outputs.value(k, data))
        elif used & set(p):  # a part of the density, and no data
            continue
        elif used - arguments.fixed:
            sites.computed[site] = used - arguments.fixed
            aliases |= {outputs.alias(k): site}
        else:
            sites.constant[site] = np.asarray(outputs.value(k, data))
            fixed = arguments.fixed | {outputs.alias(k)}
            value = sites.all[site]["value"]
            aliases |= {i: site for i in fixed if i == outputs.alias(k) or arguments.leaves[i] is value}
    aliases.pop(None, None)
    _name(arguments, sites, aliases)


def _name(arguments: Arguments, sites: Sites, aliases: Mapping[int, str]) -> None:
    """Name an argument that is a site's value after the site, and no other like a site that is recorded."""
    arguments.outcomes = set().union(*sites.computed.values())
    sites.given = set(aliases.values())
    for i, name in arguments.names.items():
        if name in sites.all and not (i in sites.computed.get(name, ()) or _is_unrecorded(sites, name)):
            arguments.names[i] = f"{name}_argument"
    arguments.names |= aliases


def _is_unrecorded(sites: Sites, name: str) -> bool:
    """Whether a site's values are a part of the density, and stand nowhere in the draws."""
    return _is_data(sites.all[name]) and name not in sites.observed


def random_draw(where: str) -> str:
    """The message about a model that is random at given parameters."""
    remedy = "Make each random draw a site that is inferred, or pass its value as an argument."
    return got("model", f"a random draw {where}", "a density without random draws of its own", remedy)


def _summed(sites: Mapping[str, dict], free: Collection[str], history: int) -> list[str]:
    """The latent sites that are summed out: the annotated ones, and beside them all discrete ones of scans."""
    asked = [n for n in free if sites[n]["infer"].get("enumerate")]
    for name in asked:
        site, remedy = sites[name], "Leave the annotation out: the site is sampled then."
        if site["infer"]["enumerate"] != "parallel" or not site["fn"].has_enumerate_support:
            how = site["infer"]["enumerate"]
            raise WrongValue("model", f"site {name!r} with enumerate={how!r}", "a finite site, in parallel", remedy)
    scanned = [n for n in free if asked and history and is_scanned(sites[n]) and sites[n]["fn"].has_enumerate_support]
    return [n for n in free if n in asked or n in scanned]


def _is_data(site: dict) -> bool:
    return site["type"] == "sample" and site["is_observed"] and not site["infer"].get("is_auxiliary", False)


def check(sites: Mapping[str, dict]) -> None:
    """Raise for what a Target can't have."""
    for name, site in sites.items():
        kind = site["type"]
        if kind == "param" and _is_random(site):
            continue
        if kind not in ("sample", "plate", "deterministic"):
            remedy = "Give it a prior with numpyro.sample, or pass its value as an argument."
            if kind == "mutable":
                remedy = "Use layers without a state of their own (no batch norm, no dropout)."
            raise WrongValue("model", f"a {kind} site {name!r}", "sample and deterministic sites", remedy)
        if kind == "plate" and site["args"][1] not in (None, site["args"][0]):
            size, subsample = site["args"]
            remedy = "Minibatches give no posterior: use the whole data."
            raise WrongValue("model", f"plate {name!r} with {subsample} of {size}", "whole plates", remedy)
        if kind == "sample" and name.endswith("_unobserved") and f"{name[:-11]}_observed" in sites:
            remedy = "Sample the missing values as a site of their own and join them with the others."
            raise WrongValue("model", f"obs_mask= at {name[:-11]!r}", "fully observed sites", remedy)


def _is_random(site: dict) -> bool:
    """Whether every parameter of a network got a prior."""
    leaves = jax.tree.leaves(site["value"], is_leaf=lambda x: isinstance(x, ParamShape))
    return bool(leaves) and all(isinstance(leaf, ParamShape) for leaf in leaves)


def dims_of(sites: Mapping[str, dict]) -> dict[str, list[str]]:
    """Plates as dims. The axes of a deterministic site that are no plate's are taken to come last."""
    dims = {}
    for name, site in sites.items():
        if site["type"] not in ("sample", "deterministic"):
            continue
        shape = np.shape(site["value"])
        if site["type"] == "sample":
            if _is_data(site) and site["fn"].event_dim:  # the log likelihood of the same name has fewer axes
                continue
            labels = _labels(site, shape, site["fn"].event_dim)
        else:
            every = [_labels(site, shape, event) for event in range(len(shape))]
            labels = max(every, key=_plates_in, default={})  # the least event axes of those that name the most
        names = axis_names(name, labels if _plates_in(labels) else {}, len(shape))
        if names:
            dims[name] = names
    return dims


def _labels(site: dict, shape: tuple[int, ...], event: int) -> dict[int, str]:
    """Names of the axes to the left of `event`: those of plates, and of axes of size one, which all sites share."""
    end = len(shape) - event
    frames = {end + f.dim: f for f in site["cond_indep_stack"]}
    labels = {i: f"{ALONE}{end - i}" for i in range(end) if shape[i] == 1}
    return labels | {i: dotted(f.name) for i, f in frames.items() if i >= 0 and shape[i] == f.size}


def _plates_in(labels: Mapping[int, str]) -> int:
    return sum(not name.startswith(ALONE) for name in labels.values())

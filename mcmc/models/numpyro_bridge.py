"""NumPyro models as targets: the model is run abstractly to find its sites, and traced again for the log density."""

# pyright: reportMissingImports=false
# (NumPyro is optional; `mcmc.from_numpyro` imports this module and says what to install.)

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from numpyro import handlers
from numpyro.infer.util import log_density

from mcmc.errors import WrongType
from mcmc.models.data import ModelTarget
from mcmc.models.faithful import check_faithful
from mcmc.models.numpyro_arguments import Arguments
from mcmc.models.numpyro_density import Conditioned
from mcmc.models.numpyro_handlers import AsRead, OwnSettings, dotted
from mcmc.models.numpyro_sites import Sites, dims_of, find, run, whole
from mcmc.models.numpyro_supports import ends_of, support_of
from mcmc.models.numpyro_types import in_own_types

logger = logging.getLogger("mcmc")
NARROW = "the model's types agree in 32 bits only, as in NumPyro's own runs: it is computed in 32 bits"


def target_of(model: Callable, args: tuple, kwargs: Mapping, outcomes: Collection[str] = ()) -> ModelTarget:
    """The Target of a NumPyro model; see `mcmc.from_numpyro`. Sites in `outcomes` are no parameters."""
    if not callable(model):
        raise WrongType("model", model, "a function with NumPyro's primitives", "Pass the model itself.")
    with jax.enable_x64(True):
        arguments = Arguments(model, args, kwargs)
        read = AsRead(model)
        sites = find(read, arguments, outcomes)
        if arguments.narrow:
            logger.warning(NARROW)
        conditioned = _conditioned(read, arguments, sites)
        parameters = {n: support_of(n, sites.all[n], _bounds(read, arguments, sites, n)) for n in sites.latent}
        data = sites.constant | dict(sorted(arguments.arrays.items(), key=lambda item: item[0] not in sites.observed))
        observed = sites.observed
        parted = bool(observed) and conditioned.parts_are_known(sites.shapes(sites.latent), data)
        sampled = bool(observed) and conditioned.can_be_sampled(sites.shapes(sites.latent), data)
        target = ModelTarget(
            fixed={arguments.names[i] for i in arguments.fixed},
            optional={*observed, *(arguments.names[i] for i in arguments.outcomes)},
            log_density=conditioned.log_density,
            parameters=parameters,
            data=data,
            derived=conditioned.derived if sites.of("deterministic") else None,
            log_likelihood=conditioned.log_likelihood if parted else None,
            log_prior=conditioned.log_prior if parted else None,
            prior=conditioned.prior if conditioned.prior_can_be_drawn() else None,
            predictive=conditioned.predictive if sampled else None,
            prior_predictive=getattr(conditioned, "prior_predictive", None) if sampled else None,
            predictions=conditioned.predictions if sampled else None,
            outcomes=conditioned.outcomes if set(sites.computed) - sites.given else None,
            read_anew=lambda *args, **kwargs: target_of(model, args, kwargs, observed),
            dims=dims_of(sites.all),
        )
        if not sites.drawn:
            check_faithful(target, partial(_theirs, model, arguments, sites), "NumPyro")
    return target


def _conditioned(model: Callable, arguments: Arguments, sites: Sites) -> Conditioned:
    if not sites.summed:
        return Conditioned(model, arguments, sites)
    from mcmc.models.numpyro_enumeration import Enumerated

    return Enumerated(model, arguments, sites)


def _theirs(model: Callable, arguments: Arguments, sites: Sites, p: Mapping) -> jax.Array:
    """NumPyro's own log density of the model as it came, on the arguments as they came."""
    outcomes = {arguments.names[i]: jnp.asarray(arguments.leaves[i]) for i in arguments.fixed}  # NumPy's are refused
    values = whole(p) | {n: x for n, x in outcomes.items() if n in sites.constant}
    if sites.seeded:
        model = handlers.seed(model, jax.random.key(0))
    model = handlers.substitute(OwnSettings(model), substitute_fn=lambda site: values.get(dotted(site.get("name", ""))))
    args, kwargs = arguments.at({i: jnp.asarray(x) for i, x in arguments.free.items()})
    if sites.summed:
        from mcmc.models.numpyro_enumeration import first_dim, summed_density

        return summed_density(model, first_dim(sites), args, kwargs, {})[0]
    return jnp.asarray(log_density(model, args, kwargs, {})[0])


def _bounds(model: Callable, arguments: Arguments, sites: Sites, name: str) -> list:
    """The bounds of a site's support: arrays, or functions of the parameters before it."""

    def bound_of(end: str) -> Callable:
        @in_own_types
        def bound(p: Mapping) -> Any:
            return ends_of(run(model, *arguments.at({}), p)[name])[end]

        bound.__name__ = f"{end} of {name}"
        return bound

    return [bound_of(end) if x is None else x for (site, end), x in sites.bounds.items() if site == name]

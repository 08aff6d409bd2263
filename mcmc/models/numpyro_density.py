"""A NumPyro model's densities, derived values and simulations as functions of (p, data)."""

# pyright: reportMissingImports=false
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.infer.util import log_density

from mcmc.errors import WrongValue
from mcmc.models.numpyro_arguments import Arguments
from mcmc.models.numpyro_handlers import Unobserved
from mcmc.models.numpyro_sites import Sites, run, whole
from mcmc.models.numpyro_types import default_number, in_own_types, methods_in_own_types

logger = logging.getLogger("mcmc")


class Conditioned:
    """A model with its observed sites, as functions of (p, data)."""

    def __init__(self, model: Callable, arguments: Arguments, sites: Sites):
        self.arguments, self.sites = arguments, sites
        self.model = handlers.seed(model, jax.random.key(0)) if sites.seeded else model
        self.observed = sites.observed
        self.full = [n for n in self.observed if self._is_full(sites.all[n])]  # not broadcast, and so never to be

    @methods_in_own_types
    def log_density(self, p: Mapping, data: Mapping) -> jax.Array:
        """Log p(x, data): NumPyro's log joint of the constrained sites."""
        missing = [n for n in self.observed if not self._has(n, data)]
        if missing:
            raise WrongValue("data", list(data), f"values for {', '.join(missing)}", "Give what was observed.")
        lp, sites = self._joint(*self.arguments.given(data), self._values(p, data))
        for name in self.full:
            if name in sites and not self._is_full(sites[name]):  # absent: a series as short as what it looks back
                shape = np.shape(sites[name]["value"])
                expected = f"shape {tuple(sites[name]['fn'].shape())}, as the model has it"
                raise WrongValue(f"data[{name!r}]", f"shape {shape}", expected, "Give every outcome its value.")
        return jnp.asarray(lp)

    def _joint(self, args: tuple, kwargs: Mapping, values: Mapping) -> tuple[Any, Any]:
        return log_density(self.model, args, dict(kwargs), dict(values))

    def _is_full(self, site: dict) -> bool:
        """Whether the value has the distribution's shape."""
        return np.shape(site["value"]) == tuple(site["fn"].shape())

    @methods_in_own_types
    def derived(self, p: Mapping, data: Mapping) -> dict:
        """The deterministic sites."""
        args, kwargs = self.arguments.given(data)
        sites = handlers.trace(handlers.substitute(self.model, self._values(p, data))).get_trace(*args, **kwargs)
        return deterministic_in(sites)

    @methods_in_own_types
    def log_likelihood(self, p: Mapping, data: Mapping) -> dict:
        """The pointwise log likelihood of the observed sites that the data give."""
        model, known = self.model, [n for n in self.observed if self._has(n, data)]
        if len(known) < len(self.observed):
            model = handlers.seed(model, jax.random.key(0))  # a site without its value is drawn, and not looked at
        args, kwargs = self.arguments.given(data)
        sites = handlers.trace(handlers.substitute(model, self._values(p, data))).get_trace(*args, **kwargs)
        scales = {n: 1.0 if sites[n]["scale"] is None else sites[n]["scale"] for n in known}
        return {n: scales[n] * sites[n]["fn"].log_prob(sites[n]["value"]) for n in known}

    @methods_in_own_types
    def log_prior(self, p: Mapping, data: Mapping) -> dict:
        """The log density of every other site: the parameters, and factors."""
        args, kwargs = self.arguments.given(data)
        sites = handlers.trace(handlers.substitute(self.model, self._values(p, data))).get_trace(*args, **kwargs)
        terms = {n: s for n, s in sites.items() if s["type"] == "sample" and n not in self.observed}
        scales = {n: 1.0 if s["scale"] is None else s["scale"] for n, s in terms.items()}
        return {n: scales[n] * s["fn"].log_prob(s["value"]) for n, s in terms.items()}

    @methods_in_own_types
    def prior(self, key: jax.Array, data: Mapping) -> dict:
        """One draw of the parameters by running the model."""
        sites = self._simulated(key, {}, data)
        return {n: jnp.asarray(sites[n]["value"]) for n in self.sites.latent}

    def prior_can_be_drawn(self) -> bool:
        """Whether a run draws from the prior: no factor or scale, no other observed site."""
        others = {n: self.sites.all[n] for n in self.sites.of("sample") if n not in self.observed}
        drawn = {*self.sites.latent, *self.sites.summed}
        plain = all(n in drawn and s["scale"] is None for n, s in others.items())
        data = self.sites.constant | self.arguments.arrays
        return plain and _can_be_run(self.prior, jax.random.key(0), data)

    def parts_are_known(self, p: Mapping, data: Mapping) -> bool:
        """Whether prior and likelihood can be told apart."""
        return True

    def outcomes(self, data: Mapping) -> dict:
        """The observed values that are made from data, and are none as they are."""

        def values(data: dict) -> dict:
            sites = run(self.model, *self.arguments.given(data))
            return {n: sites[n]["value"] for n in self.sites.computed if n not in self.sites.given}

        with jax.enable_x64(True):
            return jax.jit(in_own_types(values))(dict(data))

    @methods_in_own_types
    def predictive(self, key: jax.Array, p: Mapping, data: Mapping) -> dict:
        """Simulated values of the observed sites."""
        sites = self._simulated(key, p, data)
        return {n: sites[n]["value"] for n in self.observed}

    @methods_in_own_types
    def predictions(self, key: jax.Array, p: Mapping, data: Mapping) -> dict:
        """Simulated values of the observed sites, and the deterministic sites beside them."""
        sites = self._simulated(key, p, data)
        return {n: sites[n]["value"] for n in self.observed} | deterministic_in(sites)

    def _simulated(self, key: jax.Array, p: Mapping, data: Mapping) -> dict:
        args, kwargs = self.arguments.given(data)
        model = handlers.seed(Unobserved(self.model, self.observed), key)
        return dict(handlers.trace(handlers.substitute(model, whole(p))).get_trace(*args, **kwargs))

    def can_be_sampled(self, p: Mapping, data: Mapping) -> bool:
        """Whether every observed site has a distribution that can be sampled from."""
        return _can_be_run(self.predictive, jax.random.key(0), p, data)

    def _has(self, name: str, data: Mapping) -> bool:
        """Whether the data give an observed site its value."""
        if name in self.sites.computed:
            return all(self.arguments.names[i] in data for i in self.sites.computed[name])
        return name in data

    def _values(self, p: Mapping, data: Mapping) -> dict:
        """The values of sites that no argument gives."""
        return whole(p) | {n: default_number(jnp.asarray(data[n])) for n in self.sites.constant if n in data}


def deterministic_in(sites: Mapping[str, dict]) -> dict:
    """The values of the deterministic sites of a run."""
    return {n: jnp.asarray(s["value"]) for n, s in sites.items() if s["type"] == "deterministic"}


def _can_be_run(function: Callable, *args: Any) -> bool:
    """Whether a simulation can be traced; an error that tells of more than a law without a sampler is passed on."""
    try:
        jax.eval_shape(function, *args)
        return True
    except (RuntimeError, NotImplementedError):
        return False
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        logger.warning("no data are simulated from the model: its run raises %s: %s", type(error).__name__, first)
        return False

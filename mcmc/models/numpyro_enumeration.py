"""NumPyro models whose discrete sites are summed out by funsor, and drawn back given the rest."""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers

from mcmc.errors import got, how_to_install
from mcmc.models.numpyro_arguments import Arguments
from mcmc.models.numpyro_density import Conditioned, deterministic_in
from mcmc.models.numpyro_drawing import Tilted, drawn_back
from mcmc.models.numpyro_handlers import Unobserved
from mcmc.models.numpyro_sites import Sites
from mcmc.models.numpyro_types import methods_in_own_types

try:
    from numpyro.contrib import funsor as enumeration
    from numpyro.contrib.funsor.discrete import _sample_posterior

    from mcmc.models.numpyro_marginals import Marginals
except ModuleNotFoundError as error:
    expected = "funsor, which sums discrete sites out"
    remedy = f"Install it: {how_to_install('numpyro')}. Or leave out the enumeration, and they are sampled."
    raise ImportError(got("model", 'sites with infer={"enumerate": "parallel"}', expected, remedy)) from error


class Enumerated(Conditioned):
    """A model without its annotated discrete sites z: log p(x, data) = log Σ_z p(x, z, data)."""

    def __init__(self, model: Callable, arguments: Arguments, sites: Sites):
        self.first = first_dim(sites)
        super().__init__(model, arguments, sites)

    def _joint(self, args: tuple, kwargs: Mapping, values: Mapping) -> tuple[Any, Any]:
        return summed_density(self.model, self.first, args, kwargs, values)

    def _is_full(self, site: dict) -> bool:
        """Whether the value has the distribution's shape in the axes of plates and of one value."""
        axes = site["fn"].event_dim - self.first - 1
        shape, law = np.shape(site["value"]), tuple(site["fn"].shape())
        return shape[max(0, len(shape) - axes) :] == law[max(0, len(law) - axes) :]

    def _simulated(self, key: jax.Array, p: Mapping, data: Mapping) -> dict:
        """One run with the discrete sites drawn given p and what the data give, and what is observed drawn anew."""
        discrete_key, key = jax.random.split(key)
        args, kwargs = self.arguments.given(data)
        values = self._values(p, data)
        absent = [n for n in self.observed if not self._has(n, data)]
        if not absent:
            values |= self._discrete(discrete_key, args, kwargs, values)
        model = handlers.seed(Unobserved(self.model, self.observed), key)
        model = handlers.substitute(model, {n: x for n, x in values.items() if n not in self.observed})
        return dict(handlers.trace(model).get_trace(*args, **kwargs))

    def can_be_sampled(self, p: Mapping, data: Mapping) -> bool:
        """Whether every observed site has a distribution that can be sampled from; the discrete sites do."""
        return Conditioned(self.model, self.arguments, self.sites).can_be_sampled(p, data)

    def log_prior(self, p: Mapping, data: Mapping) -> dict:
        """The log density of the parameters, the discrete sites summed out."""
        return self._marginals(p, data).prior(self.sites.latent)

    def log_likelihood(self, p: Mapping, data: Mapping) -> dict:
        """The log likelihood of the outcomes: by row where each has discrete sites of its own, else of all together."""
        marginals = self._marginals(p, data)
        if not marginals.scans:
            return marginals.likelihood(self.observed, self.sites.latent)
        prior = sum(jnp.sum(marginals.log_prob(n)) for n in self.sites.latent)
        return {"_".join(self.observed): self.log_density(p, data) - prior}

    def parts_are_known(self, p: Mapping, data: Mapping) -> bool:
        """Whether prior and likelihood can be told apart: not where parameters of a scan hang on its discrete sites."""

        def parts(p: Mapping, data: Mapping) -> tuple:
            marginals = self._marginals(p, data)
            if marginals.scans and any(map(marginals.linked, self.sites.latent)):
                raise NotImplementedError
            return self.log_prior(p, data), self.log_likelihood(p, data)

        try:
            jax.eval_shape(parts, p, data)
        except (NotImplementedError, ValueError, AssertionError):  # funsor's, of sums that it finds intractable
            return False
        return True

    def _marginals(self, p: Mapping, data: Mapping) -> Marginals:
        args, kwargs = self.arguments.given(data)
        model = enumeration.enum(self.model, self.first)
        return Marginals(model, args, kwargs, self._values(p, data), self.sites.summed)

    def prior_predictive(self, key: jax.Array, p: Mapping, data: Mapping) -> dict:
        """The discrete sites given the parameters alone, and simulated outcomes given them."""
        sites = super()._simulated(key, p, data)
        return {n: sites[n]["value"] for n in [*self.sites.summed, *self.observed]}

    def prior(self, key: jax.Array, data: Mapping) -> dict:
        """One draw of the parameters by running the model."""
        sites = super()._simulated(key, {}, data)
        return {n: jnp.asarray(sites[n]["value"]) for n in self.sites.latent}

    def _discrete(self, key: jax.Array, args: tuple, kwargs: Mapping, values: Mapping) -> dict:
        """The discrete sites given all the rest."""
        model, shapes = handlers.substitute(self.model, dict(values)), self.sites.shapes(self.sites.summed)
        if self.sites.history:  # funsor can't draw them back from a scan

            def log_density(tables: dict) -> jax.Array:
                return summed_density(Tilted(model, tables), self.first, args, kwargs, {})[0]

            return drawn_back(key, log_density, self.sites)
        drawn = _sample_posterior(model, self.first, 1, key, *args, **kwargs)
        return {n: drawn[n].reshape(shape.shape) for n, shape in shapes.items()}

    @methods_in_own_types
    def predictive(self, key: jax.Array, p: Mapping, data: Mapping) -> dict:
        """The discrete sites, and simulated values of the observed ones given them."""
        sites = self._simulated(key, p, data)
        return {n: sites[n]["value"] for n in [*self.sites.summed, *self.observed]}

    @methods_in_own_types
    def predictions(self, key: jax.Array, p: Mapping, data: Mapping) -> dict:
        """Likewise, with the deterministic sites."""
        sites = self._simulated(key, p, data)
        return {n: sites[n]["value"] for n in [*self.sites.summed, *self.observed]} | deterministic_in(sites)


def first_dim(sites: Sites) -> int:
    """The first axis to the left of the plates, where enumeration has room."""
    dims = [f.dim for s in sites.all.values() if s["type"] == "sample" for f in s["cond_indep_stack"] if f.dim]
    return min(dims, default=0) - 1


def summed_density(model: Callable, first: int, args: tuple, kwargs: Mapping, values: Mapping) -> tuple[Any, Any]:
    """NumPyro's log density of the other sites, and the run that it comes from."""
    return enumeration.log_density(enumeration.enum(model, first), args, dict(kwargs), dict(values))

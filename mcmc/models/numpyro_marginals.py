"""Prior and pointwise likelihood of a NumPyro model whose discrete sites are summed out, by funsor."""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import reduce
from typing import Any

import funsor
import jax
import jax.numpy as jnp
from numpyro import handlers
from numpyro.contrib.funsor.enum_messenger import trace as packed_trace
from numpyro.contrib.funsor.infer_util import plate_to_enum_plate


class Marginals:
    r"""The factors of one run of a model, enumerated, with the discrete sites z to be summed out.

    The prior of the other sites θ is log p(θ) = log Σ_z p(z, θ); the likelihood of the outcomes, one site after the
    other, log p(y_k | y_1, ..., y_{k-1}, θ). Only factors that share a discrete site are summed together, so that a
    z in a plate leaves one value for each of its rows; a z of all rows leaves one for all.
    """

    def __init__(self, model: Callable, args: tuple, kwargs: Mapping, values: Mapping, summed: Collection[str]):
        with plate_to_enum_plate():
            sites = packed_trace(handlers.substitute(model, data=dict(values))).get_trace(*args, **kwargs)
        self.sites = {n: s for n, s in sites.items() if s["type"] == "sample"}
        self.summed = frozenset(summed)
        self.factors = {n: _factor(s) for n, s in self.sites.items()}
        frames = [f for s in self.sites.values() for f in s["cond_indep_stack"] if f.dim is not None]
        self.dims = {f.name: f.dim for f in frames}

    @property
    def scans(self) -> bool:
        """Whether a site is inside a scan, whose factors are summed otherwise; also one of few steps, all unrolled."""
        inside = any(name.startswith("_time") for f in self.factors.values() for name in f.inputs)
        return inside or any(name.startswith("_PREV_") for name in self.factors)

    def linked(self, name: str) -> bool:
        """Whether the site's density depends on a discrete one."""
        return bool(self._discrete_in(name))

    def log_prob(self, name: str) -> jax.Array:
        """The log density of a site that depends on no discrete one."""
        site = self.sites[name]
        value = site["fn"].log_prob(site["value"])
        return value if site["scale"] is None else site["scale"] * value

    def prior(self, latent: Collection[str]) -> dict[str, jax.Array]:
        """The terms of the log prior: one a site, and one for all sites that hang on the same discrete ones."""
        terms = {n: self.log_prob(n) for n in latent if not self.linked(n)}
        for group in self._groups([*latent, *self.summed]):
            if own := [n for n in latent if n in group]:
                terms["_".join(own)] = self._sum(group, frozenset())
        return terms

    def likelihood(self, observed: list[str], latent: Collection[str]) -> dict[str, jax.Array]:
        """The terms of the log likelihood by outcome, each given those before it."""
        terms = {n: self.log_prob(n) for n in observed if not self.linked(n)}
        before = [*(n for n in latent if self.linked(n)), *self.summed]
        for name in (n for n in observed if self.linked(n)):
            group = next(g for g in self._groups([*before, name]) if name in g)
            kept = frozenset.intersection(*(self._plates(n) for n in group if n in self.summed))
            rest = self._groups([n for n in before if n in group])
            terms[name] = self._sum(group, kept) - sum(self._sum(part, kept) for part in rest)
            before.append(name)
        return {n: terms[n] for n in observed}

    def _discrete_in(self, name: str) -> frozenset[str]:
        factor = self.factors.get(name)  # none of a site all of whose steps are unrolled
        return frozenset() if factor is None else frozenset(factor.inputs) & self.summed

    def _groups(self, names: Collection[str]) -> Iterator[list[str]]:
        """Those of the names that hang together by discrete sites."""
        left = [n for n in names if self._discrete_in(n)]
        while left:
            group = [left.pop(0)]
            seen = self._discrete_in(group[0])
            while more := [n for n in left if self._discrete_in(n) & seen]:
                group += more
                left = [n for n in left if n not in more]
                seen = seen.union(*map(self._discrete_in, more))
            yield group

    def _plates(self, name: str) -> frozenset[str]:
        return frozenset(self.factors[name].inputs) & frozenset(self.dims)

    def _sum(self, group: list[str], kept: frozenset[str]) -> jax.Array:
        """The log of the sum over the discrete sites, with an axis for each plate that is kept."""
        plates = frozenset(self.dims)
        eliminate = frozenset().union(*map(self._discrete_in, group)) | (plates - kept)
        factors = [self.factors[n] for n in group]
        parts = funsor.sum_product.partial_sum_product(
            funsor.ops.logaddexp, funsor.ops.add, factors, eliminate=eliminate, plates=plates
        )
        axes = sorted(kept, key=self.dims.__getitem__)
        places = {name: i - len(axes) for i, name in enumerate(axes)}
        return reduce(jnp.add, (funsor.to_data(part, name_to_dim=places) for part in parts))


def _factor(site: dict) -> Any:
    """The log density of a site as a function of its plates and of the discrete sites it depends on."""
    intermediates = site["intermediates"]
    value = site["fn"].log_prob(site["value"], *([intermediates] if intermediates else []))
    value = value if site["scale"] is None else site["scale"] * value
    names = site["infer"]["dim_to_name"]
    if all(n == 1 for n in value.shape) and not names:
        value = value.squeeze()
    return funsor.to_funsor(value, output=funsor.Real, dim_to_name=names)

"""A NumPyro model as what simulation-based calibration needs: draws from its prior, simulated data, its target."""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import WrongType, WrongValue
from mcmc.models.numpyro_bridge import target_of
from mcmc.models.numpyro_density import Conditioned


def generative(model: Callable, args: Any) -> tuple[Callable, Callable, Any]:
    """`prior(key)`, `simulate(key, p)` and the target of a model on these arguments, a tuple or a dict by name."""
    if not isinstance(args, tuple | Mapping):
        raise WrongType("args", args, "a tuple of the model's arguments, or a dict of them", "Write (x, y).")
    target = target_of(model, () if isinstance(args, Mapping) else args, args if isinstance(args, Mapping) else {})
    conditioned: Any = getattr(target.predictive, "__self__", None)
    if not isinstance(conditioned, Conditioned):
        remedy = "Pass mcmc.sbc(prior, simulate, target) with functions of your own."
        raise WrongValue("model", "no outcomes that can be drawn", "observed sites, with values", remedy)
    _check(conditioned, target.data)
    data = target.data

    def prior(key: jax.Array) -> dict:
        return conditioned.prior(key, data)

    def simulate(key: jax.Array, p: Mapping) -> dict:
        made = conditioned.predictive(key, p, data)
        return {n: jnp.asarray(made[n], np.asarray(x).dtype) if n in made else x for n, x in data.items()}

    return prior, simulate, target


def _check(conditioned: Conditioned, data: Mapping) -> None:
    """Raise ValueError where running the model does not draw from its prior and likelihood, naming the site."""
    sites, observed = conditioned.sites, conditioned.observed
    remedy = "Pass mcmc.sbc(prior, simulate, target) with functions of your own."
    for name in sites.of("sample"):
        if name in sites.computed and name not in sites.given:
            expected = "outcomes that are arguments as they are"
            raise WrongValue("model", f"outcomes of {name!r} that are made from an argument", expected, remedy)
        site = sites.all[name]
        if name in sites.summed or name not in (*sites.latent, *observed) or site["scale"] is not None:
            why = "that is summed out" if name in sites.summed else "that weighs the density (a factor, scale or mask)"
            raise WrongValue("model", f"a site {name!r} {why}", "sites that a run draws", remedy)

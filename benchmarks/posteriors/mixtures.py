"""A mixture whose labels are fixed by an ordered parameter."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import beta, norm

import mcmc


def two_normals(data):
    """y ~ theta·N(mu_1, sigma_1) + (1 − theta)·N(mu_2, sigma_2), mu_1 < mu_2.

    mu ~ N(0, 2), sigma ~ HalfNormal(0, 2), theta ~ Beta(5, 5); which point came from which normal is summed out.
    """

    def log_density(p, data):
        prior = norm.logpdf(p["mu"], 0.0, 2.0).sum() + norm.logpdf(p["sigma"], 0.0, 2.0).sum()
        prior += beta.logpdf(p["theta"], 5.0, 5.0)
        each = norm.logpdf(data["y"][:, None], p["mu"], p["sigma"])
        first, second = each[:, 0] + jnp.log(p["theta"]), each[:, 1] + jnp.log1p(-p["theta"])
        return prior + jnp.logaddexp(first, second).sum()

    parameters = {"mu": mcmc.ordered(2), "sigma": mcmc.positive(2), "theta": mcmc.interval(0.0, 1.0)}
    dims = {"mu": ["component"], "sigma": ["component"]}
    return mcmc.Target(log_density, parameters, data={"y": np.asarray(data["y"], float)}, dims=dims)

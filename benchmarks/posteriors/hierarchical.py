"""Eight schools (Rubin 1981) in two parametrisations: the same posterior, with a funnel and without."""

from __future__ import annotations

import numpy as np
from jax.scipy.stats import cauchy, norm

import mcmc


def eight_schools_centered(data):
    """y ~ N(theta, sigma), theta ~ N(mu, tau), mu ~ N(0, 5), tau ~ HalfCauchy(0, 5): narrow where tau is small."""

    def log_density(p, data):
        prior = norm.logpdf(p["mu"], 0.0, 5.0) + cauchy.logpdf(p["tau"], 0.0, 5.0)
        schools = norm.logpdf(p["theta"], p["mu"], p["tau"]).sum()
        return prior + schools + norm.logpdf(data["y"], p["theta"], data["sigma"]).sum()

    parameters = {"mu": mcmc.real(), "tau": mcmc.positive(), "theta": mcmc.real(len(data["y"]))}
    return mcmc.Target(log_density, parameters, **schools(data))


def eight_schools_noncentered(data):
    """The same with theta = mu + tau·theta_trans, theta_trans ~ N(0, 1); theta is derived."""

    def effects(p):
        return p["mu"] + p["tau"] * p["theta_trans"]

    def log_density(p, data):
        prior = norm.logpdf(p["mu"], 0.0, 5.0) + cauchy.logpdf(p["tau"], 0.0, 5.0) + norm.logpdf(p["theta_trans"]).sum()
        return prior + norm.logpdf(data["y"], effects(p), data["sigma"]).sum()

    parameters = {"mu": mcmc.real(), "tau": mcmc.positive(), "theta_trans": mcmc.real(len(data["y"]))}
    target = schools(data)
    target["dims"]["theta_trans"] = ["school"]
    return mcmc.Target(log_density, parameters, derived=lambda p, data: {"theta": effects(p)}, **target)


def schools(data):
    """The arguments that both targets share: data, dims and coords."""
    arrays = {name: np.asarray(data[name], float) for name in ("y", "sigma")}
    dims = {name: ["school"] for name in ("theta", "y", "sigma")}
    return {"data": arrays, "dims": dims, "coords": {"school": [f"school {j + 1}" for j in range(len(arrays["y"]))]}}

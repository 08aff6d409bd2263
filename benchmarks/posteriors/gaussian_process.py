"""A Gaussian process behind Poisson counts."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import gamma, norm

import mcmc


def poisson_gaussian_process(data):
    """k ~ Poisson(exp f), f ~ GP(0, alpha²·exp(−(x − x')² / (2·rho²))), rho ~ Gamma(25, 4), alpha ~ HalfNormal(0, 2).

    Sampled as f = L·f_tilde with f_tilde ~ N(0, 1) and L the Cholesky factor of the covariance, whose diagonal
    gets 1e-10 more: that takes double precision. f is derived.
    """

    def latent(p, data):
        z = (data["x"][:, None] - data["x"]) / p["rho"]
        covariance = p["alpha"] ** 2 * jnp.exp(-0.5 * z**2) + 1e-10 * jnp.eye(len(data["x"]))
        return jnp.linalg.cholesky(covariance) @ p["f_tilde"]

    def log_density(p, data):
        prior = gamma.logpdf(p["rho"], 25.0, scale=1 / 4) + norm.logpdf(p["alpha"], 0.0, 2.0)
        f = latent(p, data)
        return prior + norm.logpdf(p["f_tilde"]).sum() + (data["k"] * f - jnp.exp(f)).sum()

    arrays = {name: np.asarray(data[name], float) for name in ("x", "k")}
    return mcmc.Target(
        log_density,
        {"rho": mcmc.positive(), "alpha": mcmc.positive(), "f_tilde": mcmc.real(len(arrays["x"]))},
        data=arrays,
        derived=lambda p, data: {"f": latent(p, data)},
        dims={"f": ["point"], "k": ["point"], "x": ["point"]},
    )

"""Predator and prey: an ordinary differential equation inside a log density."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.stats import norm

import mcmc

SUBSTEPS = 20
"""Runge-Kutta steps between two observations: for the pelts' posterior, errors of populations below 1e-6 of them."""


def lotka_volterra(data):
    """u' = (θ₁ − θ₂·v)·u, v' = (−θ₃ + θ₄·u)·v from z_init at time 0; y_t ~ LogNormal(log (u, v)_t, sigma).

    theta_1, theta_3 ~ N(1, 0.5) and theta_2, theta_4 ~ N(0.05, 0.05), cut at 0; z_init ~ LogNormal(log 10, 1),
    sigma ~ LogNormal(−1, 1); the first observation is y_init ~ LogNormal(log z_init, sigma).
    """

    def log_density(p, data):
        prior = norm.logpdf(p["theta"], jnp.array([1, 0.05, 1, 0.05]), jnp.array([0.5, 0.05, 0.5, 0.05])).sum()
        prior += lognormal(p["z_init"], jnp.log(10.0), 1.0) + lognormal(p["sigma"], -1.0, 1.0)
        start = jnp.log(p["z_init"])
        path = log_populations(p["theta"], start, data["ts"])
        first = norm.logpdf(jnp.log(data["y_init"]), start, p["sigma"]).sum()
        return prior + first + norm.logpdf(jnp.log(data["y"]), path, p["sigma"]).sum()

    arrays = {name: np.asarray(data[name], float) for name in ("ts", "y_init", "y")}
    return mcmc.Target(
        log_density,
        {"theta": mcmc.positive(4), "z_init": mcmc.positive(2), "sigma": mcmc.positive(2)},
        data=arrays,
        dims={"z_init": ["species"], "sigma": ["species"], "y_init": ["species"], "y": ["time", "species"]},
        coords={"species": ["hare", "lynx"]},
    )


def lognormal(x, location, scale):
    """Log density of LogNormal(location, scale), summed over x."""
    log_x = jnp.log(x)
    return (norm.logpdf(log_x, location, scale) - log_x).sum()


def log_populations(theta, start, times):
    """log (u, v) at some times, from log (u, v) at time 0: (4,), (2,), (time,) -> (time, 2).

    The classical Runge-Kutta method with `SUBSTEPS` equal steps between times, on the logarithms, which keeps
    populations positive. A fixed number of steps lets all chains advance together.
    """

    def rate(log_z):
        u, v = jnp.exp(log_z)
        return jnp.stack([theta[0] - theta[1] * v, -theta[2] + theta[3] * u])

    def advance(log_z, span):
        h = span / SUBSTEPS

        def step(log_z, _):
            k1 = rate(log_z)
            k2 = rate(log_z + h / 2 * k1)
            k3 = rate(log_z + h / 2 * k2)
            k4 = rate(log_z + h * k3)
            return log_z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        log_z, _ = lax.scan(step, log_z, None, length=SUBSTEPS)
        return log_z, log_z

    return lax.scan(advance, start, jnp.diff(times, prepend=0.0))[1]

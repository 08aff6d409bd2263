"""Targets of thousands of dimensions, or whose gradient is dear, as flat log densities of simulated data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Problem:
    """A log density of a position (dim,)."""

    name: str
    dim: int
    log_density: Callable


def volatility(days=2500):
    """Stochastic volatility, non-centred: persistence, mean and shock scale, and a shock a day."""
    rng = np.random.default_rng(1)
    h = np.zeros(days)
    for t in range(1, days):
        h[t] = 0.98 * h[t - 1] + 0.15 * rng.normal()
    y2 = jnp.asarray(np.exp(h) * rng.normal(size=days) ** 2)

    def log_density(q):
        a, scale, z = jnp.tanh(q[0]), jnp.exp(q[2]), q[3:]
        first = z[0] / jnp.sqrt(1 - a**2)
        rest = jax.lax.scan(lambda c, e: (a * c + e,) * 2, first, z[1:], unroll=16)[1]
        h = q[1] + scale * jnp.concatenate([first[None], rest])
        prior = -0.5 * ((q[0] - 2) ** 2 + q[1] ** 2 / 25 + (q[2] + 2) ** 2 + jnp.sum(z**2))
        return prior - 0.5 * jnp.sum(y2 * jnp.exp(-h) + h)

    return Problem("stochastic volatility", days + 3, log_density)


def gaussian_process(n=100):
    """Counts with a latent Gaussian process, whitened: a Cholesky factor of n x n a gradient."""
    rng = np.random.default_rng(2)
    t = np.sort(rng.uniform(0, 10, n))
    y, squares = jnp.asarray(rng.poisson(np.exp(1 + np.sin(t)))), jnp.asarray((t[:, None] - t) ** 2)

    def log_density(q):
        cover = jnp.exp(2 * q[0] - 0.5 * squares * jnp.exp(-2 * q[1])) + 1e-6 * jnp.eye(n)
        f = jnp.linalg.cholesky(cover) @ q[2:]
        return jnp.sum(y * f - jnp.exp(f)) - 0.5 * (q[0] ** 2 + (q[1] - 0.5) ** 2 / 0.25 + jnp.sum(q[2:] ** 2))

    return Problem("latent Gaussian process", n + 2, log_density)


def logistic(rows, columns):
    """Logistic regression with N(0, 1) coefficients."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, columns))
    p = 1 / (1 + np.exp(-x @ rng.normal(size=columns) / np.sqrt(columns)))
    x, y = jnp.asarray(x), jnp.asarray((rng.uniform(size=rows) < p).astype(float))

    def log_density(q):
        z = x @ q
        return jnp.sum(y * z - jax.nn.softplus(z)) - 0.5 * jnp.sum(q**2)

    return Problem(f"logistic regression, {rows:,} x {columns:,}", columns, log_density)


PROBLEMS = {
    "volatility": volatility,
    "gaussian_process": gaussian_process,
    "many_rows": lambda size=500_000: logistic(size, 20),
    "many_columns": lambda size=2000: logistic(size, size),
}
QUICK = {"volatility": 400, "gaussian_process": 20, "many_rows": 2000, "many_columns": 320}

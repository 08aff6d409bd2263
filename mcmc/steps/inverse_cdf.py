"""The steps of the inverse CDF: a uniform, the panel that holds it, the quantile."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

GRID, SHOWN = 400, 0.005


class InverseCDFSteps(NamedTuple):
    """Draws of an inverse CDF in order, as NumPy arrays (draw,).

    Attributes:
        uniform: u, of (0, 1).
        low: the left end of the panel that holds u: F(low) ≤ u.
        high: its right end.
        x: the draw, Q(u).
        cdf: F(x), which is u but for `u_error` and rounding.
        grid: (m,) points for the curves.
        grid_cdf: F there.
        grid_log_density: log f there, normalised.
    """

    uniform: np.ndarray
    low: np.ndarray
    high: np.ndarray
    x: np.ndarray
    cdf: np.ndarray
    grid: np.ndarray
    grid_cdf: np.ndarray
    grid_log_density: np.ndarray


def inverse_cdf_steps(sampler: Any, u: Any, x: Any, edges: Any, masses: Any) -> InverseCDFSteps:
    """The steps of draws x = Q(u), given where the panels begin and end (panel + 1,) and their masses (panel,)."""
    u, x = np.asarray(u), np.asarray(x)
    edges, masses = np.asarray(edges, float), np.asarray(masses, float)
    below = np.concatenate([[0.0], np.cumsum(masses)])
    at = np.clip(np.searchsorted(below, u.astype(float), side="right") - 1, 0, len(masses) - 1)
    low, high = np.asarray(_ends(sampler), float)
    if np.all(np.isfinite(sampler.support)):
        low, high = min(low, x.min()), max(high, x.max())
    grid = np.linspace(low, high, GRID).astype(u.dtype)
    at_draws, *curves = map(np.asarray, _curves(sampler, x, grid))
    return InverseCDFSteps(u, edges[at], edges[at + 1], x, at_draws, grid, *curves)


# Compiled whole: operation by operation they were a hundred programs.


@jax.jit
def _ends(sampler: Any) -> jax.Array:
    """The quantiles between which curves are shown."""
    return sampler.icdf(jnp.asarray([SHOWN, 1 - SHOWN]))


@jax.jit
def _curves(sampler: Any, x: jax.Array, grid: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """F of the draws, F of the grid, log f of the grid."""
    return sampler.cdf(x), sampler.cdf(grid), sampler.log_prob(grid)

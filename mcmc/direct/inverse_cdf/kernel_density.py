"""The density of points under normal kernels, in a time that hardly grows with their number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.errors import got

REACH = 9.0  # bandwidths beyond which a kernel is nothing: 2e-18 of its top
ENDS = 7.0  # bandwidths to the ends of the support: a kernel has 1e-12 of its mass beyond
BIN, TERMS = 0.5, 24  # bandwidths a bin is wide; terms of the series about its centre, to 1e-15


def kernel_density(points: Any, bandwidth: Any) -> tuple[Callable[[jax.Array], jax.Array], tuple[float, float]]:
    """Log f of an array of places, and the support: f(x) = mean of normal densities about the points, sd `bandwidth`.

    The points of a bin with centre c act by their moments: exp(-(x - c - d)²/2h²) is exp(-(x - c)²/2h²) times a power
    series in (x - c)/h whose coefficients are sums of (d/h)^j exp(-d²/2h²) / j!. (The fast Gauss transform.)
    """
    x = np.asarray(points, np.float64)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all() or x.min() == x.max():
        raise ValueError(got("points", f"shape {x.shape}", "two or more different finite numbers (n,)", "Check them."))
    h = silverman(x) if bandwidth is None else bandwidth
    if isinstance(h, bool) or not isinstance(h, int | float) or not (0 < h < math.inf):
        raise ValueError(got("bandwidth", bandwidth, "a number above 0", "Leave it out for Silverman's rule."))
    width, low = BIN * h, x.min()
    bins = int((x.max() - low) / width) + 1
    if bins > 2**22:
        expected = f"one above {(x.max() - low) / (BIN * 2**22):.2g}, for these points"
        raise ValueError(got("bandwidth", bandwidth, expected, "Give a larger one, or leave out what is far away."))
    at = np.minimum(((x - low) / width).astype(int), bins - 1)
    d = (x - low - (at + 0.5) * width) / h
    power = np.exp(-0.5 * d * d) / len(x) / (h * math.sqrt(2 * math.pi))
    moments = np.empty((bins, TERMS))
    for j in range(TERMS):
        moments[:, j] = np.bincount(at, power, bins)
        power = power * d / (j + 1)
    beside = math.ceil(REACH / BIN)

    def log_density(x: jax.Array) -> jax.Array:
        x = jnp.asarray(x)
        k = jnp.floor((x - low) / width).astype(jnp.int32)
        table = jnp.asarray(moments, x.dtype)

        def add(offset: jax.Array, total: jax.Array) -> jax.Array:
            b = k + offset - beside
            t = (x - (low + (b.astype(x.dtype) + 0.5) * width)) / h
            row = table[jnp.clip(b, 0, bins - 1)]
            series = row[..., TERMS - 1]
            for j in range(TERMS - 2, -1, -1):
                series = series * t + row[..., j]
            here = (b >= 0) & (b < bins)
            return total + jnp.where(here, jnp.exp(-0.5 * t * t) * jnp.maximum(series, 0.0), 0.0)

        return jnp.log(lax.fori_loop(0, 2 * beside + 1, add, jnp.zeros(x.shape, x.dtype)))

    return log_density, (float(low - ENDS * h), float(x.max() + ENDS * h))


def silverman(x: np.ndarray) -> float:
    """Silverman's bandwidth: 0.9 min(sd, interquartile range / 1.34) n^(-1/5)."""
    spread = np.std(x, ddof=1), (np.quantile(x, 0.75) - np.quantile(x, 0.25)) / 1.34
    return float(0.9 * min(s for s in spread if s > 0) * len(x) ** -0.2)

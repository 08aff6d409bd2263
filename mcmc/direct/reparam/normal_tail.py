"""The normal distribution's tail without cancellation: the hazard, and the mean excess over a threshold.

With R(t) = S(t) / φ(t) Mills' ratio, h(t) = 1 / R(t) is the hazard and g(t) = h(t) − t the mean excess
E[X − t | X > t]. Far out S and φ underflow and h − t cancels; Laplace's continued fraction
g(t) = 1/(t + 2/(t + 3/(t + ...))) does neither.
"""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfcx


def _far(dtype: jnp.dtype) -> tuple[float, int]:
    """From where on the continued fraction is taken, and how much of it."""
    return (8.0, 26) if dtype == jnp.float64 else (5.0, 12)


@lru_cache
def nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on (0, 1)."""
    x, w = np.polynomial.legendre.leggauss(n)
    return (x + 1) / 2, w / 2


def excess(t: jax.Array) -> jax.Array:
    """g(t) = φ(t) / S(t) − t, the mean of X − t beyond t, to the precision of the dtype; t above −1."""
    start, levels = _far(t.dtype)
    far = t > start
    near = np.sqrt(2 / np.pi) / erfcx(jnp.where(far, 0.0, t) * np.sqrt(0.5)) - t
    t = jnp.where(far, t, start)
    fraction = jnp.zeros_like(t)
    for k in range(levels, 0, -1):
        fraction = k / (t + fraction)
    return jnp.where(far, fraction, near)


def hazard(t: jax.Array) -> jax.Array:
    """h(t) = φ(t) / S(t), to the precision of the dtype; t above −1."""
    return t + excess(t)

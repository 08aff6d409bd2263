"""A target's log density, its gradient and its curvature at any positions, on the host."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.target.data import as_arrays
from mcmc.target.target import Target

FEW, BATCH = 16, 256  # rows evaluated together


class Density:
    """A target's log density and gradient at any positions, by one program; with the Jacobian or without it."""

    def __init__(self, target: Target, dtype: Any, jacobian: bool):
        data = as_arrays(target.data, dtype)

        def value(data: Any, y: jax.Array) -> jax.Array:
            return target.value(y, data) - (0.0 if jacobian else target.constrain(y)[1])

        def rows(data: Any, positions: jax.Array) -> tuple:
            return jax.lax.map(jax.value_and_grad(partial(value, data)), positions, batch_size=BATCH)

        self.traced, self.dtype, self.dim, self.data = target.trace(dtype), dtype, target.dim, data
        self._rows, self._hessian = jax.jit(rows), jax.jit(jax.hessian(value, 1))

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log densities (n,) and gradients (n, dim)."""
        n, size = len(positions), FEW if len(positions) <= FEW else BATCH
        padded = np.concatenate([positions, np.repeat(positions[:1], -n % size, 0)]).astype(self.dtype)
        parts = [self._rows(self.data, part) for part in padded.reshape(-1, size, self.dim)]
        lps, gradients = (np.concatenate([np.asarray(x, float) for x in part])[:n] for part in zip(*parts, strict=True))
        return lps, gradients

    def hessian(self, at: np.ndarray) -> np.ndarray:
        """Second derivatives (dim, dim) at a position."""
        return np.asarray(self._hessian(self.data, jnp.asarray(at, self.dtype)), float)

    def recorded(self, positions: np.ndarray) -> np.ndarray:
        """What is recorded (n, width) at positions (n, dim)."""
        record = jax.jit(lambda a, y: jax.lax.map(partial(self.traced.record, a), y, batch_size=BATCH))
        return np.asarray(record(self.traced.arrays, positions.astype(self.dtype)))

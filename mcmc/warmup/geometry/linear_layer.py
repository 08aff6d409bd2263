"""A layer that takes other directions as coordinates, y = A z: a hierarchy may lie askew in the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LinearLayer:
    """The matrix A (dim, dim), whose columns are the directions."""

    matrix: Any

    def forward(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The positions behind the layer of z (dim,), and log |dy/dz| up to a constant."""
        return self.matrix @ z, jnp.zeros((), z.dtype)

    @property
    def mapped(self) -> np.ndarray:
        """The coordinates that the layer changes: all."""
        return np.arange(len(self.matrix))

    def whiten(self, y: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of positions and gradients of the log density (row, dim) behind the layer, in front of it."""
        return np.linalg.solve(self.matrix, y.T).T, g @ self.matrix

    def unwhiten(self, z: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The way back."""
        return z @ self.matrix.T, np.linalg.solve(self.matrix.T, g.T).T

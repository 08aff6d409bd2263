r"""A layer that straightens what is bent: coordinates whose mean is quadratic in others, as in a banana.

With d = y[parents] − centre and c = d / (1 + (d / limit)⁴)^¼, which is d well within the limit and never beyond it,

yᵢ = zᵢ + Σⱼ Aᵢⱼ cⱼ + Σₖ Bᵢₖ c[aₖ] c[bₖ];

the others stay as they are. Without a limit c = d. No parent is moved by the layer, so that its inverse is
free, and its Jacobian is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

UNLIMITED = np.float64(np.inf)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CurveLayer:
    """The numbers of a layer: parents and centre (p,), pairs of parents (pair, 2) by their places, slopes A (dim, p),
    bends B (dim, pair), limits (p,), infinite where the form holds everywhere.
    """

    parents: Any
    centre: Any
    pairs: Any
    slopes: Any
    bends: Any
    limit: Any = UNLIMITED

    def forward(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The positions behind the layer of z (dim,), and log |dy/dz|, which is 0."""
        c = z[self.parents] - self.centre
        c = c * (1 + (c / self.limit) ** 4) ** -0.25
        shift = jnp.sum(self.slopes * c, 1) + jnp.sum(self.bends * jnp.prod(c[self.pairs], 1), 1)
        return z + shift, jnp.zeros((), z.dtype)

    @property
    def mapped(self) -> np.ndarray:
        """The coordinates that the layer changes."""
        return np.flatnonzero((self.bends != 0).any(1))

    def whiten(self, y: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of positions and gradients of the log density (row, dim) behind the layer, in front of it."""
        shift, pull = self._at(y, g)
        return y - shift, g + pull

    def unwhiten(self, z: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The way back."""
        shift, pull = self._at(z, g)
        return z + shift, g - pull

    def _at(self, rows: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By how much coordinates are moved, and what gradients that adds in the parents, each (row, dim)."""
        c, pull = rows[:, self.parents] - self.centre, np.zeros_like(g)
        within = 1 + (c / self.limit) ** 4
        c = c * within**-0.25
        ends, along = c[:, self.pairs], g @ self.bends
        on_parents = g @ self.slopes
        for side in (0, 1):
            np.add.at(on_parents.T, self.pairs[:, side], (along * ends[:, :, 1 - side]).T)
        pull[:, self.parents] = on_parents * within**-1.25
        return c @ self.slopes.T + ends.prod(2) @ self.bends.T, pull

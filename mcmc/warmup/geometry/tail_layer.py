r"""A layer that makes tails normal, coordinate by coordinate: with u = asinh z,

y = loc + scale · ½ [(exp(δ₊u) − 1)/δ₊ − (exp(−δ₋u) − 1)/δ₋],

whose right tail grows like z^δ₊ and whose left tail like |z|^δ₋; δ = 1 on both sides is the identity. An exponential
tail, such as that of a log scale, has δ = 2; tails that are lighter than a normal law's have δ < 1.

Source: in the spirit of the sinh–arcsinh law, Jones & Pewsey 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

NEWTON_STEPS, LARGEST_STEP = 40, 2.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TailLayer:
    """The numbers of the layer: loc, scale, right and left powers, each (dim,); 0, 1, 1, 1 where it does nothing."""

    loc: Any
    scale: Any
    right: Any
    left: Any

    def forward(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The positions behind the layer of z (dim,), and log |dy/dz| up to a constant."""
        u = jnp.arcsinh(z)
        grow, fall = jnp.expm1(self.right * u), jnp.expm1(-self.left * u)
        slope = jnp.log(0.5 * (grow + fall) + 1) - 0.5 * jnp.log1p(z * z)
        return self.loc + self.scale * 0.5 * (grow / self.right - fall / self.left), jnp.sum(slope)

    @property
    def mapped(self) -> np.ndarray:
        """The coordinates that the layer changes."""
        return np.flatnonzero((self.right != 1) | (self.left != 1))

    def whiten(self, y: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of positions and gradients of the log density (row, dim) behind the layer, in front of it."""
        i, z, new = self.mapped, y.copy(), g.copy()
        z[:, i] = invert((y[:, i] - self.loc[i]) / self.scale[i], self.right[i], self.left[i])
        slope, bend = derivatives(z[:, i], self.right[i], self.left[i])
        new[:, i] = g[:, i] * self.scale[i] * slope + bend
        return z, new

    def unwhiten(self, z: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The way back."""
        i, y, new = self.mapped, z.copy(), g.copy()
        slope, bend = derivatives(z[:, i], self.right[i], self.left[i])
        y[:, i] = self.loc[i] + self.scale[i] * standard(z[:, i], self.right[i], self.left[i])
        new[:, i] = (g[:, i] - bend) / (self.scale[i] * slope)
        return y, new


def standard(z: np.ndarray, right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The map with loc 0 and scale 1."""
    u = np.arcsinh(z)
    return 0.5 * (np.expm1(right * u) / right - np.expm1(-left * u) / left)


def derivatives(z: np.ndarray, right: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """dy/dz with scale 1, and d log(dy/dz)/dz."""
    u, w = np.arcsinh(z), 1 / np.sqrt(1 + z * z)
    grow, fall = np.exp(right * u), np.exp(-left * u)
    both = 0.5 * (grow + fall)
    return both * w, 0.5 * (right * grow - left * fall) / both * w - z * w * w


def invert(t: np.ndarray, right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """z with `standard(z) = t`, by Newton's method in u, whose steps are bounded."""
    u = np.where(t > 0, np.log1p(2 * right * np.abs(t)) / right, -np.log1p(2 * left * np.abs(t)) / left)
    for _ in range(NEWTON_STEPS):
        grow, fall = np.exp(right * u), np.exp(-left * u)
        miss = 0.5 * ((grow - 1) / right - (fall - 1) / left) - t
        step = np.clip(miss / (0.5 * (grow + fall)), -LARGEST_STEP, LARGEST_STEP)
        u = u - step
        if not np.any(np.abs(step) > 1e-12 * (1 + np.abs(u))):
            break
    return np.sinh(u)

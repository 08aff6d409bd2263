r"""A layer that makes conditionally normal coordinates standard normal.

With c = y[parents] − centre, each mapped coordinate has the precision Pᵢ = Σₘ exp(Eᵢₘ·c + log κᵢₘ) and

yᵢ = locᵢ + scaleᵢ (mᵢ + zᵢ / √Pᵢ),   mᵢ = Σₘ exp(Eᵢₘ·c) (Bᵢₘ·c + bᵢₘ) / Pᵢ;

the others stay as they are. Parents are not mapped by the layer, so that inverse and Jacobian are free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ABSENT = -1e30


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ConditionalLayer:
    """The numbers of a layer: parents (p,), centre (p,), loc and scale (dim,), exponents and slopes (dim, term, p),
    offsets and log κ (dim, term); a coordinate that is not mapped has one term, exp(0), and nothing else.
    """

    parents: Any
    centre: Any
    loc: Any
    scale: Any
    exponents: Any
    slopes: Any
    offsets: Any
    log_kappa: Any

    def moments(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The means m (dim,) and log deviations −½ log P (dim,) given a position (dim,)."""
        dim, terms, _ = self.exponents.shape
        c = y[self.parents] - self.centre
        logs = (self.exponents.reshape(dim * terms, -1) @ c).reshape(dim, terms)
        levels = (self.slopes.reshape(dim * terms, -1) @ c).reshape(dim, terms) + self.offsets
        log_precision = jax.nn.logsumexp(logs + self.log_kappa, 1)
        return jnp.sum(jnp.exp(logs - log_precision[:, None]) * levels, 1), -0.5 * log_precision

    def forward(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The positions behind the layer of z (dim,), and log |dy/dz| up to a constant."""
        mean, log_sd = self.moments(z)
        return self.loc + self.scale * (mean + jnp.exp(log_sd) * z), jnp.sum(log_sd)

    @property
    def mapped(self) -> np.ndarray:
        """The coordinates that the layer changes."""
        moved = (self.loc != 0) | (self.scale != 1) | (self.offsets != 0).any(1) | (self.log_kappa[:, 0] != 0)
        return np.flatnonzero(moved | (self.exponents != 0).any((1, 2)) | (self.slopes != 0).any((1, 2)))

    def whiten(self, y: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of positions and gradients of the log density (row, dim) behind the layer, in front of it."""
        parts = _parts(self, y)
        z = y.copy()
        z[:, parts.mapped] = ((y[:, parts.mapped] - parts.loc) / parts.scale - parts.mean) * np.exp(-parts.log_sd)
        pulled = g[:, parts.mapped] * parts.scale
        new = g.copy()
        new[:, self.parents] += _on_parents(parts, pulled, z)
        new[:, parts.mapped] = pulled * np.exp(parts.log_sd)
        return z, new

    def unwhiten(self, z: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The way back."""
        parts = _parts(self, z)
        y = z.copy()
        y[:, parts.mapped] = parts.loc + parts.scale * (parts.mean + np.exp(parts.log_sd) * z[:, parts.mapped])
        pulled = g[:, parts.mapped] * np.exp(-parts.log_sd)
        new = g.copy()
        new[:, self.parents] -= _on_parents(parts, pulled, z)
        new[:, parts.mapped] = pulled / parts.scale
        return y, new


@dataclass(frozen=True)
class _Parts:
    """What a layer gives for some rows: its mapped coordinates, their moments (row, mapped), and their derivatives."""

    mapped: np.ndarray
    loc: np.ndarray
    scale: np.ndarray
    exponents: np.ndarray
    slopes: np.ndarray
    shares: np.ndarray
    weights: np.ndarray
    levels: np.ndarray
    mean: np.ndarray
    log_sd: np.ndarray


def _parts(layer: ConditionalLayer, y: np.ndarray) -> _Parts:
    mapped = layer.mapped
    c = y[:, layer.parents] - layer.centre
    logs = np.einsum("np,dmp->ndm", c, layer.exponents[mapped])
    levels = np.einsum("np,dmp->ndm", c, layer.slopes[mapped]) + layer.offsets[mapped]
    with_kappa = logs + layer.log_kappa[mapped]
    top = with_kappa.max(2, keepdims=True)
    log_precision = top + np.log(np.sum(np.exp(with_kappa - top), 2, keepdims=True))
    weights = np.exp(logs - log_precision)
    return _Parts(
        mapped,
        layer.loc[mapped],
        layer.scale[mapped],
        layer.exponents[mapped],
        layer.slopes[mapped],
        np.exp(with_kappa - log_precision),
        weights,
        levels,
        np.sum(weights * levels, 2),
        -0.5 * log_precision[:, :, 0],
    )


def _on_parents(parts: _Parts, pulled: np.ndarray, z: np.ndarray) -> np.ndarray:
    """What a layer's mapped coordinates, and its Jacobian, add to the gradient in its parents (row, parent)."""
    along = 0.5 * (pulled * np.exp(parts.log_sd) * z[:, parts.mapped] + 1) + pulled * parts.mean
    by_exponent = pulled[:, :, None] * parts.weights * parts.levels - along[:, :, None] * parts.shares
    by_slope = pulled[:, :, None] * parts.weights
    n = len(pulled)
    k = parts.exponents.shape[2]
    return by_exponent.reshape(n, -1) @ parts.exponents.reshape(-1, k) + by_slope.reshape(n, -1) @ parts.slopes.reshape(
        -1, k
    )

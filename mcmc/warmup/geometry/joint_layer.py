r"""A layer that makes coordinates standard normal that are about jointly normal given what scales them.

With weights wₘᵢ = exp(Rₘᵢ·c), c = y[parents] − centre, and x = (y − loc) / scale, the block has the precision and level

Q = Σₘ diag(wₘ) Aₘ diag(wₘ),   Q mean = Σₘ exp(Fₘ·c) wₘ bₘ,

each Aₘ positive semidefinite: priors whose terms many share, likelihoods of coefficients that are products of scales.
With Q = C Cᵀ, x = mean + C⁻ᵀ z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JointLayer:
    """The numbers of a layer of m terms: parents and centre (p,), the block's coordinates (n,), loc and scale (n,),
    the exponents R (m, n, p), those of the level beside, F (m, p), matrices A (m, n, n) and levels b (m, n).
    """

    parents: Any
    centre: Any
    block: Any
    loc: Any
    scale: Any
    exponents: Any
    beside: Any
    matrices: Any
    levels: Any

    def forward(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The positions behind the layer of z (dim,), and log |dy/dz| up to a constant."""
        c = z[self.parents] - self.centre
        weights = jnp.exp(self.exponents @ c)
        precision = jnp.sum(weights[:, :, None] * self.matrices * weights[:, None, :], 0)
        level = jnp.sum(jnp.exp(self.beside @ c)[:, None] * weights * self.levels, 0)
        root = jnp.linalg.cholesky(precision)
        moved = jax.scipy.linalg.solve_triangular(root, level, lower=True) + z[self.block]
        x = jax.scipy.linalg.solve_triangular(root.T, moved, lower=False)
        return z.at[self.block].set(self.loc + self.scale * x), -jnp.sum(jnp.log(jnp.diagonal(root)))

    @property
    def mapped(self) -> np.ndarray:
        """The coordinates that the layer changes."""
        return np.sort(self.block)

    def whiten(self, y: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of positions and gradients of the log density (row, dim) behind the layer, in front of it."""
        parts, z, new = _parts(self, y), y.copy(), g.copy()
        moved = (y[:, self.block] - self.loc) / self.scale - parts.mean
        z[:, self.block] = np.einsum("nji,nj->ni", parts.root, moved)
        new[:, self.block] = np.einsum("nij,nj->ni", parts.back, g[:, self.block] * self.scale)
        new[:, self.parents] += _on_parents(self, parts, z[:, self.block], new[:, self.block])
        return z, new

    def unwhiten(self, z: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The way back."""
        parts, y, new = _parts(self, z), z.copy(), g.copy()
        x = parts.mean + np.einsum("nji,nj->ni", parts.back, z[:, self.block])
        y[:, self.block] = self.loc + self.scale * x
        new[:, self.block] = np.einsum("nij,nj->ni", parts.root, g[:, self.block]) / self.scale
        new[:, self.parents] -= _on_parents(self, parts, z[:, self.block], g[:, self.block])
        return y, new


# --- on the host --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """What a layer gives for some rows: each term's part of Q (m, row, n, n) and of Q mean (m, row, n), the factor C,
    its inverse, and the mean.
    """

    precisions: np.ndarray
    levels: np.ndarray
    root: np.ndarray
    back: np.ndarray
    mean: np.ndarray


def _parts(layer: JointLayer, y: np.ndarray) -> _Parts:
    c = y[:, layer.parents] - layer.centre
    weights = np.exp(np.einsum("mip,np->mni", layer.exponents, c))
    precisions = weights[:, :, :, None] * layer.matrices[:, None] * weights[:, :, None, :]
    levels = np.exp(np.einsum("mp,np->mn", layer.beside, c))[:, :, None] * weights * layer.levels[:, None]
    root, back = _roots(precisions.sum(0))
    mean = np.einsum("nji,nj->ni", back, np.einsum("nij,nj->ni", back, levels.sum(0)))
    return _Parts(precisions, levels, root, back, mean)


def _roots(precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cholesky factors of these matrices and their inverses; NaN where one is singular."""
    good = np.isfinite(precision).all((1, 2))
    size = np.linalg.eigvalsh(np.where(good[:, None, None], precision, np.eye(precision.shape[1])))
    good &= size[:, 0] > 1e-14 * size[:, -1]
    root, back = np.full_like(precision, np.nan), np.full_like(precision, np.nan)
    root[good] = np.linalg.cholesky(precision[good])
    back[good] = np.linalg.inv(root[good])
    return root, back


def _on_parents(layer: JointLayer, parts: _Parts, z: np.ndarray, pulled: np.ndarray) -> np.ndarray:
    """What the block adds to the gradient by its parents (row, p), with z and its gradient `pulled` (row, n) held.

    By dC = C Φ(C⁻¹ dQ C⁻ᵀ), Φ the lower triangle with half the diagonal.
    """
    steep = np.einsum("nji,nj->ni", parts.back, pulled)  # Q⁻¹ times the gradient by x
    half = np.tril(np.ones(parts.root.shape[1:])) - 0.5 * np.eye(parts.root.shape[1])
    inside = half * z[:, :, None] * pulled[:, None, :] + 0.5 * np.eye(len(layer.block))
    by = -np.einsum("nki,nkl,nlj->nij", parts.back, inside, parts.back, optimize=True)
    by -= steep[:, :, None] * parts.mean[:, None, :]
    by_log = np.einsum("nij,mnij->mni", by + by.swapaxes(1, 2), parts.precisions) + steep * parts.levels
    on_level = np.sum(steep * parts.levels, 2)
    return np.einsum("mni,mip->np", by_log, layer.exponents) + on_level.T @ layer.beside

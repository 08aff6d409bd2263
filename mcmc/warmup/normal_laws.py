"""Normal laws along the paths of Pathfinder, in room that grows with the dimension, not with its square."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PAIRS = 20  # steps that L-BFGS remembers


class Normals(NamedTuple):
    """Normal laws (set, path): means (..., dim), covariances √γ² I outside the columns of Q (..., dim, k), L Lᵀ inside.

    With k at most twice the pairs that L-BFGS remembers, so that no array has dim² entries. `size` is log √γ, NaN where
    there is no law.
    """

    mean: np.ndarray
    size: np.ndarray
    basis: np.ndarray
    inside: np.ndarray

    @classmethod
    def none(cls, starts: np.ndarray) -> Normals:
        """No law anywhere."""
        lead, dim = starts.shape[:2], starts.shape[2]
        k = min(dim, 2 * PAIRS)
        return cls(starts.astype(float), np.full(lead, np.nan), np.zeros((*lead, dim, k)), np.zeros((*lead, k, k)))

    def at(self, z: np.ndarray) -> np.ndarray:
        """Standard normal numbers (set, path, draw, dim) to draws of these laws: mean + √γ z + Q (L − √γ) Qᵀ z."""
        root = np.exp(self.size)[..., None, None]
        along = z @ self.basis
        turned = along @ np.swapaxes(self.inside, -1, -2) - root * along
        return self.mean[..., None, :] + root * z + turned @ np.swapaxes(self.basis, -1, -2)

    @property
    def log_sizes(self) -> np.ndarray:
        """Half the log determinants of the covariances (set, path)."""
        outside = self.basis.shape[-2] - self.basis.shape[-1]
        diagonal = np.diagonal(self.inside, axis1=-2, axis2=-1)
        return outside * self.size + np.log(np.abs(diagonal)).sum(-1)

    def factors(self) -> np.ndarray:
        """Lower triangles (..., dim, dim) of the covariances, in full."""
        inside = self.basis @ self.inside
        variance = np.exp(2 * self.size)[..., None, None]
        outside = np.eye(self.basis.shape[-2]) - self.basis @ np.swapaxes(self.basis, -1, -2)
        return np.linalg.cholesky(variance * outside + inside @ np.swapaxes(inside, -1, -2))

    def where(self, better: np.ndarray, new: Normals) -> None:
        """Take these of other laws in place."""
        for held, other in zip(self, new, strict=True):
            held[better] = other[better]


class Best:
    """The best normal approximation so far of each path, by E_q[log π − log q] at a few draws; −inf: none yet."""

    def __init__(self, starts: np.ndarray, z: np.ndarray):
        self.elbo, self.laws, self.z = np.full(starts.shape[:2], -np.inf), Normals.none(starts), z

    def judges(self, laws: Normals) -> np.ndarray:
        """Draws (set, path · draw, dim) of these approximations, at which log π is wanted."""
        at = laws.at(self.z)
        return at.reshape(len(at), -1, at.shape[-1])

    def take(self, where: np.ndarray, laws: Normals, lps: np.ndarray) -> None:
        """Keep those of these paths' approximations that are better, by log π at their judges."""
        lps = np.nan_to_num(lps.reshape(self.z.shape[:3]), nan=-np.inf, posinf=-np.inf)
        elbo = lps.mean(-1) + laws.log_sizes + 0.5 * (self.z**2).sum(-1).mean(-1)
        better = where & (elbo > self.elbo)
        self.elbo[better] = elbo[better]
        self.laws.where(better, laws)

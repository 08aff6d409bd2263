r"""A layer that makes a block of coordinates standard normal, which is jointly normal given others.

With weights eₘ = exp(Eₘ·c), c = y[parents] − centre, and u = (x_rest, x_beside, 1), the block has the density

−2 log p = Σₘ eₘ [Σₐ κₘₐ (xₐ − sₘₐ·u)² + x_restᵀ Bₘ (x_rest, 2 x_beside, 2)] + a constant:

coordinates `first` are independent of each other given `rest`. They are eliminated first; what is left for `rest`
is S(h) = Σₘ eₘ Bₘ + Σₐ Σ_{k<m} (wₖₐ wₘₐ / Dₐ) (sₖₐ − sₘₐ)(sₖₐ − sₘₐ)ᵀ, w = e κ, D = Σₘ wₘ, a sum of positive
terms, so that nothing cancels where a scale is small. Then x_rest = mean + C⁻ᵀ z with S = C Cᵀ, and
xₐ = Σₘ wₘₐ sₘₐ·u / Dₐ + zₐ / √Dₐ. All in coordinates of mean 0 and deviation 1: x = (y − loc) / scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BlockLayer:
    """The numbers of a layer of m terms: parents and centre (p,), the coordinates first (a,), rest (r,) and
    beside (q,), loc and scale (dim,), exponents (m, p), log κ (m, a), slopes s (m, a, r + q + 1) and
    base B (m, r, r + q + 1).
    """

    parents: Any
    centre: Any
    first: Any
    rest: Any
    beside: Any
    loc: Any
    scale: Any
    exponents: Any
    log_kappa: Any
    slopes: Any
    base: Any

    def forward(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The positions behind the layer of z (dim,), and log |dy/dz| up to a constant."""
        logs = self.exponents @ (z[self.parents] - self.centre)
        log_w = logs[:, None] + self.log_kappa
        log_d = jax.nn.logsumexp(log_w, 0)
        known = jnp.append((z[self.beside] - self.loc[self.beside]) / self.scale[self.beside], 1.0)
        rest, log_jacobian = z[:0], -0.5 * jnp.sum(log_d)
        r = len(self.rest)
        if r:
            precision = self._precision(logs, log_w, log_d)
            root = jnp.linalg.cholesky(precision[:, :r])
            level = jax.scipy.linalg.solve_triangular(root, precision[:, r:] @ known, lower=True)
            rest = jax.scipy.linalg.solve_triangular(root.T, z[self.rest] - level, lower=False)
            log_jacobian -= jnp.sum(jnp.log(jnp.diagonal(root)))
        terms, a, width = self.slopes.shape
        levels = (self.slopes.reshape(terms * a, width) @ jnp.concatenate([rest, known])).reshape(terms, a)
        first = jnp.sum(jnp.exp(log_w - log_d) * levels, 0) + jnp.exp(-0.5 * log_d) * z[self.first]
        x = jnp.concatenate([first, rest])
        at = jnp.concatenate([self.first, self.rest])
        return z.at[at].set(self.loc[at] + self.scale[at] * x), log_jacobian

    def _precision(self, logs: jax.Array, log_w: jax.Array, log_d: jax.Array) -> jax.Array:
        """What is left for `rest` when `first` are eliminated, (r, r + q + 1)."""
        r, width = self.base.shape[1:]
        left, right = _pairs(len(logs))
        total = jnp.exp(logs) @ self.base.reshape(len(logs), -1)
        if len(left):
            between = jnp.exp(log_w[left] + log_w[right] - log_d)
            apart = self.slopes[left] - self.slopes[right]
            products = apart[:, :, :r, None] * apart[:, :, None, :]
            total += between.ravel() @ products.reshape(-1, r * width)
        return total.reshape(r, width)

    @property
    def mapped(self) -> np.ndarray:
        """The coordinates that the layer changes."""
        return np.sort(np.concatenate([self.first, self.rest]))

    def whiten(self, y: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of positions and gradients of the log density (row, dim) behind the layer, in front of it."""
        x = (y - self.loc) / self.scale
        parts = _parts(self, y)
        moved, z, new = x[:, self.rest] - parts.mean, y.copy(), g.copy()
        z[:, self.rest] = np.einsum("nji,nj->ni", parts.root, moved)
        z[:, self.first] = (x[:, self.first] - parts.centres(self, x)) * np.sqrt(parts.d)
        pulled = g * self.scale
        new[:, self.first] = pulled[:, self.first] / np.sqrt(parts.d)
        new[:, self.rest] = _solve(parts.root, pulled[:, self.rest] + parts.on_rest(self, pulled[:, self.first]))
        return z, new - _conditional_score(self, parts, x)

    def unwhiten(self, z: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The way back."""
        x = (z - self.loc) / self.scale
        parts = _parts(self, z)
        x[:, self.rest] = parts.mean + _solve(np.swapaxes(parts.root, 1, 2), z[:, self.rest])
        x[:, self.first] = parts.centres(self, x) + z[:, self.first] / np.sqrt(parts.d)
        y, new, at = z.copy(), g.copy(), self.mapped
        y[:, at] = self.loc[at] + self.scale[at] * x[:, at]
        first = g[:, self.first] * np.sqrt(parts.d)
        new[:, self.first] = first / self.scale[self.first]
        rest = np.einsum("nij,nj->ni", parts.root, g[:, self.rest]) - parts.on_rest(self, first)
        new[:, self.rest] = rest / self.scale[self.rest]
        return y, new + _conditional_score(self, parts, x)


def _pairs(terms: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs k < m of terms."""
    pairs = np.array(list(combinations(range(terms), 2)), int).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


# --- on the host --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """What a layer gives for some rows: e (row, m), w (row, m, a), D (row, a), w's shares in it, the factor C of S,
    the mean of x_rest, the linear part of u that is known, and what pairs of terms give S.
    """

    e: np.ndarray
    w: np.ndarray
    d: np.ndarray
    shares: np.ndarray
    root: np.ndarray
    mean: np.ndarray
    known: np.ndarray
    between: np.ndarray

    def centres(self, layer: BlockLayer, x: np.ndarray) -> np.ndarray:
        """The conditional means of `first` (row, a) given the rest of x."""
        return np.sum(self.shares * _levels(layer, self, x[:, layer.rest]), 1)

    def on_rest(self, layer: BlockLayer, pulled: np.ndarray) -> np.ndarray:
        """The gradient in `rest` of what `first` give by their means."""
        return np.einsum("na,nma,mar->nr", pulled, self.shares, layer.slopes[:, :, : len(layer.rest)], optimize=True)


def _levels(layer: BlockLayer, parts: _Parts, rest: np.ndarray) -> np.ndarray:
    """Each term's own means s·u (row, m, a)."""
    return np.einsum("nw,maw->nma", np.concatenate([rest, parts.known], 1), layer.slopes)


def _parts(layer: BlockLayer, y: np.ndarray) -> _Parts:
    r = len(layer.rest)
    logs = (y[:, layer.parents] - layer.centre) @ layer.exponents.T
    log_w = logs[:, :, None] + layer.log_kappa
    top = log_w.max(1, keepdims=True)
    log_d = top + np.log(np.sum(np.exp(log_w - top), 1, keepdims=True))
    beside = (y[:, layer.beside] - layer.loc[layer.beside]) / layer.scale[layer.beside]
    known = np.concatenate([beside, np.ones((len(y), 1))], 1)
    left, right = _pairs(logs.shape[1])
    between = np.exp(log_w[:, left] + log_w[:, right] - log_d)
    apart = layer.slopes[left] - layer.slopes[right]
    precision = np.einsum("nm,mrw->nrw", np.exp(logs), layer.base)
    products = (apart[:, :, :r, None] * apart[:, :, None, :]).reshape(between[0].size, r * apart.shape[2])
    precision = precision + (between.reshape(len(y), -1) @ products).reshape(precision.shape)
    root = _root(precision[:, :, :r]) if r else precision[:, :, :0]
    level = _solve(root, np.einsum("nrw,nw->nr", precision[:, :, r:], known))
    mean = -_solve(np.swapaxes(root, 1, 2), level)
    shares = np.exp(log_w - log_d)
    return _Parts(np.exp(logs), np.exp(log_w), np.exp(log_d[:, 0]), shares, root, mean, known, between)


def _root(matrices: np.ndarray) -> np.ndarray:
    """Cholesky factors; NaN where a matrix is singular."""
    try:
        return np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        good = np.isfinite(matrices).all((1, 2))
        good[good] = np.linalg.eigvalsh(matrices[good])[:, 0] > 1e-14 * np.trace(matrices[good], axis1=1, axis2=2)
        found = np.full_like(matrices, np.nan)
        found[good] = np.linalg.cholesky(matrices[good])
        return found


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.linalg.solve(matrix, right[:, :, None])[:, :, 0] if matrix.shape[1] else right


def _conditional_score(layer: BlockLayer, parts: _Parts, x: np.ndarray) -> np.ndarray:
    """The gradient of the block's conditional log density in the coordinates that it hangs on (row, dim)."""
    r, q = len(layer.rest), len(layer.beside)
    moved = x[:, layer.rest] - parts.mean
    at_mean = np.sum(parts.shares * _levels(layer, parts, parts.mean), 1)
    own = x[:, layer.first, None].swapaxes(1, 2) - _levels(layer, parts, x[:, layer.rest])
    own_mean = at_mean[:, None] - _levels(layer, parts, parts.mean)
    square = np.sum(parts.w * (own**2 - own_mean**2), 2)
    pulled = _quadratic(layer, x[:, layer.rest], parts.known) - _quadratic(layer, parts.mean, parts.known)
    by_log = 0.5 * np.sum(parts.shares, 2) - 0.5 * square - 0.5 * parts.e * pulled
    if r:
        by_log += 0.5 * _by_determinant(layer, parts)
    score = np.zeros_like(x)
    score[:, layer.parents] = by_log @ layer.exponents
    if q:
        aside = own - own_mean
        by = np.einsum("nma,maq->nq", parts.w * aside, layer.slopes[:, :, r : r + q])
        by -= np.einsum("nm,nr,mrq->nq", parts.e, moved, layer.base[:, :, r : r + q])
        score[:, layer.beside] += by / layer.scale[layer.beside]
    return score


def _quadratic(layer: BlockLayer, rest: np.ndarray, known: np.ndarray) -> np.ndarray:
    """x_restᵀ Bₘ (x_rest, 2 known), (row, m)."""
    along = np.einsum("mrw,nw->nmr", layer.base, np.concatenate([rest, 2 * known], 1))
    return np.einsum("nr,nmr->nm", rest, along)


def _by_determinant(layer: BlockLayer, parts: _Parts) -> np.ndarray:
    """The derivative of log |S| by the log of each e (row, m)."""
    r = len(layer.rest)
    inverse = np.linalg.inv(parts.root)
    inverse = np.swapaxes(inverse, 1, 2) @ inverse
    left, right = _pairs(parts.e.shape[1])
    apart = (layer.slopes[left] - layer.slopes[right])[:, :, :r]
    weight = parts.between * np.einsum("pai,nij,paj->npa", apart, inverse, apart, optimize=True)
    found = parts.e * np.einsum("nij,mij->nm", inverse, layer.base[:, :, :r])
    for p, (k, m) in enumerate(zip(left, right, strict=True)):
        found[:, k] += weight[:, p].sum(1)
        found[:, m] += weight[:, p].sum(1)
    return found - np.einsum("npa,nma->nm", weight, parts.shares)

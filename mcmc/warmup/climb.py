"""L-BFGS on many paths at once, and the normal laws that it knows along them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mcmc.warmup.normal_laws import PAIRS, Normals

TRIES, RISE, SLOPE = 30, 1e-4, 0.9
LEVEL, NEAR = 1e-9, 1e-12
PATIENCE = 2  # steps without gain, after those of what is remembered from far away


class Climb:
    """L-BFGS on every path, each at its own step of its own line search; arrays are (set, path, ...)."""

    def __init__(self, at: np.ndarray, evaluate: Callable):
        self.at, (self.lp, self.gradient) = at, evaluate(at)
        lead, dim = at.shape[:2], at.shape[2]
        self.steps, self.changes = np.zeros((*lead, PAIRS, dim)), np.zeros((*lead, PAIRS, dim))
        self.weights, self.scale = np.zeros((*lead, PAIRS)), np.ones(lead)  # 1/(step·change), 0 where there is no pair
        self.way, self.slope, self.size = np.zeros_like(at), np.zeros(lead), np.zeros(lead)
        self.low, self.high, self.tries = np.zeros(lead), np.zeros(lead), np.zeros(lead, int)
        self.done, self.idle = np.zeros(lead, bool), np.zeros(lead, int)
        self._aim(np.ones(lead, bool))

    def next(self) -> np.ndarray:
        """The position that each path tries."""
        return self.at + np.where(self.done, 0.0, self.size)[..., None] * self.way

    def take(self, to: np.ndarray, lp: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Take in log densities and gradients at `next()`; which paths made a step."""
        finite = np.isfinite(lp) & np.isfinite(gradient).all(-1)
        lp, gradient = np.where(finite, lp, -np.inf), np.where(finite[..., None], gradient, 0.0)
        self.tries += 1
        far = ~(lp >= self.lp + RISE * self.size * self.slope)
        near = ~far & ((gradient * self.way).sum(-1) > SLOPE * self.slope) & (self.tries < TRIES)
        moved = ~far & ~near & ~self.done
        self.high, self.low = np.where(far, self.size, self.high), np.where(near, self.size, self.low)
        between = np.where(np.isfinite(self.high), 0.5 * (self.low + self.high), 2.0 * self.size)
        self.size = np.where(moved, self.size, between)
        gain = np.where(moved, lp - self.lp, 0.0)
        self._remember(moved, to - self.at, self.gradient - gradient)
        self.at = np.where(moved[..., None], to, self.at)
        self.lp, self.gradient = np.where(moved, lp, self.lp), np.where(moved[..., None], gradient, self.gradient)
        idle = moved & (gain <= LEVEL * np.maximum(1.0, np.abs(self.lp)))
        self.idle = np.where(moved, np.where(idle, self.idle + 1, 0), self.idle)
        self.weights[idle & (self.idle == 1)] = 0.0  # pairs from far away may hide a way that is open
        self.done |= (self.idle > PATIENCE) | (self.tries > TRIES)
        self._aim(moved)
        return moved

    def approximation(self, where: np.ndarray) -> Normals:
        """The normal approximations here (set, path); NaN where there is none."""
        laws = Normals.none(self.at)
        laws.mean[:] = np.nan
        which = where & (self.weights > 0).any(-1)
        pairs = np.concatenate([self.steps[which], self.changes[which]], 1)
        basis = np.linalg.qr(np.swapaxes(pairs, 1, 2))[0]
        inverse = self._inverse_hessian(which, basis)
        gradient, scale = self.gradient[which], self.scale[which]
        along = np.einsum("ndk,nd->nk", basis, gradient)
        turned = np.einsum("nij,nj->ni", inverse, along) - scale[:, None] * along
        laws.mean[which] = self.at[which] + scale[:, None] * gradient + np.einsum("ndk,nk->nd", basis, turned)
        laws.size[which], laws.basis[which] = 0.5 * np.log(scale), basis
        try:
            laws.inside[which] = np.linalg.cholesky(inverse)
        except np.linalg.LinAlgError:  # one of them may be flat to rounding
            laws.inside[which] = [_cholesky(each) for each in inverse]
        return laws

    def _inverse_hessian(self, which: np.ndarray, basis: np.ndarray) -> np.ndarray:
        r"""The BFGS estimates (n, k, k) of these paths in a basis (n, dim, k) of their pairs; elsewhere they are γ.

        With steps S and changes Y of the gradient, R the upper triangle of Sᵀ Y and D its diagonal,
        H = γ I + S R⁻ᵀ (D + γ Yᵀ Y) R⁻¹ Sᵀ − γ (S R⁻ᵀ Yᵀ + its transpose) (Byrd, Nocedal & Schnabel 1994). A pair that
        is not there yet is 0, with 1 on R's diagonal.
        """
        steps, changes, scale = self.steps[which], self.changes[which], self.scale[which][:, None, None]
        flipped, eye = np.swapaxes(changes, 1, 2), np.eye(PAIRS)
        products = np.triu(steps @ flipped)
        missing = (self.weights[which] == 0)[:, :, None] * eye
        middle = products * eye + scale * changes @ flipped
        solved = np.linalg.solve(products + missing, steps @ basis)
        cross = scale * np.swapaxes(changes @ basis, 1, 2) @ solved
        inner = np.swapaxes(solved, 1, 2) @ middle @ solved
        return scale * np.eye(basis.shape[2]) + inner - cross - np.swapaxes(cross, 1, 2)

    def _remember(self, moved: np.ndarray, step: np.ndarray, change: np.ndarray) -> None:
        """Take in the pairs of paths that moved, where the log density curves downwards."""
        product, square = (step * change).sum(-1), (change**2).sum(-1)
        new = moved & (product > NEAR * square)
        for held, latest in ((self.steps, step), (self.changes, change), (self.weights, 1.0 / product)):
            held[new] = np.concatenate([held[new][:, 1:], latest[new][:, None]], 1)
        self.scale = np.where(new, product / square, self.scale)

    def _aim(self, which: np.ndarray) -> None:
        """A new direction, and the first step along it, of these paths: Newton's, as far as the pairs tell."""
        way, saved = self.gradient.copy(), []
        for k in reversed(range(PAIRS)):
            saved.append(self.weights[..., k] * (self.steps[..., k, :] * way).sum(-1))
            way -= saved[-1][..., None] * self.changes[..., k, :]
        way *= self.scale[..., None]
        for k in range(PAIRS):
            back = self.weights[..., k] * (self.changes[..., k, :] * way).sum(-1)
            way += (saved.pop() - back)[..., None] * self.steps[..., k, :]
        slope, alone = (way * self.gradient).sum(-1), ~(self.weights > 0).any(-1)
        self.done |= which & ~(slope > 0)
        first = np.where(alone, 1.0 / np.maximum(1.0, np.linalg.norm(way, axis=-1)), 1.0)
        self.way = np.where(which[..., None], way, self.way)
        self.slope, self.size = np.where(which, slope, self.slope), np.where(which, first, self.size)
        self.low, self.high = np.where(which, 0.0, self.low), np.where(which, np.inf, self.high)
        self.tries = np.where(which, 0, self.tries)


def _cholesky(matrix: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return np.full_like(matrix, np.nan)

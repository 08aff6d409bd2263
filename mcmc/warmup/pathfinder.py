"""Starts by Pathfinder: draws from normal approximations along L-BFGS paths, of the paths that matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

PAIRS, JUDGES, DRAWS, ROUNDS, TRIES = 20, 7, 4, 300, 30
RISE, SLOPE = 1e-4, 0.9
LEVEL, NEAR, NEGLIGIBLE = 1e-9, 1e-12, 10.0
PATIENCE = 2  # steps without gain, after those of what is remembered from far away
EVERY_POINT_UP_TO = 50


def pathfinder(starts: np.ndarray, evaluate: Callable, rng: np.random.Generator) -> np.ndarray:
    """Positions (path, dim) in the target's bulk, from starts anywhere: `pathfinders` of one target.

    Args:
        starts: (path, dim), where the log density is finite.
        evaluate: positions (n, dim) to log densities (n,) and gradients (n, dim).
        rng: a generator.
    """

    def alone(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lps, gradients = evaluate(positions[0])
        return lps[None], gradients[None]

    return pathfinders(starts[None], alone, [rng])[0]


def pathfinders(starts: np.ndarray, evaluate: Callable, rngs: list[np.random.Generator]) -> np.ndarray:
    r"""Positions (set, path, dim) in the bulk of the target of each data set, from starts anywhere.

    From each start L-BFGS maximises log π, all paths by the same evaluations. At a point x of its way, with gradient g
    and inverse Hessian H as L-BFGS knows it, N(x + H g, H) is an approximation; the path's is the one with the largest
    E_q[log π − log q]: where the mass is, not at the mode. Paths that end in a mode of mass below e⁻¹⁰ of the best of
    their data set take the approximation of another. Each path gives one draw; where none is finite its start comes
    back.

    Args:
        starts: (set, path, dim), where the log density is finite.
        evaluate: positions (set, n, dim) to log densities (set, n) and gradients (set, n, dim).
        rngs: a generator for each data set.

    Source: Zhang, Carpenter, Gelman & Vehtari 2022; for the line search Lewis & Overton 2013.
    """
    with np.errstate(all="ignore"):
        return _optimise(starts, evaluate, rngs)


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

    def where(self, better: np.ndarray, new: Normals) -> None:
        """Take these of other laws in place."""
        for held, other in zip(self, new, strict=True):
            held[better] = other[better]


def _optimise(starts: np.ndarray, evaluate: Callable, rngs: list[np.random.Generator]) -> np.ndarray:
    paths, dim = starts.shape[1:]
    climb = Climb(starts.astype(float), evaluate)
    best = Best(starts, np.stack([rng.standard_normal((paths, JUDGES, dim)) for rng in rngs]))
    waiting, every = None, 1 + dim // EVERY_POINT_UP_TO
    for turn in range(ROUNDS):
        to = climb.next()
        lps, gradients = evaluate(to if waiting is None else np.concatenate([to, best.judges(waiting[1])], 1))
        if waiting:
            best.take(*waiting, lps[:, paths:])
        moved = climb.take(to, lps[:, :paths], gradients[:, :paths])
        if turn % every:
            moved &= climb.done
        waiting = (moved, climb.approximation(moved)) if moved.any() else None
        if climb.done.all():
            break
    if waiting:
        best.take(*waiting, evaluate(best.judges(waiting[1]))[0])
    return _draws(starts, best, evaluate, rngs)


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


def reach(dim: int) -> float:
    """How far apart log densities in one bulk may lie: ½ dim and six standard deviations of it for a normal target,
    and 10.
    """
    return 0.5 * dim + 6.0 * (0.5 * dim) ** 0.5 + 10.0


def _draws(starts: np.ndarray, best: Best, evaluate: Callable, rngs: list) -> np.ndarray:
    """A draw a path of its approximation, or of a better path's: its first that lies where those of all paths lie,
    else its highest; where none is finite, its start.
    """
    sets, paths, dim = starts.shape
    good = (best.elbo > best.elbo.max(1, keepdims=True) - NEGLIGIBLE) & np.isfinite(best.elbo)
    at = np.repeat(starts[:, :, None], DRAWS, 2).astype(float)
    for s, rng in enumerate(rngs):
        for path in range(paths if good[s].any() else 0):
            kept = path if good[s, path] else rng.choice(np.flatnonzero(good[s]))
            at[s, path] = Normals(*(part[s, kept] for part in best.laws)).at(rng.standard_normal((DRAWS, dim)))
    lps, gradients = evaluate(at.reshape(sets, -1, dim))
    finite = np.isfinite(lps) & np.isfinite(gradients).all(-1)
    lps = np.where(finite, lps, -np.inf)
    lowest = np.median(lps, 1) - reach(dim)
    lps = lps.reshape(sets, paths, DRAWS)
    near = lps > lowest[:, None, None]
    index = np.where(near.any(2), near.argmax(2), lps.argmax(2))
    chosen = np.take_along_axis(at, index[:, :, None, None], 2)[:, :, 0]
    return np.where(finite.reshape(lps.shape).any(2)[:, :, None], chosen, starts)


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
        r"""The BFGS estimates (n, k, k) of these paths in a basis (n, dim, k) of their pairs; γ in all other directions.

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
